"""What an epsilon for one record means for a group of k records, say k images of one person. Never imports torch.

Not k times epsilon: that holds for epsilon alone, and delta would grow too. The group's own mechanism is looked at
instead. In a Poisson batch so many of the k come together as k coins of probability q say, and each moves the sum by at
most C: a mixture of Gaussians at 0, C, ..., kC with binomial weights, which no other group of k beats (Ganesh 2024).
A release without sampling moves by at most k.
"""

import math

import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.stats import binom

from dpgan_lib import accounting

INTERVAL = 1e-3  # of the discretised privacy loss; losses are rounded up, so that the answer is an upper bound


def epsilon_of_group(k: int, *, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                     release_noise: float = math.inf) -> float:
    """Epsilon at delta, for adding or removing k records at once, of T Poisson-sampled Gaussian steps and a release.

    Arguments as of accounting.epsilon_pld; k = 1 gives what that gives, to the discretisation. inf without noise.
    Raises ValueError as that does, or for a k that is no whole number above 0.
    """
    if type(k) is not int or k < 1:
        raise ValueError(f"k={k!r} must be a whole number, 1 or more: the records of a group.")
    if (steps and noise_multiplier == 0) or release_noise == 0:
        return math.inf
    accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps, delta=delta,
                           release_noise=release_noise)  # refuses what makes no sense
    parts = []
    if steps:
        together = np.arange(k + 1)
        step = pld.from_mixture_gaussian_mechanism(noise_multiplier, together, binom.pmf(together, k, sampling_rate),
                                                   value_discretization_interval=INTERVAL)
        parts.append(step.self_compose(steps))
    if math.isfinite(release_noise):
        parts.append(pld.from_gaussian_mechanism(release_noise, sensitivity=k, value_discretization_interval=INTERVAL))
    composed = parts[0] if len(parts) == 1 else parts[0].compose(parts[1])
    return float(composed.get_epsilon_for_delta(delta))
