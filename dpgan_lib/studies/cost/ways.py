"""Ways to sum clipped per-example gradients, each a function of (model, inputs, clip_norm) as clipping.clipped_sum is.

All give the same sum (a test compares them); they differ in time and memory. An entry of WAYS is: whether the step is
private, whether the fakes are clipped too, and make(critic) -> the sum.
"""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dpgan_lib.privacy.clipping import clipped_sum


def ours(critic: nn.Module):
    """Book-keeping, as the book trains."""
    return clipped_sum


def explicit_loop(critic: nn.Module):
    """Batches of one: a forward and a backward pass for every record."""
    def sum_of(model, inputs, clip_norm):
        parameters = dict(model.named_parameters())
        total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        for record in zip(*(tensor.split(1) for tensor in inputs)):
            gradients = torch.autograd.grad(model(*record).sum(), list(parameters.values()))
            norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
            for name, gradient in zip(parameters, gradients):
                total[name] += (clip_norm / norm).clamp(max=1) * gradient
        return total

    return sum_of


def vectorised(critic: nn.Module, compiled: bool = False):
    """torch.func: vmap(grad) gives every per-example gradient at once, and keeps them all."""
    def score(parameters, *record):
        return functional_call(critic, parameters, tuple(tensor[None] for tensor in record))[0]

    def samples_of(parameters, *inputs):
        return vmap(grad(score), in_dims=(None, 0, 0))(parameters, *inputs)

    samples_of = torch.compile(samples_of) if compiled else samples_of

    def sum_of(model, inputs, clip_norm):
        parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
        return _clip(samples_of(parameters, *inputs), clip_norm)

    return sum_of


def _clip(samples: dict[str, Tensor], clip_norm: float) -> dict[str, Tensor]:
    norms = sum(sample.flatten(1).square().sum(1) for sample in samples.values()).sqrt()
    weights = (clip_norm / norms).clamp(max=1)
    return {name: torch.tensordot(weights, sample, dims=1) for name, sample in samples.items()}


def opacus_hooks(critic: nn.Module):
    """Opacus' default: hooks form every per-example gradient. Its model shares the critic's parameters."""
    from opacus import GradSampleModule

    wrapped = GradSampleModule(_Twin(critic), loss_reduction="sum")

    def sum_of(model, inputs, clip_norm):
        wrapped.zero_grad()
        wrapped(*inputs).sum().backward()
        return _clip({name.removeprefix("_module.critic."): parameter.grad_sample
                      for name, parameter in wrapped.named_parameters()}, clip_norm)

    return sum_of


def opacus_ghost(critic: nn.Module):
    """Opacus' ghost clipping: norms in one backward pass, the weighted sum in a second."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    wrapped = GradSampleModuleFastGradientClipping(_Twin(critic), loss_reduction="sum", max_grad_norm=1.0,
                                                   use_ghost_clipping=True)

    def sum_of(model, inputs, clip_norm):
        wrapped.max_grad_norm = clip_norm
        wrapped.zero_grad()
        scores = wrapped(*inputs)
        scores.sum().backward(retain_graph=True)
        weights = wrapped.get_clipping_coef()
        wrapped.zero_grad()
        wrapped.disable_hooks()
        (weights * scores).sum().backward()
        wrapped.enable_hooks()
        return {name.removeprefix("_module.critic."): parameter.grad for name, parameter in wrapped.named_parameters()}

    return sum_of


class _Twin(nn.Module):
    """A critic with the parameters of another, for hooks that the other must not carry."""

    def __init__(self, critic: nn.Module):
        super().__init__()
        self.critic = _shared_copy(critic)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.critic(*inputs)


def _shared_copy(critic):
    memo = {id(parameter): parameter for parameter in critic.parameters()}
    return copy.deepcopy(critic, memo)


def compiled_plain(critic: nn.Module):
    """The plain step's gradient with the critic compiled."""
    model_of = torch.compile(critic)

    def sum_of(model, inputs, clip_norm):
        parameters = dict(model.named_parameters())
        return dict(zip(parameters, torch.autograd.grad(model_of(*inputs).sum(), list(parameters.values()))))

    return sum_of


def compiled_vectorised(critic: nn.Module):
    return vectorised(critic, compiled=True)


WAYS = {
    "plain": (False, False, ours),
    "ours, real half": (True, False, ours),
    "ours, both halves": (True, True, ours),
    "vmap(grad)": (True, False, vectorised),
    "Opacus, hooks": (True, False, opacus_hooks),
    "Opacus, ghost": (True, False, opacus_ghost),
    "explicit loop": (True, False, explicit_loop),
    "plain, compiled": (False, False, compiled_plain),
    "vmap(grad), compiled": (True, False, compiled_vectorised),
}
