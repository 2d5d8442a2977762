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
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from numbers import Integral, Real

import numpy as np
from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.privacy_accountant import NeighboringRelation
from scipy.special import gammaln

# Tenths where the optimum of a large epsilon lies, then integers; the last four serve the smallest epsilons.
ORDERS = np.concatenate([np.arange(11, 110) / 10, np.arange(11, 65), [128, 256, 512, 1024]])
# The code published with Abadi et al. 2016 stops at lambda = 32. A small epsilon needs more: the bound is never
# below log(1/delta) / lambda.
LAMBDAS = ORDERS[ORDERS % 1 == 0] - 1
PLD_INTERVAL = 1e-4  # of the privacy loss, nats
PLD_INTERVALS = 150_000  # at most, about: seconds and memory grow with their number
MIN_NOISE, MAX_NOISE = 0.01, 1000.0  # at 0.01 one step without sampling costs an epsilon of 5,000
NOISE_TICKS = 1000  # calibrated noise is a multiple of 1 / NOISE_TICKS
FIRST_TICK, LAST_TICK = round(MIN_NOISE * NOISE_TICKS), round(MAX_NOISE * NOISE_TICKS)
PROFILE_DELTA, PROFILE_POINTS = 1e-10, 500  # how far, and at how many epsilons, delta(epsilon) is evaluated


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader of the accountant's chapter may choose: T steps to account for, and an epsilon to plan for.

    epsilon, delta: total, for adding or removing one record.  The ranges are those that a page can compute and draw.
    """

    noise_multiplier: float = 1.0
    sampling_rate: float = 0.01
    steps: int = 2000
    delta: float = 1e-5
    epsilon: float = 1.0

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair. Takes a tenth of a second."""
        _check_run(self.noise_multiplier, self.sampling_rate, self.steps, self.delta)
        _require(self.noise_multiplier >= 0.1, "noise_multiplier", self.noise_multiplier,
                 "must lie in [0.1, 1000] here: less noise hides nothing that a page could draw. Try 1.0.")
        _require(self.steps <= 500_000, "steps", self.steps,
                 "must be at most 500000 here, or the page takes longer than two minutes. Try 100000.")
        _require(self.delta >= PROFILE_DELTA, "delta", self.delta, "must be at least 1e-10 here. Try 1e-6.")
        _check_epsilon(self.epsilon)
        _require(0.01 <= self.epsilon <= 100, "epsilon", self.epsilon,
                 "must lie in [0.01, 100] here: a planner's budget. Try 1.0.")
        spent = epsilon_rdp(noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate,
                            steps=self.steps, delta=self.delta)
        _require(spent <= 50, "noise_multiplier", self.noise_multiplier,
                 f"must be larger here: these {self.steps} steps spend an epsilon of {spent:.0f}, which promises "
                 f"nothing. Try {2 * self.noise_multiplier:g}.")
        calibrate_noise_rdp(epsilon=self.epsilon, delta=self.delta, sampling_rate=self.sampling_rate, steps=self.steps)


def epsilons(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
             release_noise: float = math.inf) -> dict[str, float]:
    """The same T steps, and the release, by all three accountants: under the names "pld", "rdp" and "moments"."""
    mechanism = dict(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps, delta=delta,
                     release_noise=release_noise)
    return {"pld": epsilon_pld(**mechanism), "rdp": epsilon_rdp(**mechanism), "moments": epsilon_moments(**mechanism)}


def renyi_divergence(*, sampling_rate: float, noise_multiplier: float, orders: Sequence[float]) -> np.ndarray:
    """D_alpha(mu || mu_0) = log(A_alpha) / (alpha - 1), A_alpha = E_{z ~ mu_0} [(mu(z) / mu_0(z))^alpha], of one step.

    noise_multiplier: 0 (infinite divergence) or 0.01 to 1000.  orders: (K,), alpha > 1.
    Returns (K,) nats; D_alpha(mu_0 || mu) is no larger.  Integer orders are good to 1e-11 relative, fractional
    ones only while log(A_alpha) is above 1e-3; below that, to 1e-13 in log(A_alpha).  Raises ValueError on an order
    of 1 or less, nan or inf.
    Source: Mironov et al. 2019, section 3.
    """
    _check_mechanism(noise_multiplier, sampling_rate)
    for order in orders:
        _require(_is_number(order) and 1 < order < math.inf, "order", order,
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
    _check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    rdp = renyi_divergence(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, orders=LAMBDAS + 1)
    log_moments = _times(steps, LAMBDAS * rdp) + LAMBDAS * _release_divergence(release_noise, LAMBDAS + 1)
    return float(np.min((log_moments - math.log(delta)) / LAMBDAS))


def epsilon_rdp(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                release_noise: float = math.inf) -> float:
    """Epsilon by Renyi DP: min over alpha of T D_alpha + log((alpha-1) / alpha) - (log delta + log alpha) / (alpha-1).

    A release adds its own D_alpha = alpha / (2 s^2) to T D_alpha.
    The same moments, converted without the moments accountant's slack.  alpha: 1.1 to 10.9 by tenths, the integers
    11 to 64, then 128, 256, 512 and 1024.
    Sources: Canonne, Kamath, Steinke 2020, Proposition 12; Balle et al. 2020, Theorem 21.
    """
    _check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    rdp = renyi_divergence(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, orders=ORDERS)
    total = _times(steps, rdp) + _release_divergence(release_noise, ORDERS)
    bounds = total + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return max(float(np.min(bounds)), 0.0)


def _times(steps: int, divergence: np.ndarray) -> np.ndarray:
    """T times the divergence of one step; nothing without a step, whatever one would cost."""
    return steps * divergence if steps else np.zeros_like(divergence)


def _release_divergence(release_noise: float, orders: np.ndarray) -> np.ndarray:
    """D_alpha of the release, nats: of two Gaussians of standard deviation s, one apart."""
    return np.full(orders.shape, math.inf) if release_noise == 0 else orders / (2 * release_noise**2)


def epsilon_pld(*, noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
                release_noise: float = math.inf) -> float:
    """Epsilon by the privacy loss distribution, composed numerically by dp_accounting: the tightest bound here.

    The loss is discretised in intervals of 1e-4 nats, or of a quarter of a step's spread q / sigma where that is less,
    but not in more than about 150,000 of them: wider intervals keep epsilon an upper bound and only loosen it.
    Infinite below a delta of about 1e-14, where the tails that the composition cuts off weigh more than delta.
    """
    _check_run(noise_multiplier, sampling_rate, steps, delta, release_noise)
    return _pld(noise_multiplier, sampling_rate, steps, delta, release_noise, coarseness=1)


def _pld(noise_multiplier: float, sampling_rate: float, steps: int, delta: float, release_noise: float, *,
         coarseness: int) -> float:
    if steps == 0:  # a release alone is one step that every record enters
        noise_multiplier, sampling_rate, steps, release_noise = release_noise, 1.0, 1, math.inf
    if noise_multiplier == 0 or release_noise == 0:
        return math.inf
    spent = _composed(noise_multiplier, sampling_rate, steps, delta, coarseness, release_noise)
    return float(spent.get_epsilon(delta))


def _composed(noise_multiplier: float, sampling_rate: float, steps: int, delta: float, coarseness: int,
              release_noise: float = math.inf) -> PLDAccountant:
    """The accountant after T steps and a release.  delta: the smallest that it will be asked for."""
    scale = epsilon_rdp(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps, delta=delta,
                        release_noise=release_noise)
    interval = coarseness * _interval(noise_multiplier, sampling_rate, scale, release_noise)
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, interval)
    step = PoissonSampledDpEvent(float(sampling_rate), GaussianDpEvent(float(noise_multiplier)))
    accountant.compose(SelfComposedDpEvent(step, int(steps)))
    if math.isfinite(release_noise):
        accountant.compose(GaussianDpEvent(float(release_noise)))
    return accountant


def _interval(noise_multiplier: float, sampling_rate: float, scale: float, release_noise: float) -> float:
    """Width of PLD's intervals, nats.  scale: about the epsilon of the whole run."""
    least = min(noise_multiplier, release_noise)
    one_step = 8 / least + 1 / (2 * least**2)  # the loss 8 standard deviations out
    finest = min(PLD_INTERVAL, sampling_rate / (4 * noise_multiplier))
    return min(max(finest, max(one_step, scale) / PLD_INTERVALS), 50)  # dp_accounting computes exp(10 * 50)


def trade_off(*, noise_multiplier: float, sampling_rate: float, steps: int,
              false_alarms: Sequence[float]) -> np.ndarray:
    """The least type II error of any test of "your record was in", at each type I error.

    noise_multiplier: 0.01 to 1000.  false_alarms: (K,) type I errors alpha in [0, 1].
    Returns (K,) type II errors beta in [0, 1], a lower bound: for every epsilon >= 0,
    beta >= 1 - delta - e^epsilon alpha  and  beta >= e^-epsilon (1 - delta - alpha),
    with the delta(epsilon) of PLD, down to 1e-10. Fewer epsilons only loosen it.
    Source: Dong, Roth, Su 2022, section 2.
    """
    alpha = np.asarray(false_alarms, dtype=float)
    _check_run(noise_multiplier, sampling_rate, steps, PROFILE_DELTA)
    _require(noise_multiplier > 0, "noise_multiplier", noise_multiplier,
             "must lie in [0.01, 1000]: without noise every record shows.")
    _require(bool(np.all((alpha >= 0) & (alpha <= 1))), "false_alarms", false_alarms,
             "must lie in [0, 1]: they are probabilities.")
    spent = _composed(noise_multiplier, sampling_rate, steps, PROFILE_DELTA, coarseness=1)
    epsilon = np.linspace(0, spent.get_epsilon(PROFILE_DELTA), PROFILE_POINTS)[:, None]
    delta = np.array([spent.get_delta(each) for each in epsilon[:, 0].tolist()])[:, None]
    with np.errstate(divide="ignore"):  # alpha = 0
        steep = 1 - delta - np.exp(np.minimum(epsilon + np.log(alpha), 1))  # e^1 makes it negative
    flat = np.exp(-epsilon) * (1 - delta - alpha)
    return np.maximum(np.maximum(steep, flat).max(axis=0), 0)


def epsilon_lower_bound(*, hits: Sequence[float], false_alarms: Sequence[float], delta: float) -> float:
    """The largest epsilon that an event refutes: max of log((P[E] - delta) / P'[E]), or 0.

    hits, false_alarms: (K,) probabilities P[E] and P'[E] of the same K events on two
    neighbours. A mechanism with these is (epsilon, delta)-DP for no smaller epsilon.
    """
    p, p_prime = np.asarray(hits, dtype=float), np.asarray(false_alarms, dtype=float)
    above = p > delta
    with np.errstate(divide="ignore"):  # an event impossible on one side refutes all
        return float(np.max(np.log(p[above] - delta) - np.log(p_prime[above]), initial=0))


def split_budget(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                 release_share: float) -> tuple[float, float]:
    """The noise of a release and of T steps that spend at most epsilon together: (release_noise, noise_multiplier).

    release_share: in [0, 1], a public choice. Alone, the release would spend this share of epsilon; the steps get all
    that is left, which is more than the rest: epsilons of composed mechanisms add up to less than their sum. 0: no
    release, its noise is inf.  steps: 0 for a release alone, which takes a release_share of 1; the steps' noise is 0.
    """
    _require(_is_number(release_share) and 0 <= release_share <= 1, "release_share", release_share,
             "must lie in [0, 1]: it is a share of epsilon. Try 0.5.")
    _require((steps == 0) == (release_share == 1), "release_share", release_share,
             f"must be 1 if and only if nothing else spends; here steps={steps}. Try 0.5, or 1 and steps=0.")
    release_noise = math.inf if release_share == 0 else calibrate_noise(
        epsilon=release_share * epsilon, delta=delta, sampling_rate=1, steps=1)  # one step that every record enters
    if steps == 0:
        return release_noise, 0.0
    return release_noise, calibrate_noise(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps,
                                          release_noise=release_noise)


def calibrate_noise(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                    release_noise: float = math.inf) -> float:
    """The smallest noise multiplier, a multiple of 0.001 from 0.01 to 1000, whose epsilon_pld is at most epsilon.

    epsilon: total, > 0; inf gives 0.0, no noise.  0.001 less noise overshoots epsilon, unless the answer is 0.01.
    Raises ValueError when a noise multiplier of 1000 still spends more than epsilon.
    """
    _check_epsilon(epsilon)
    _check_run(MAX_NOISE, sampling_rate, steps, delta)
    _check_release(release_noise)
    if math.isinf(epsilon):
        return 0.0
    return _calibrate(float(epsilon), float(delta), float(sampling_rate), int(steps), float(release_noise))


def calibrate_noise_rdp(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                        release_noise: float = math.inf) -> float:
    """As calibrate_noise, with epsilon_rdp for epsilon_pld: a tenth of a second, for a little more noise.

    RDP reaches no epsilon below about (log(1/delta) - 7) / 1000, so that it refuses some that calibrate_noise grants.
    """
    _check_epsilon(epsilon)
    _check_run(MAX_NOISE, sampling_rate, steps, delta)
    _check_release(release_noise)
    if math.isinf(epsilon):
        return 0.0
    run = dict(delta=delta, sampling_rate=sampling_rate, steps=steps, release_noise=release_noise)
    noise = _rdp_tick(epsilon, run) / NOISE_TICKS
    _check_reached(epsilon, epsilon_rdp(noise_multiplier=noise, **run), run)
    return noise


@lru_cache
def _calibrate(epsilon: float, delta: float, sampling_rate: float, steps: int, release_noise: float) -> float:
    run = dict(delta=delta, sampling_rate=sampling_rate, steps=steps, release_noise=release_noise)

    @lru_cache
    def spent(tick: int, coarseness: int = 1) -> float:
        return _pld(tick / NOISE_TICKS, **run, coarseness=coarseness)

    enough = _rough_tick(partial(spent, coarseness=10), epsilon, run)
    if spent(enough) > epsilon:
        enough = LAST_TICK
    _check_reached(epsilon, spent(enough), run)
    return _least_tick(spent, epsilon, enough, gap=1 + enough // 1000) / NOISE_TICKS


def _rough_tick(spent: Callable[[int], float], epsilon: float, run: dict) -> int:
    """A tick at or a little above the answer, by RDP and then by a coarse and quick PLD: both bounds are higher."""
    enough = _rdp_tick(epsilon, run)
    return _least_tick(spent, epsilon, enough, gap=1 + enough // 8) if spent(enough) <= epsilon else enough


def _rdp_tick(epsilon: float, run: dict) -> int:
    """The least tick that RDP lets pass, by bisection; the last one if none does, so ask that one again."""
    def passes(tick: int) -> bool:
        return epsilon_rdp(noise_multiplier=tick / NOISE_TICKS, **run) <= epsilon

    return bisect_left(range(LAST_TICK), True, lo=FIRST_TICK, key=passes)


def _least_tick(spent: Callable[[int], float], epsilon: float, enough: int, gap: int) -> int:
    """The least tick that spends at most epsilon, for spent falls as ticks rise.

    enough: a tick that does.  gap: how far below it to look first.
    """
    below, above = enough, enough
    while spent(below) <= epsilon:
        if below == FIRST_TICK:
            return below
        below, above, gap = max(FIRST_TICK, below - gap), below, 4 * gap
    while above - below > 1:
        # log(spent) against log(tick) is nearly straight, so that a few secants find the tick
        logs = np.log(np.clip([spent(below) / epsilon, spent(above) / epsilon], 0.01, 100))  # 0 and inf occur
        secant = below * (above / below) ** (logs[0] / (logs[0] - logs[1]))
        middle = min(max(math.ceil(secant), below + 1), above - 1)
        below, above = (below, middle) if spent(middle) <= epsilon else (middle, above)
    return above


def _check_epsilon(epsilon: float) -> None:
    _require(_is_number(epsilon) and epsilon > 0, "epsilon", epsilon,
             "must be a number > 0: it is the privacy budget. Use 10, or inf for the run without privacy.")


def _check_reached(epsilon: float, spent: float, run: dict) -> None:
    """spent: at the largest noise, or at less where that is enough."""
    if spent > epsilon:
        release = run["release_noise"]
        beside = "" if math.isinf(release) else f", release_noise={release:g}"
        raise ValueError(
            f"epsilon={epsilon:g} must be one that some noise reaches: at sampling_rate={run['sampling_rate']:g}, "
            f"steps={run['steps']}, delta={run['delta']:g}{beside} even noise_multiplier={MAX_NOISE:g} spends "
            f"{spent:.3g}. Ask for a larger epsilon, or take fewer steps or a smaller sampling_rate"
            f"{'' if math.isinf(release) else ', or more noise in the release'}.")


def _check_run(noise_multiplier: float, sampling_rate: float, steps: int, delta: float,
               release_noise: float = math.inf) -> None:
    _check_mechanism(noise_multiplier, sampling_rate)
    _check_release(release_noise)
    least = 1 if release_noise == math.inf else 0
    _require(isinstance(steps, Integral) and not isinstance(steps, bool) and steps >= least, "steps", steps,
             f"must be an integer of at least {least}: no step, no release. "
             "Give the number of critic steps, not of epochs.")
    _require(_is_number(delta) and 0 < delta < 1, "delta", delta,
             "must lie strictly between 0 and 1: it is a probability, well below 1/N. For MNIST use 1e-5.")


def _check_mechanism(noise_multiplier: float, sampling_rate: float) -> None:
    _require(_is_number(noise_multiplier) and (noise_multiplier == 0 or MIN_NOISE <= noise_multiplier <= MAX_NOISE),
             "noise_multiplier", noise_multiplier,
             f"must be 0 (no privacy) or lie in [{MIN_NOISE:g}, {MAX_NOISE:g}]: it is sigma, in units of the "
             "clip norm. Let calibrate_noise choose it.")
    _require(_is_number(sampling_rate) and 0 < sampling_rate <= 1, "sampling_rate", sampling_rate,
             "must lie in (0, 1]: it is a probability, not a batch size. For MNIST use 512/60000.")


def _check_release(release_noise: float) -> None:
    _require(_is_number(release_noise)
             and (release_noise in (0, math.inf) or MIN_NOISE <= release_noise <= MAX_NOISE),
             "release_noise", release_noise, f"must be inf (no release), 0 (no noise) or lie in [{MIN_NOISE:g}, "
             f"{MAX_NOISE:g}]: it is the release's noise, in units of its sensitivity. Let split_budget choose it.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _require(condition: bool, name: str, value: object, rest: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value!r} {rest}")
