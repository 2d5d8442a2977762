"""The private sum: Poisson sampling, per-example clipping, Gaussian noise, a public divisor. Knows no GAN.

Clipping needs every record's gradient norm but only the sum of the clipped gradients, so no per-example gradient
is kept: one backward pass gives the gradient at each layer's output, the norms follow from those and the layers'
inputs, and a second, weighted product gives the sum ("book-keeping", Bu et al. 2023).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING = 32


def poisson_sample(records: int, sampling_rate: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of the batch: each record enters by its own coin of probability sampling_rate.

    The size is random, may be 0, and is secret: divide by sampling_rate * records, never by it.
    """
    return np.flatnonzero(rng.random(records) < sampling_rate)


def noisy_mean(model: nn.Module, inputs: tuple[Tensor, ...], *, clip_norm: float, noise_multiplier: float,
               expected_batch: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """The private gradient: (sum of clipped per-example gradients + sigma C N(0, I)) / expected batch.

    inputs: tensors whose first axis is the Poisson batch (it may be empty).  Returns name -> gradient of the
    summed scores, for every trainable parameter.  Guarantee, add/remove one record: the sum moves by at most
    clip_norm, so one call is a Gaussian mechanism with that noise_multiplier (Abadi et al. 2016, Alg. 1).
    """
    sums = clipped_sum(model, inputs, clip_norm)
    if noise_multiplier > 0:
        for gradient in sums.values():
            gradient += noise_multiplier * clip_norm * _normal(gradient, rng)
    return {name: gradient / expected_batch for name, gradient in sums.items()}


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), dtype=np.float32)).to(like.device)


def clipped_sum(model: nn.Module, inputs: tuple[Tensor, ...], clip_norm: float) -> dict[str, Tensor]:
    """Sum over the batch of each record's gradient of its score, scaled to L2 norm at most clip_norm.

    model: maps inputs to one score a record, (B,); check_separable(model) holds.  clip_norm: > 0, inf for none.
    Returns name -> tensor of the parameter's shape.  A record whose gradient is not finite contributes 0.
    """
    parameters = dict(model.named_parameters())
    batch = len(inputs[0])
    if batch == 0:
        return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    inputs = _padded(inputs)
    if math.isinf(clip_norm):
        gradients = torch.autograd.grad(model(*inputs)[:batch].sum(), list(parameters.values()))
        return dict(zip(parameters, gradients))
    layers, activations, output_gradients = _tape(model, inputs)
    with torch.no_grad():
        norms = sum(map(squared_norms, layers.values(), activations, output_gradients)).sqrt()
        counted = norms.isfinite() & (torch.arange(len(norms), device=norms.device) < batch)
        weights = (clip_norm / norms).clamp(max=1)
        sums = {}
        for (name, layer), a, g in zip(layers.items(), activations, output_gradients):
            sums |= _weighted_sum(name, layer, _kept(a, counted), _kept(g * _column(weights, g), counted))
    return sums


def _padded(inputs):
    """Zero rows up to a multiple of PADDING: a kernel is compiled for each shape, and Poisson sizes all differ."""
    extra = -len(inputs[0]) % PADDING
    return tuple(F.pad(tensor, [0, 0] * (tensor.dim() - 1) + [0, extra]) for tensor in inputs)


def _tape(model, inputs):
    """One forward and one backward pass: each layer's input and the gradient of the summed scores at its output."""
    layers = trainable_layers(model)
    activations, outputs = {}, {}

    def remember(layer, layer_inputs, output):
        if layer in outputs:
            raise ValueError(f"{layer} is used twice in one pass, so its per-example gradient has cross terms: "
                             "use two layers.")
        activations[layer], outputs[layer] = layer_inputs[0].detach(), output

    hooks = [layer.register_forward_hook(remember) for layer in layers.values()]
    try:
        scores = model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    assert scores.shape == (len(inputs[0]),), "the model gives one score a record"
    gradients = torch.autograd.grad(scores.sum(), [outputs[layer] for layer in layers.values()])
    return layers, [activations[layer] for layer in layers.values()], gradients


def squared_norms(layer: nn.Module, activation: Tensor, output_gradient: Tensor) -> Tensor:
    """Squared L2 norm of each record's gradient in one layer, bias included: (B,).

    The gradient of record i is sum_t g_t a_t^T over T positions (1 for a linear layer), with a_t of size d and
    g_t of size p. Either form it, T d p products, or take sum_{t,s} (a_t . a_s)(g_t . g_s), T^2 (d + p).
    """
    if isinstance(layer, nn.Conv2d):
        a = F.unfold(activation, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (B, d, T)
        g = output_gradient.flatten(2)  # (B, p, T)
    else:
        a, g = activation[:, :, None], output_gradient[:, :, None]
    (d, positions), p = a.shape[1:], g.shape[1]
    if positions * (d + p) < d * p:
        squares = ((a.mT @ a) * (g.mT @ g)).sum((1, 2))
    else:
        squares = (g @ a.mT).square().sum((1, 2))
    return squares + (g.sum(2).square().sum(1) if layer.bias is not None else 0)


def _weighted_sum(name, layer, activation, gradient):
    """The layer's weight (and bias) gradient for output gradients already weighted by record."""
    prefix = f"{name}." if name else ""
    if isinstance(layer, nn.Conv2d):
        sums = {"weight": nn.grad.conv2d_weight(activation, layer.weight.shape, gradient, layer.stride,
                                                layer.padding, layer.dilation)}
        bias = gradient.sum((0, 2, 3))
    else:
        sums, bias = {"weight": gradient.T @ activation}, gradient.sum(0)
    if layer.bias is not None:
        sums["bias"] = bias
    return {prefix + key: value for key, value in sums.items()}


def _column(vector, like):
    return vector.view(-1, *[1] * (like.dim() - 1))


def _kept(tensor, counted):
    # Padding and records without a finite norm. A weight of 0 is not enough: 0 * NaN is NaN.
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
        raise ValueError("two layers share a parameter, so its per-example gradient has cross terms: give each its own.")
    gradients = torch.autograd.grad(model(*example).sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients):
        if gradient is None:
            raise ValueError(f"parameter '{name}' does not reach the score and would receive no noise: remove it.")
    _tape(model, example)
    with torch.no_grad():
        alone = torch.cat([model(*(tensor[i : i + 1] for tensor in example)) for i in range(len(example[0]))])
        together = model(*example)
    # Two float32 summation orders differ by a few 1e-7 of the scores; a layer that mixes records changes them wholly.
    if not torch.allclose(alone, together, rtol=1e-4, atol=1e-5):
        mixer = next((name for name, module in model.named_modules() if "Norm" in type(module).__name__), "unknown")
        raise ValueError(f"a record's score depends on other records in the batch (layer '{mixer}'): "
                         "no per-example gradient exists, remove the layer.")
