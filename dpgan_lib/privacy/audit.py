"""What an auditor can prove: bounds on epsilon from below, and the most that any auditor could have proved.

m canaries are put in by fair coins. The auditor guesses r of the m coins from what was released. An (epsilon, delta)-DP
mechanism, for adding or removing one record, keeps anyone from guessing too well, so good guesses refute an epsilon.
A poor bound proves nothing: the auditor may have been weak, or m small. So no bound stands here without its ceiling.

Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv 2305.08846.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit, logit
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
    Source: Steinke et al. 2023, Theorem 5.2 and its Corollary 5.4.
    """
    assert 0 <= correct <= guesses <= canaries
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
    says_in = scores > threshold
    false_alarm = upper(int(says_in[~included].sum()), int((~included).sum()), level / 2)
    miss = upper(int((~says_in)[included].sum()), int(included.sum()), level / 2)
    return miss < claimed.least_miss(false_alarm)


def midpoint(privacy: PrivacyConfig) -> float:
    """The threshold of that test, fixed beforehand: half of what T steps add for a canary that is in, q T C."""
    return privacy.sampling_rate * privacy.steps * privacy.clip_norm / 2


def level_of_each(audits: int, level: float = 0.05) -> float:
    """Bonferroni: so that all of the audits published together are right with probability 1 - level."""
    return level / audits
