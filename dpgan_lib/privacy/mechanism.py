"""The private sum: Poisson sampling, per-example clipping, Gaussian noise, a public divisor. Knows no GAN."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.privacy.clipping import clipped_sum
from dpgan_lib.privacy.exact import full_float32

FINENESS = 20  # bits that a public grid is finer than the noise


def poisson_sample(records: int, sampling_rate: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of the batch: each record enters by its own coin of probability sampling_rate.

    Drawn as a binomial size and then a uniform subset of that size, which is the same law in far less time.
    The size is random, may be 0, and is secret: divide by sampling_rate * records, never by it.
    """
    return rng.choice(records, rng.binomial(records, sampling_rate), replace=False, shuffle=False)


def noisy_mean(model: nn.Module, inputs: tuple[Tensor, ...], *, clip_norm: float, noise_multiplier: float,
               expected_batch: int, rng: np.random.Generator, sum_of: Callable | None = None) -> dict[str, Tensor]:
    """The private gradient: (sum of clipped per-example gradients + sigma C N(0, I)) / expected batch, in float32.

    inputs: tensors whose first axis is the Poisson batch (it may be empty).  Returns name -> gradient of the
    summed scores, for every trainable parameter.  sum_of: another function with clipped_sum's arguments, guarantee and
    result, for those who compare or audit it.  Guarantee, add/remove one record: the sum moves by at most
    clip_norm, so one call is a Gaussian mechanism with that noise_multiplier (Abadi et al. 2016, Alg. 1), as far as
    noisy_sum is.
    """
    with full_float32():
        sums = (sum_of or clipped_sum)(model, inputs, clip_norm)
    spread = noise_multiplier * clip_norm if noise_multiplier > 0 else 0.0  # clip_norm may then be inf
    return {name: (noisy_sum(gradient, spread, rng) / expected_batch).to(gradient.dtype)
            for name, gradient in sums.items()}


def noisy_sum(exact: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """A sum plus N(0, spread^2) in every entry, rounded to a public grid: float64, and nothing more if spread is 0.

    Unrounded, spread * n of a floating-point n is on no grid that another sum's release is on: one look at the last
    bits tells 0 from 1 record (Mironov 2012). The grid is the largest power of two that is at most spread / 2^20. So
    rounding moves an entry by at most spread / 2^21, and each of its cells holds more than 2^28 values of the noise.
    What stays open: the noise is a rounded Gaussian drawn in float64, not a discrete one drawn exactly, and no proof
    covers the rounding of its sampler (Casacuberta et al. 2022; Haney et al. 2022).
    """
    if spread == 0:
        return exact.double()
    grid = 2.0 ** (math.floor(math.log2(spread)) - FINENESS)
    noisy = exact.double() + spread * _normal(exact, rng)
    return (noisy / grid).round() * grid + 0.0  # no -0


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    """N(0, 1) of a tensor's shape, on its device: float64.

    PyTorch's own generator is used on a GPU alone, where it is a Philox whose key takes all 64 bits of a seed. The one
    for a CPU takes 32: among a few hundred thousand steps, two would share their noise.
    """
    if like.is_cuda:
        generator = torch.Generator(like.device).manual_seed(int(rng.integers(2**63)))
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=torch.float64)
    return torch.from_numpy(rng.standard_normal(tuple(like.shape)))
