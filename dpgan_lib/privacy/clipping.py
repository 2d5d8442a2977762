"""Sums of clipped per-example gradients by book-keeping (Bu et al. 2023). Knows no GAN and no noise.

Clipping needs every record's gradient norm, but only the sum of the clipped gradients. So one backward pass gives the
gradient at each layer's output; with the layer's input it holds every per-example gradient in factors. Norms follow
from the factors, and a second, weighted product of the same factors is the sum. Where a norm is cheaper by forming
the gradients, these serve the sum too; they last for one pass.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Rows of one pass, and what the last pass is filled up to: few shapes, for kernels are chosen for each anew. On a CPU a
# small pass stays in the caches. Nothing is cut: a batch of any size takes as many passes as it needs. A plain pass
# keeps half as much for each row, and so takes twice as many rows in the same memory.
PASS = {"cpu": 256, "cuda": 1024}
PADDING = {"cpu": 16, "cuda": 128}
MARGIN = 2.0**-17  # of the clip norm, left for the rounding of a record's own norm and products in float32


def clipped_sum(model: nn.Module, inputs: tuple[Tensor, ...], clip_norm: float) -> dict[str, Tensor]:
    """Sum over the batch of each record's gradient of its score, scaled to L2 norm at most clip_norm.

    model: maps inputs to one score a record, (B,); check_separable(model) holds.  inputs: tensors whose first axis is
    the batch, which may be empty.  clip_norm: > 0, inf for none.
    Returns name -> tensor of the parameter's shape.  A record whose gradient is not finite contributes 0.
    Rounding: a record's own part has norm at most clip_norm, with a margin of 2^-17, and its norm the same bits whoever
    shares the batch. The others' float32 sum is rounded differently beside it, by less than batch * 2^-23 clip_norm
    where that was measured, so in the worst case a record moves the sum by clip_norm (1 + batch * 2^-23).
    """
    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    is_plain, size = math.isinf(clip_norm), PASS[inputs[0].device.type]
    for rows, is_there in _passes(inputs, 2 * size if is_plain else size):
        part = (_plain_pass(model, rows, is_there, parameters) if is_plain
                else _clipped_pass(model, rows, is_there, clip_norm))
        for name, gradient in part.items():
            sums[name] += gradient
    return sums


def _passes(inputs: tuple[Tensor, ...], size: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """The batch in passes, the last one filled up with rows of zeros, and (B,) booleans: which rows are records."""
    device = inputs[0].device
    for rows in zip(*(tensor.split(size) for tensor in inputs)):
        count = len(rows[0])
        if count == 0:
            return  # an empty batch splits into one empty part
        extra = -count % PADDING[device.type]
        padded = (F.pad(tensor, [0, 0] * (tensor.dim() - 1) + [0, extra]) for tensor in rows)
        yield tuple(map(_channels_last, padded)), torch.arange(count + extra, device=device) < count


def _channels_last(tensor):
    """Images in the layout in which a convolution is fastest, on a CPU as on a GPU."""
    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _plain_pass(model, rows, is_there, parameters):
    scores = torch.where(is_there, model(*rows), 0)
    return dict(zip(parameters, torch.autograd.grad(scores.sum(), list(parameters.values()))))


def _clipped_pass(model, rows, is_there, clip_norm):
    layers, activations, output_gradients = tape(model, rows)
    with torch.no_grad():
        factors = [_factors(*each) for each in zip(layers.values(), activations, output_gradients)]
        norms = sum(squares for squares, _ in factors).sqrt()
        counted = norms.isfinite() & is_there
        weights = torch.where(counted, ((1 - MARGIN) * clip_norm / norms).clamp(max=1), 0)
        sums = {}
        for (name, layer), a, g, (_, gradients) in zip(layers.items(), activations, output_gradients, factors):
            part = (_weighted_product(layer, _kept(a, counted), _kept(g, counted) * _column(weights, g))
                    if gradients is None else [weights @ _kept(each, counted) for each in gradients])
            for (key, parameter), gradient in zip(layer.named_parameters(recurse=False), part):
                sums[f"{name}.{key}" if name else key] = _like(parameter, gradient)
    return sums


def tape(model: nn.Module, rows: tuple[Tensor, ...]) -> tuple[dict[str, nn.Module], list[Tensor], list[Tensor]]:
    """One forward and one backward pass: layers, each one's input, and the gradient of the summed scores at its output.

    Raises ValueError for a layer that the pass uses twice, for one whose input or output is changed in place, and for a
    model that does not give one score a record.
    """
    layers = trainable_layers(model)
    activations, outputs, versions = {}, {}, {}

    def remember(layer, layer_inputs, output):
        if layer in outputs:
            raise ValueError(f"{layer} is used twice in one pass, so its per-example gradient has cross terms: "
                             "use two layers.")
        activations[layer], outputs[layer] = layer_inputs[0].detach(), output
        versions[layer] = layer_inputs[0]._version, output._version

    hooks = [layer.register_forward_hook(remember) for layer in layers.values()]
    try:
        scores = model(*rows)
    finally:
        for hook in hooks:
            hook.remove()
    if scores.shape != (len(rows[0]),):
        raise ValueError("the model must give one score a record: one row of each input belongs to a record.")
    for layer, before in versions.items():
        if (activations[layer]._version, outputs[layer]._version) != before:
            raise ValueError(f"the input or output of {layer} is changed in place, so its per-example gradient would "
                             "be another tensor's: use inplace=False.")
    gradients = torch.autograd.grad(scores.sum(), [outputs[layer] for layer in layers.values()])
    return layers, [activations[layer] for layer in layers.values()], list(gradients)


def _factors(layer: nn.Linear | nn.Conv2d, activation: Tensor,
             output_gradient: Tensor) -> tuple[Tensor, list[Tensor] | None]:
    """Each record's squared gradient norm in one layer, (B,); and its gradients (weight, bias) where they were formed.

    The gradient of record i is sum_t g_t a_t^T over T positions, with a_t of size d and g_t of size p. Either form it,
    T d p products; or, for the norm alone, sum_{t,s} (a_t . a_s)(g_t . g_s), T^2 (d + p). A linear layer has T = 1.
    """
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return (_squares(activation) + has_bias) * _squares(output_gradient), None
    a, g = patches(layer, activation), output_gradient.movedim(1, -1).flatten(1, 2)  # (B, T, d), (B, T, p)
    (positions, d), p = a.shape[1:], g.shape[2]
    bias = [g.sum(1)] if has_bias else []
    if expands(positions, d, p):
        return ((a @ a.mT) * (g @ g.mT)).sum((1, 2)) + sum(map(_squares, bias)), None
    gradients = [(g.mT @ a).flatten(1), *bias]
    return sum(map(_squares, gradients)), gradients  # type: ignore[return-value]  # one summand at least


def expands(positions: int, d: int, p: int) -> bool:
    """Whether a norm is cheaper as T^2 (d + p) products than as T d p."""
    return positions * (d + p) < d * p


def _squares(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).square()


def patches(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """What a convolution multiplies its weights with: (B, C, H, W) -> (B, T, d), d in the order height, width, channel.

    Channels last, so that a copy moves runs of (kernel width * C) numbers; F.unfold moves single ones.
    """
    (above, left), (down, right), (tall, wide) = layer.padding, layer.stride, layer.dilation  # type: ignore[str-unpack]  # clip refuses padding in words
    kernel = height, width = layer.kernel_size
    padded = F.pad(
        images, [left, left, above, above]).movedim(1, -1).contiguous()  # type: ignore[list-item]  # (B, H, W, C)
    records, *sides, channels = padded.shape
    places = [(side - spread * (reach - 1) - 1) // stride + 1
              for side, spread, reach, stride in zip(sides, layer.dilation, kernel, layer.stride)]
    record, row, column, channel = padded.stride()
    windows = padded.as_strided((records, *places, height, width, channels),
                                (record, down * row, right * column, tall * row, wide * column, channel))
    return windows.reshape(records, math.prod(places), height * width * channels)


def _weighted_product(layer, activation, output_gradient):
    """A layer's gradients (weight, bias) for output gradients already weighted by record."""
    if isinstance(layer, nn.Linear):
        return [output_gradient.T @ activation, output_gradient.sum(0)]
    return [nn.grad.conv2d_weight(activation, layer.weight.shape, output_gradient, layer.stride, layer.padding,
                                  layer.dilation), output_gradient.sum((0, 2, 3))]


def _like(parameter, gradient):
    """A summed gradient in its parameter's shape; those formed from patches are flat, with channels last."""
    if parameter.dim() < 4 or gradient.dim() == 4:
        return gradient
    out, into, height, width = parameter.shape
    return gradient.view(out, height, width, into).movedim(-1, 1)


def _column(vector, like):
    return vector.view(-1, *[1] * (like.dim() - 1))


def _kept(tensor, counted):
    # A weight of 0 is not enough for a record that does not count: 0 * NaN is NaN.
    return torch.where(_column(counted, tensor), tensor, 0)


def trainable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer, for the layers that hold the model's parameters."""
    return {name: module for name, module in model.named_modules() if list(module.parameters(recurse=False))}


def check_separable(model: nn.Module, *example: Tensor) -> None:
    """Refuse a model whose per-example gradients this module cannot form, or some parameter would get no noise.

    example: inputs of batch size 2 or more, of public or random numbers.  Raises ValueError naming the culprit.
    """
    for name, layer in trainable_layers(model).items():
        if type(layer) not in (nn.Linear, nn.Conv2d) or _is_unusual(layer):
            raise ValueError(f"layer '{name}' ({layer}) has no per-example gradient rule: "
                             "use nn.Linear, or nn.Conv2d with groups=1 and zero padding given in pixels.")
        for parameter_name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                raise ValueError(f"parameter '{name}.{parameter_name}' is frozen and would receive no noise: "
                                 "make it a buffer, or trainable.")
    _check_scores(model, example)


def _is_unusual(layer) -> bool:
    return isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"
                                             or isinstance(layer.padding, str))


def _check_scores(model, example):
    """Each parameter layer is used once, and no record's score depends on another record."""
    parameters = dict(model.named_parameters())
    owners = {id(parameter) for parameter in parameters.values()}
    if len(owners) != sum(len(list(layer.parameters(recurse=False))) for layer in trainable_layers(model).values()):
        raise ValueError("two layers share a parameter, so its per-example gradient has cross terms: give each its "
                         "own.")
    gradients = torch.autograd.grad(model(*example).sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients):
        if gradient is None:
            raise ValueError(f"parameter '{name}' does not reach the score and would receive no noise: remove it.")
    tape(model, example)
    with torch.no_grad():
        alone = torch.cat([model(*(tensor[i : i + 1] for tensor in example)) for i in range(len(example[0]))])
        together = model(*example)
    # Two float32 summation orders differ by a few 1e-7 of the scores; a layer that mixes records changes them wholly.
    if not torch.allclose(alone, together, rtol=1e-4, atol=1e-5):
        mixer = next((name for name, module in model.named_modules() if "Norm" in type(module).__name__), "unknown")
        raise ValueError(f"a record's score depends on other records in the batch (layer '{mixer}'): "
                         "no per-example gradient exists, remove the layer.")
