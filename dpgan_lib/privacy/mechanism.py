"""The private sum: Poisson sampling, per-example clipping, Gaussian noise, a public divisor. Knows no GAN."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.privacy.clipping import clipped_sum


def poisson_sample(records: int, sampling_rate: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of the batch: each record enters by its own coin of probability sampling_rate.

    Drawn as a binomial size and then a uniform subset of that size, which is the same law in far less time.
    The size is random, may be 0, and is secret: divide by sampling_rate * records, never by it.
    """
    return rng.choice(records, rng.binomial(records, sampling_rate), replace=False, shuffle=False)


def noisy_mean(model: nn.Module, inputs: tuple[Tensor, ...], *, clip_norm: float, noise_multiplier: float,
               expected_batch: int, rng: np.random.Generator, sum_of: Callable | None = None) -> dict[str, Tensor]:
    """The private gradient: (sum of clipped per-example gradients + sigma C N(0, I)) / expected batch.

    inputs: tensors whose first axis is the Poisson batch (it may be empty).  Returns name -> gradient of the
    summed scores, for every trainable parameter.  sum_of: another function with clipped_sum's arguments, guarantee and
    result, for those who compare or audit it.  Guarantee, add/remove one record: the sum moves by at most
    clip_norm, so one call is a Gaussian mechanism with that noise_multiplier (Abadi et al. 2016, Alg. 1).
    """
    sums = (sum_of or clipped_sum)(model, inputs, clip_norm)
    if noise_multiplier > 0:
        for gradient in sums.values():
            gradient.add_(_normal(gradient, rng), alpha=noise_multiplier * clip_norm)
    return {name: gradient / expected_batch for name, gradient in sums.items()}


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    """N(0, 1) of a tensor's shape, on its device.

    PyTorch's own generator is used on a GPU alone, where it is a Philox whose key takes all 64 bits of a seed. The one
    for a CPU takes 32: among a few hundred thousand steps, two would share their noise.
    """
    if like.is_cuda:
        generator = torch.Generator(like.device).manual_seed(int(rng.integers(2**63)))
        return torch.randn(like.shape, generator=generator, device=like.device)
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), dtype=np.float32))
