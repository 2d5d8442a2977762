"""What T private steps cost: the moments accountant, its modern form (RDP), and the privacy loss distribution (PLD).

One step adds N(0, sigma^2 C^2) to a sum of gradients clipped to C, over a batch that each record enters with
probability q. Along the worst direction, in units of C, neighbours differ as mu_0 = N(0, sigma^2), without the
record, and mu = (1 - q) mu_0 + q N(1, sigma^2), with it. All three accountants bound epsilon(delta) for that pair,
T times, in both directions: neighbours differ by adding or removing one record. PLD is the tightest and is the
epsilon that a result reports; the other two stand beside it for comparison with the literature.

Before the steps there may be one release of a whole sum, with sensitivity 1 and noise of standard deviation s =
release_noise: for it, neighbours differ as N(0, s^2) and N(1, s^2). It composes with the steps, which may depend on
what it released. 0 is a release without noise, inf none at all; a run may also be a release and no step, T = 0.

Abadi et al. 2016, "Deep Learning with Differential Privacy", arXiv 1607.00133.
Mironov, Talwar, Zhang 2019, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", arXiv 1908.10530.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.privacy_accountant import NeighboringRelation
from scipy.special import gammaln
from scipy.stats import binom

# Tenths where the optimum of a large epsilon lies, then integers; the last four serve the smallest epsilons.
ORDERS = np.concatenate([np.arange(11, 110) / 10, np.arange(11, 65), [128, 256, 512, 1024]])

# The code published with Abadi et al. 2016 stops at lambda = 32. A small epsilon needs more: the bound is never
# below log(1/delta) / lambda.
LAMBDAS = ORDERS[ORDERS % 1 == 0] - 1
PLD_INTERVAL = 1e-4  # of the privacy loss, nats
PLD_INTERVALS = 150_000  # at most, about: seconds and memory grow with their number
MIN_NOISE, MAX_NOISE = 0.01, 1000.0  # at 0.01 one step without sampling costs an epsilon of 5,000
PROFILE_DELTA = 1e-10  # how far down delta(epsilon) is evaluated


def epsilons(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
             release_noise: float = math.inf) -> dict[str, float]:
    """The same T steps, and the release, by all three accountants: under the names "pld", "rdp" and "moments"."""
    mechanism = dict(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps, delta=delta,
                     release_noise=release_noise)
    return {"pld": epsilon_pld(**mechanism), "rdp": epsilon_rdp(**mechanism), "moments": epsilon_moments(**mechanism)}  # type: ignore[arg-type]  # the dict has numbers of both types


def renyi_divergence(*, sampling_rate: float, noise_multiplier: float,
                     orders: Sequence[float] | np.ndarray) -> np.ndarray:
    """D_alpha(mu || mu_0) = log(A_alpha) / (alpha - 1), A_alpha = E_{z ~ mu_0} [(mu(z) / mu_0(z))^alpha], of one step.

    noise_multiplier: 0 (infinite divergence) or 0.01 to 1000.  orders: (K,), alpha > 1.
    Returns (K,) nats; D_alpha(mu_0 || mu) is no larger.  Integer orders are good to 1e-11 relative, fractional
    ones only while log(A_alpha) is above 1e-3; below that, to 1e-13 in log(A_alpha).  Raises ValueError on an order
    of 1 or less, nan or inf.
    Source: Mironov et al. 2019, section 3.
    """
    check_mechanism(noise_multiplier, sampling_rate)
    for order in orders:
        require(is_number(order) and 1 < order < math.inf, "order", order,
                "must be a finite number above 1: the Renyi divergence of order 1 needs another formula. Try 1.1.")
    alpha = np.asarray(orders, dtype=float)
    if noise_multiplier == 0:
        return np.full(alpha.shape, math.inf)
    if sampling_rate == 1:
        return alpha / (2 * noise_multiplier**2)  # without sampling: two Gaussians, one apart
    q, sigma = float(sampling_rate), float(noise_multiplier)
    return np.array([_log_moment(a, q, sigma) for a in alpha.tolist()]) / (alpha - 1)


def _log_moment(alpha: float, q: float, sigma: float) -> float:
    """log(A_alpha), nats."""
    return _log_moment_sum(int(alpha), q, sigma) if alpha.is_integer() else _log_moment_integral(alpha, q, sigma)


def _log_moment_sum(alpha: int, q: float, sigma: float) -> float:
    """log(A_alpha) for an integer order, a binomial sum.

    A_alpha = sum_(k=0..alpha) binom(alpha, k) (1-q)^(alpha-k) q^k exp((k^2 - k) / (2 sigma^2)).
    Without their exponentials the terms sum to 1. So A_alpha - 1 is the same sum with exp(x) - 1 for exp(x), all
    terms positive: exact to rounding however close to 1 A_alpha is, and in logarithms safe from overflow.
    """
    k = np.arange(2, alpha + 1)  # the terms of k = 0 and 1 have x = 0
    x = (k**2 - k) / (2 * sigma**2)
    log_binomial = gammaln(alpha + 1) - gammaln(k + 1) - gammaln(alpha - k + 1)
    log_expm1 = x + np.log(-np.expm1(-x))
    log_excess = _log_sum_exp(log_binomial + (alpha - k) * np.log1p(-q) + k * np.log(q) + log_expm1)
    return np.logaddexp(0, log_excess)


def _log_moment_integral(alpha: float, q: float, sigma: float) -> float:
    """log(A_alpha) for any order: the integral of mu_0 (mu / mu_0)^alpha by the trapezoid rule.

    The integrand is analytic within pi sigma^2 of the real line, so this rule's error falls exponentially in 1/step;
    it is below e^-59 A_alpha here. What lies further than `reach` from both peaks, 0 and alpha, is below e^-40 A_alpha.
    """
    step = min(sigma / 2, sigma**2 / 4)
    reach = sigma * math.sqrt(2 * (40 + alpha * math.log(2)))
    ticks = np.arange(-math.ceil(reach / step), math.ceil(reach / step) + 1)
    z = step * np.union1d(ticks, ticks + round(alpha / step))
    log_mu_0 = -(z**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    log_ratio = np.logaddexp(np.log1p(-q), np.log(q) + (2 * z - 1) / (2 * sigma**2))
    log_moment = _log_sum_exp(log_mu_0 + alpha * log_ratio) + math.log(step)
    return max(log_moment, 0.0)  # A_alpha >= 1; rounding may fall below


def _log_sum_exp(terms: np.ndarray) -> float:
    """log(sum(exp(terms))); scipy.special's takes most of an accountant's time in checks of its arguments."""
    peak = terms.max()
    return peak + math.log(np.exp(terms - peak).sum())


def epsilon_moments(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                    release_noise: float = math.inf) -> float:
    """Epsilon of the moments accountant: min over lambda of (alpha_M(lambda) - log delta) / lambda.

    The log moments add up over steps: alpha_M(lambda) = T log A_(lambda+1).  lambda: the integers 1 to 63, then 127,
    255, 511 and 1023.  Source: Abadi et al. 2016, Theorem 2.
    """
    check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    return spent_moments(parts_of_run(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps,
                                      release_noise=release_noise), delta)


def epsilon_rdp(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                release_noise: float = math.inf) -> float:
    """Epsilon by Renyi DP: min over alpha of T D_alpha + log((alpha-1) / alpha) - (log delta + log alpha) / (alpha-1).

    A release adds its own D_alpha = alpha / (2 s^2) to T D_alpha.
    The same moments, converted without the moments accountant's slack.  alpha: 1.1 to 10.9 by tenths, the integers
    11 to 64, then 128, 256, 512 and 1024.
    Sources: Canonne, Kamath, Steinke 2020, Proposition 12; Balle et al. 2020, Theorem 21.
    """
    check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    return spent_rdp(parts_of_run(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps,
                                  release_noise=release_noise), delta)


def epsilon_pld(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                release_noise: float = math.inf) -> float:
    """Epsilon by the privacy loss distribution, composed numerically by dp_accounting: the tightest bound here.

    The loss is discretised in intervals of 1e-4 nats, or of a quarter of a step's spread q / sigma where that is less,
    but not in more than about 150,000 of them: wider intervals keep epsilon an upper bound and only loosen it.
    Infinite below a delta of about 1e-14, where the tails that the composition cuts off weigh more than delta.
    """
    check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    return spent_pld(parts_of_run(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps,
                                  release_noise=release_noise), delta)


def check_epsilon(epsilon: float) -> None:
    require(is_number(epsilon) and epsilon > 0, "epsilon", epsilon,
            "must be a number > 0: it is the privacy budget. Use 10, or inf for the run without privacy.")


def check_run(noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
              release_noise: float = math.inf) -> None:
    check_mechanism(noise_multiplier, sampling_rate)
    check_release(release_noise)
    least = 1 if release_noise == math.inf else 0
    require(isinstance(steps, Integral) and not isinstance(steps, bool) and steps >= least, "steps", steps,
            f"must be an integer of at least {least}: no step, no release. "
            "Give the number of critic steps, not of epochs.")
    check_delta(delta)


def check_mechanism(noise_multiplier: float, sampling_rate: float) -> None:
    require(is_number(noise_multiplier) and (noise_multiplier == 0 or MIN_NOISE <= noise_multiplier <= MAX_NOISE),
            "noise_multiplier", noise_multiplier,
            f"must be 0 (no privacy) or lie in [{MIN_NOISE:g}, {MAX_NOISE:g}]: it is sigma, in units of the "
            "clip norm. Let calibrate_noise choose it.")
    require(is_number(sampling_rate) and 0 < sampling_rate <= 1, "sampling_rate", sampling_rate,
            "must lie in (0, 1]: it is a probability, not a batch size. For MNIST use 512/60000.")


def check_release(release_noise: float) -> None:
    require(is_number(release_noise)
            and (release_noise in (0, math.inf) or MIN_NOISE <= release_noise <= MAX_NOISE),
            "release_noise", release_noise, f"must be inf (no release), 0 (no noise) or lie in [{MIN_NOISE:g}, "
            f"{MAX_NOISE:g}]: it is the release's noise, in units of its sensitivity. Let split_budget choose it.")


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def require(condition: bool, name: str, value: object, rest: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value!r} {rest}")


# Several mechanisms on the same records, one after the other, each of which may depend on what came before

@dataclass(frozen=True, kw_only=True)
class SampledGaussian:
    """So many steps of one Gaussian mechanism on Poisson batches. A whole sum is one step that every record enters."""

    noise_multiplier: float
    sampling_rate: float
    steps: int


def parts_of_run(*, noise_multiplier: float, sampling_rate: float, steps: int, release_noise: float = math.inf,
                 reader: SampledGaussian | None = None) -> tuple[SampledGaussian, ...]:
    """A run's mechanisms: the critic's steps and, if there are any, the reader's and the release of noisy sums.

    release_noise: as of epsilon_pld.
    """
    critic = SampledGaussian(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps)
    release = SampledGaussian(noise_multiplier=release_noise, sampling_rate=1.0, steps=1)
    return (critic, *([reader] if reader else []), *([release] if math.isfinite(release_noise) else []))


def spent(parts: Sequence[SampledGaussian], delta: float) -> dict[str, float]:
    """What all parts spend together, by all three accountants: under the names "pld", "rdp" and "moments".

    Raises ValueError for a part that makes no sense, or where no part takes a step.
    """
    return {"pld": spent_pld(parts, delta), "rdp": spent_rdp(parts, delta), "moments": spent_moments(parts, delta)}


def spent_moments(parts: Sequence[SampledGaussian], delta: float) -> float:
    """Epsilon of the moments accountant, of all parts together; errors as of spent()."""
    check_parts(parts, delta)
    return _epsilon_of_moments(LAMBDAS * _divergence(parts, LAMBDAS + 1), delta)


def spent_rdp(parts: Sequence[SampledGaussian], delta: float) -> float:
    """Epsilon by Renyi DP, of all parts together; errors as of spent()."""
    check_parts(parts, delta)
    return _epsilon_of_divergence(_divergence(parts, ORDERS), delta)


def _divergence(parts: Sequence[SampledGaussian], orders: np.ndarray) -> np.ndarray:
    """D_alpha of all parts together, nats: it adds up. A part without a step costs nothing, whatever one would cost."""
    total = np.zeros_like(orders, dtype=float)
    for part in parts:
        if part.steps:
            total += part.steps * renyi_divergence(sampling_rate=part.sampling_rate, orders=orders,
                                                   noise_multiplier=part.noise_multiplier)
    return total


def _epsilon_of_moments(log_moments: np.ndarray, delta: float) -> float:
    return float(np.min((log_moments - math.log(delta)) / LAMBDAS))


def _epsilon_of_divergence(divergence: np.ndarray, delta: float) -> float:
    bounds = divergence + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return max(float(np.min(bounds)), 0.0)


def spent_pld(parts: Sequence[SampledGaussian], delta: float, *, coarseness: int = 1) -> float:
    """Epsilon by the privacy loss distribution, of all parts together; errors as of spent().

    coarseness: how many times wider the intervals of the loss are, for a quicker and higher bound.
    """
    check_parts(parts, delta)
    if any(part.steps and part.noise_multiplier == 0 for part in parts):
        return math.inf
    return float(composed(parts, delta, coarseness=coarseness).get_epsilon(delta))


def composed(parts: Sequence[SampledGaussian], delta: float, *, coarseness: int = 1) -> PLDAccountant:
    """The accountant after all parts.  delta: the smallest that it will be asked for."""
    taken = [part for part in parts if part.steps]
    interval = coarseness * _interval(taken, spent_rdp(taken, delta))
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, interval)
    for part in taken:
        step = GaussianDpEvent(float(part.noise_multiplier))
        if (part.sampling_rate, part.steps) == (1, 1):  # a whole sum
            accountant.compose(step)
        else:
            sampled = PoissonSampledDpEvent(float(part.sampling_rate), step)
            accountant.compose(SelfComposedDpEvent(sampled, int(part.steps)))
    return accountant


def _interval(parts: Sequence[SampledGaussian], scale: float) -> float:
    """Width of PLD's intervals, nats.  scale: about the epsilon of all parts."""
    least = min(part.noise_multiplier for part in parts)
    one_step = 8 / least + 1 / (2 * least**2)  # the loss 8 standard deviations out
    finest = min(PLD_INTERVAL, *(part.sampling_rate / (4 * part.noise_multiplier) for part in parts))
    return min(max(finest, max(one_step, scale) / PLD_INTERVALS), 50)  # dp_accounting computes exp(10 * 50)


def check_parts(parts: Sequence[SampledGaussian], delta: float) -> None:
    for part in parts:
        check_mechanism(part.noise_multiplier, part.sampling_rate)
        require(isinstance(part.steps, Integral) and not isinstance(part.steps, bool) and int(part.steps) >= 0,
                "steps", part.steps, "must be an integer of at least 0: how often the mechanism runs. Give a number of "
                "steps, not of epochs.")
    require(any(part.steps for part in parts), "parts", tuple(parts),
            "must take a step: there is nothing to account for. Give one with steps=1 at least.")
    check_delta(delta)


def check_delta(delta: float) -> None:
    require(is_number(delta) and 0 < delta < 1, "delta", delta,
            "must lie strictly between 0 and 1: it is a probability, well below 1/N. For MNIST use 1e-5.")


# An epsilon for one record means more for a group of k, say k images of one person. Not k times epsilon: that holds for
# epsilon alone, and delta would grow too. The group's own mechanism is looked at instead. In a Poisson batch so many of
# the k come together as k coins of probability q say, and each moves the sum by at most C: a mixture of Gaussians at 0,
# C, ..., kC with binomial weights, which no other group of k beats (Ganesh 2024). A sum without sampling moves by at
# most k.
GROUP_INTERVAL = 4e-3  # of the discretised privacy loss; losses are rounded up, so that the answer is an upper bound


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
    check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    parts = []
    if steps:
        together = np.arange(k + 1)
        step = pld.from_mixture_gaussian_mechanism(noise_multiplier, together, binom.pmf(together, k, sampling_rate),
                                                   value_discretization_interval=GROUP_INTERVAL)
        parts.append(step.self_compose(steps))
    if math.isfinite(release_noise):
        parts.append(pld.from_gaussian_mechanism(release_noise, sensitivity=k,
                                                 value_discretization_interval=GROUP_INTERVAL))
    composed = parts[0] if len(parts) == 1 else parts[0].compose(parts[1])
    return float(composed.get_epsilon_for_delta(delta))
