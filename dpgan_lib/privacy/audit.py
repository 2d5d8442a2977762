"""What an auditor can prove: bounds on epsilon from below, and the most that any auditor could have proved.

m canaries are put in by fair coins. The auditor guesses r of the m coins from what was released. An (epsilon, delta)-DP
mechanism, for adding or removing one record, keeps anyone from guessing too well, so good guesses refute an epsilon.
A poor bound proves nothing: the auditor may have been weak, or m small. So no bound stands here without its ceiling.

Four estimators stand side by side (see BOUNDS); the more they assume of the mechanism, the more they show.

Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv 2305.08846.
Mahloujifar, Melis, Chaudhuri 2025, "Auditing f-Differential Privacy in One Run", arXiv 2410.22235.
Agrawal, Wei, Singh, Magdon-Ismail, Zikas 2026, "Let's Ask Gauss: Improved One-Run Privacy Auditing", arXiv 2606.12733.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit, log_ndtr, logit, ndtr, ndtri
from scipy.stats import beta, binom

from dpgan_lib.config import PrivacyConfig
from dpgan_lib.privacy.accounting import PROFILE_DELTA, check_run, composed, parts_of_run, require

PROFILE_POINTS = 500  # epsilons at which delta(epsilon) is evaluated


def trade_off(*, noise_multiplier: float, sampling_rate: float, steps: int,
              false_alarms: Sequence[float] | np.ndarray) -> np.ndarray:
    """The least type II error of any test of "your record was in", at each type I error.

    noise_multiplier: 0.01 to 1000.  false_alarms: (K,) type I errors alpha in [0, 1].
    Returns (K,) type II errors beta in [0, 1], a lower bound: for every epsilon >= 0,
    beta >= 1 - delta - e^epsilon alpha  and  beta >= e^-epsilon (1 - delta - alpha),
    with the delta(epsilon) of PLD, down to 1e-10. Fewer epsilons only loosen it.
    Source: Dong, Roth, Su 2022, section 2.
    """
    alpha = np.asarray(false_alarms, dtype=float)
    check_run(noise_multiplier, sampling_rate, steps, PROFILE_DELTA)
    require(noise_multiplier > 0, "noise_multiplier", noise_multiplier,
            "must lie in [0.01, 1000]: without noise every record shows.")
    require(bool(np.all((alpha >= 0) & (alpha <= 1))), "false_alarms", false_alarms,
            "must lie in [0, 1]: they are probabilities.")
    spent = composed(parts_of_run(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps),
                     PROFILE_DELTA)
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


GUESSED = 10  # one canary in so many is guessed to be in, and as many to be out; the others are left open
BISECTIONS = 30  # of an interval of at most 20 nats: to 2e-8
ALPHAS = 4001  # type I errors at which a trade-off curve is tabulated


def p_value(*, correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """The probability of at least that many correct guesses under (epsilon, delta)-DP, from above.

    With v correct of r guesses about m canaries and W ~ Binomial(r, e^epsilon / (1 + e^epsilon)):
    P[W >= v] + 2 m delta max_(i=1..m) P[v - i <= W < v] / i.   Beyond i = v the maximum cannot lie.
    Source: Steinke et al. 2023, Theorem 5.2 and its Corollary 5.4.  Raises ValueError for impossible numbers.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} correct of {guesses} guesses about {canaries} canaries: each number must be at "
                         "most the next.")
    accuracy = expit(epsilon)
    below = np.cumsum(binom.pmf(np.arange(correct)[::-1], guesses, accuracy))  # i = 1, ..., v
    steepest = np.max(below / np.arange(1, correct + 1), initial=0)
    return float(min(binom.sf(correct - 1, guesses, accuracy) + 2 * canaries * delta * steepest, 1))


@cache
def one_run_bound(*, correct: int, guesses: int, canaries: int, delta: float, level: float) -> float:
    """Epsilon from below: with probability 1 - level no (epsilon, delta)-DP mechanism gets a bound above its epsilon.

    The guesses, and how many, were fixed before the outputs were seen.  Returns nats, 0 where nothing is shown.
    The p-value rises with epsilon as long as it is below 1/2, so bisection finds where it first reaches the level.
    """
    def is_refuted(epsilon: float) -> bool:
        return p_value(correct=correct, guesses=guesses, canaries=canaries, epsilon=epsilon, delta=delta) < level

    if not is_refuted(0.0):
        return 0.0
    low, high = 0.0, float(logit(_lower(correct, guesses, level)))  # the bound at delta = 0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low


def _lower(successes: int, trials: int, level: float) -> float:
    """Clopper-Pearson: a success probability below this gives as many successes with probability < level."""
    return float(beta.ppf(level, successes, trials - successes + 1)) if successes else 0.0


def upper(successes: int, trials: int, level: float) -> float:
    """Clopper-Pearson, one-sided, over independent trials: a success probability above this gives as few successes
    with probability < level.
    """
    return 1 - _lower(trials - successes, trials, level)


def guessed(canaries: int) -> int:
    """How many canaries are guessed to be in, and also how many to be out: k+ = k-, from m alone."""
    return canaries // GUESSED


def correct_guesses(scores: np.ndarray, included: np.ndarray) -> int:
    """Right ones among 2 guessed(m): the highest scores are guessed to be in, the lowest to be out.

    scores, included (booleans): (m,).
    """
    order, count = np.argsort(scores, kind="stable"), guessed(len(scores))
    return int(included[order[len(order) - count:]].sum() + (~included[order[:count]]).sum())


@dataclass(frozen=True)
class Audit:
    """An audit's outcome. epsilon: the bound from below.  ceiling: that bound had every guess been right."""

    canaries: int
    guesses: int
    correct: int
    delta: float
    level: float
    epsilon: float
    ceiling: float


def audit(scores: np.ndarray, included: np.ndarray, *, delta: float, level: float) -> Audit:
    """Guess, count and bound. scores, included: (m,).  level: the probability, at most, of a bound that is too high."""
    canaries, guesses = len(scores), 2 * guessed(len(scores))
    given = dict(guesses=guesses, canaries=canaries, delta=delta, level=level)
    correct = correct_guesses(scores, included)
    return Audit(canaries, guesses, correct, delta, level, one_run_bound(correct=correct, **given),
                 one_run_bound(correct=guesses, **given))


# One run, and a mechanism that is taken to be Gaussian. A score is then N(0, 1) of a canary that is out and N(mu, 1) of
# one that is in: no test of the two has a smaller type II error than Phi(Phi^-1(1 - alpha) - mu), which is mu-GDP.

MOST_MU = 1e4  # looked for; its epsilon is 5e7


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The least epsilon at which N(0, 1) and N(mu, 1) are (epsilon, delta)-indistinguishable.

    It solves delta = Phi(-epsilon / mu + mu / 2) - e^epsilon Phi(-epsilon / mu - mu / 2).  mu: at most MOST_MU.
    Source: Dong, Roth, Su 2022, Corollary 2.13.
    """
    def exceeds(epsilon: float) -> bool:
        lost = ndtr(-epsilon / mu + mu / 2) - np.exp(epsilon + log_ndtr(-epsilon / mu - mu / 2))
        return bool(lost > delta)

    return _largest(exceeds, mu * mu / 2 - mu * float(ndtri(delta))) if mu > 0 else 0.0  # there the first term is delta


def _largest(holds: Callable[[float], bool], high: float) -> float:
    """Where a condition that holds up to some point ends, between 0 and high, from below; 0 if it never holds."""
    if not holds(0.0):
        return 0.0
    low = 0.0
    for _ in range(2 * BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def is_possible(*, correct: int, guesses: int, canaries: int, level: float,
                inverse: Callable[[float], float]) -> bool:
    """Whether under f-DP so many guesses or more can be right with probability `level`.

    inverse: of x -> 1 - f(x), f the trade-off curve.
    Let p_j be the probability that j of the r guesses are right, and of the events "canary l is guessed, and j are
    right" take those with a right guess of l; with l's coin turned, the same release has a wrong guess of l, and j - 1
    right ones. The mean over the m canaries, for 1 - f is concave, says that
        sum_(j >= i) j p_j / m  <=  1 - f( sum_(j >= i) (r - j + 1) p_(j-1) / m ),    i = 1, ..., r.
    From P = P[V >= v] = level downwards, each inequality asks for a least p_(i-1), given as little as can be in
    A = sum_(j >= i) j p_j / m. A law that puts more at v or above, or higher up, ends with no less in all: so if the
    least sum exceeds 1, there is no such law.   Source: Mahloujifar et al. 2025, section 4.
    """
    total, right = level, correct * level / canaries  # P and A
    for i in range(correct, 0, -1):
        # A + (B + (r - i + 1) p / m) = r P / m + (r - i + 1) p / m, and the bracket is to be inverse(A) or more.
        least = (canaries * (inverse(right) + right) - (i - 1) * total) / (guesses - i + 1)
        more = max(least - total, 0.0)
        total, right = total + more, right + (i - 1) * more / canaries
        if total > 1:
            return False
    return True


@cache
def f_dp_bound(*, correct: int, guesses: int, canaries: int, delta: float, level: float) -> float:
    """Epsilon from below by f-DP in one run, for f of the Gaussian family: the epsilon of the least mu not refuted.

    Assumes that the mechanism's trade-off curve is a Gaussian's, as that of many small steps is; nothing of canaries'
    independence or of the score. The guesses, and how many, were fixed before the outputs were seen.
    """
    def is_refuted(mu: float) -> bool:
        return not is_possible(correct=correct, guesses=guesses, canaries=canaries, level=level,
                               inverse=lambda share: float(ndtr(ndtri(share) - mu)))

    return epsilon_of_mu(_largest(is_refuted, 2 * abs(float(ndtri(level / canaries)))), delta)


def gaussian_dp_bound(scores: np.ndarray, included: np.ndarray, *, threshold: float, delta: float,
                      level: float) -> float:
    """Epsilon from below by a fit of mu to one point of the trade-off curve.

    scores, included: (m,).  "In" is said of a score above the threshold, which was fixed beforehand. Both errors are
    bounded from above by Clopper-Pearson at level / 2 each, and mu = Phi^-1(1 - alpha') - Phi^-1(beta').
    Assumes independent canaries, and a trade-off curve that is a Gaussian's; the noise's scale need not be known.
    Source: Nasr et al. 2023, "Tight Auditing of Differentially Private Machine Learning", section 4.
    """
    false_alarm, miss = errors(scores, included, threshold=threshold, level=level)
    return epsilon_of_mu(max(float(-ndtri(false_alarm) - ndtri(miss)), 0.0), delta)


def gaussian_mean_bound(scores: np.ndarray, included: np.ndarray, *, delta: float, level: float) -> float:
    """Epsilon from below by the difference of means between canaries that are in and those that are out.

    scores, included: (m,), in units of the noise's standard deviation in a score, which is known. What a one-sided
    confidence bound leaves of the difference of means is mu. Scores should spread about their means as the noise does,
    by 1; where they spread more, the confidence bound is wider.
    Assumes Gaussian noise of known scale. It knows no coin, so what canaries have in common falls on both groups alike.
    Noise below that scale is not seen here: look at the spread.   Source: Agrawal et al. 2026, who estimate the scale.
    """
    groups = scores[included], scores[~included]
    if min(map(len, groups)) < 2:
        return 0.0
    error = math.sqrt(sum(max(1.0, group.var(ddof=1)) / len(group) for group in groups))
    mu = float(groups[0].mean() - groups[1].mean() + ndtri(level) * error)
    return epsilon_of_mu(min(max(mu, 0.0), MOST_MU), delta)


def bounds(guessing: np.ndarray, fitted: np.ndarray, included: np.ndarray, *, threshold: float, delta: float,
           level: float) -> dict[str, float]:
    """All estimators on one run, by name, each at the level.

    guessing: scores (m,) for the coins' guesses, in which no coin had a part.  fitted: for the Gaussian estimators, in
    units of their noise; canary i's may use the other canaries' coins, as what the definition's adversary knows.
    """
    counts = dict(correct=correct_guesses(guessing, included), guesses=2 * guessed(len(included)),
                  canaries=len(included))
    return {ONE_RUN: one_run_bound(**counts, delta=delta, level=level),
            F_DP: f_dp_bound(**counts, delta=delta, level=level),
            GAUSSIAN_DP: gaussian_dp_bound(fitted, included, threshold=threshold, delta=delta, level=level),
            GAUSSIAN_MEAN: gaussian_mean_bound(fitted, included, delta=delta, level=level)}


ONE_RUN, F_DP, GAUSSIAN_DP, GAUSSIAN_MEAN = "one run", "f-DP in one run", "Gaussian DP", "Gaussian mean"
BOUNDS = {ONE_RUN: "nothing of the mechanism", F_DP: "a Gaussian trade-off curve",
          GAUSSIAN_DP: "that, and independent canaries",
          GAUSSIAN_MEAN: "Gaussian noise of known scale"}  # what each assumes


def shift(*mechanisms) -> float:
    """What being in adds to an ideal canary's score on average, in units of its noise.

    Of one mechanism it is q T C / (sigma C sqrt(T)), and the score a sum over its T steps. Of several it is the root of
    their squares' sum, and the score a sum of theirs, each by its own shift: no other weights tell in from out better.
    mechanisms: with noise_multiplier, sampling_rate and steps.
    """
    return math.hypot(*(each.sampling_rate * math.sqrt(each.steps) / each.noise_multiplier for each in mechanisms))


def ideal_scores(mechanisms: Sequence, canaries: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and coins, (m,), of canaries with orthogonal gradients of length C, among records that are known."""
    included, scores = rng.random(canaries) < 0.5, rng.standard_normal(canaries)
    for each in mechanisms:
        drawn = rng.binomial(each.steps, each.sampling_rate, canaries) * included
        weight = shift(each) / shift(*mechanisms)
        scores += weight * drawn / (each.noise_multiplier * math.sqrt(each.steps))
    return scores, included


def ceilings(mechanisms: Sequence, *, epsilon: float, delta: float, canaries: int, audits: int, level: float,
             rng: np.random.Generator) -> dict:
    """What each estimator shows of ideal canaries, simulated: by name, the median bound and how many exceed the claim.

    epsilon, delta: claimed of all mechanisms together.
    The median is what the best auditor of this kind may expect, so no audit with as many canaries is to be measured
    against more. Those above the claim are to be a share `level` at most.
    """
    found: list[dict[str, float]] = []
    for _ in range(audits):
        scores, included = ideal_scores(mechanisms, canaries, rng)
        found.append(bounds(scores, scores, included, threshold=shift(*mechanisms) / 2, delta=delta, level=level))
    return {name: {"median": float(np.median([each[name] for each in found])),
                   "above": sum(each[name] > epsilon for each in found), "audits": audits} for name in BOUNDS}


# One mechanism, many independent trials

@dataclass(frozen=True)
class Curve:
    """A mechanism's trade-off curve in a table: no test has type I error alpha and a type II error below beta."""

    alpha: np.ndarray
    beta: np.ndarray

    def least_miss(self, false_alarm: float) -> float:
        """Type II error from below at a type I error of at most false_alarm: the curve falls, so look to its right."""
        return float(self.beta[np.searchsorted(self.alpha, false_alarm)])


def curve(privacy: PrivacyConfig) -> Curve:
    """Of the whole run, all T steps. privacy: noise_multiplier > 0."""
    alpha = np.linspace(0, 1, ALPHAS)
    return Curve(alpha, trade_off(noise_multiplier=privacy.noise_multiplier, steps=privacy.steps,
                                  sampling_rate=privacy.sampling_rate, false_alarms=alpha))


def is_refuted(scores: np.ndarray, included: np.ndarray, *, threshold: float, claimed: Curve, level: float) -> bool:
    """Whether a mechanism has less privacy than claimed: a one-sided test over independent trials.

    scores, included: (n,), a trial each; "in" is said of a score above the threshold, which was fixed beforehand.
    Null hypothesis: the mechanism's errors alpha and beta lie on or above the claimed curve f. Both are bounded from
    above by Clopper-Pearson at level / 2 each: alpha' and beta'. Under the null both bounds hold with probability
    1 - level, and then beta' >= beta >= f(alpha) >= f(alpha'). Refuted if beta' < f(alpha').
    """
    false_alarm, miss = errors(scores, included, threshold=threshold, level=level)
    return miss < claimed.least_miss(false_alarm)


def errors(scores: np.ndarray, included: np.ndarray, *, threshold: float, level: float) -> tuple[float, float]:
    """Both errors of "in, if above the threshold" from above, each at level / 2. scores, included: (n,)."""
    says_in = scores > threshold
    return (upper(int(says_in[~included].sum()), int((~included).sum()), level / 2),
            upper(int((~says_in)[included].sum()), int(included.sum()), level / 2))


def level_of_each(audits: int, level: float = 0.05) -> float:
    """Bonferroni: so that all of the audits published together are right with probability 1 - level."""
    return level / audits
