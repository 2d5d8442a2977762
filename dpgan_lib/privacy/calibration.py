"""How much noise an epsilon needs: the least multiplier that spends no more, by the accountants of `accounting`.

Never imports torch.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from dpgan_lib.privacy.accounting import (
    MAX_NOISE,
    MIN_NOISE,
    SampledGaussian,
    check_delta,
    check_epsilon,
    check_parts,
    check_release,
    check_run,
    is_number,
    require,
    spent_pld,
    spent_rdp,
)

NOISE_TICKS = 1000  # calibrated noise is a multiple of 1 / NOISE_TICKS
FIRST_TICK, LAST_TICK = round(MIN_NOISE * NOISE_TICKS), round(MAX_NOISE * NOISE_TICKS)


def split_budget(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                 release_share: float) -> tuple[float, float]:
    """The noise of a release and of T steps that spend at most epsilon together: (release_noise, noise_multiplier).

    release_share: in [0, 1], a public choice. Alone, the release would spend this share of epsilon; the steps get all
    that is left, which is more than the rest: epsilons of composed mechanisms add up to less than their sum. 0: no
    release, its noise is inf.  steps: 0 for a release alone, which takes a release_share of 1; the steps' noise is 0.
    """
    require(is_number(release_share) and 0 <= release_share <= 1, "release_share", release_share,
            "must lie in [0, 1]: it is a share of epsilon. Try 0.5.")
    require((steps == 0) == (release_share == 1), "release_share", release_share,
            f"must be 1 if and only if nothing else spends; here steps={steps}. Try 0.5, or 1 and steps=0.")
    release_noise = math.inf if release_share == 0 else _of_release(epsilon, release_share, delta)
    if steps == 0:
        return release_noise, 0.0
    return release_noise, calibrate_noise(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps,
                                          release_noise=release_noise)


def _of_release(epsilon: float, share: float, delta: float) -> float:
    """The noise of a release, one step that every record enters. What is refused is the epsilon that was asked for."""
    check_epsilon(epsilon)
    check_run(MAX_NOISE, 1, 1, delta)
    least = spent_pld(_release(MAX_NOISE), delta)
    require(share * epsilon >= least, "epsilon", epsilon,
            f"must be one that some noise reaches: the releases get {share:g} of it, and even noise_multiplier="
            f"{MAX_NOISE:g} spends {least:.3g} on them. Ask for a larger epsilon.")
    return calibrate_noise(epsilon=share * epsilon, delta=delta, sampling_rate=1, steps=1)


def calibrate_noise(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                    release_noise: float = math.inf) -> float:
    """The smallest noise multiplier, a multiple of 0.001 from 0.01 to 1000, whose epsilon_pld is at most epsilon.

    epsilon: total, > 0; inf gives 0.0, no noise.  0.001 less noise overshoots epsilon, unless the answer is 0.01.
    Raises ValueError when a noise multiplier of 1000 still spends more than epsilon.
    """
    check_epsilon(epsilon)
    check_run(MAX_NOISE, sampling_rate, steps, delta)
    check_release(release_noise)
    if math.isinf(epsilon):
        return 0.0
    return calibrate_beside(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps,
                            beside=_release(release_noise))


def calibrate_noise_rdp(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                        release_noise: float = math.inf) -> float:
    """As calibrate_noise, with epsilon_rdp for epsilon_pld: a tenth of a second, for a little more noise.

    RDP reaches no epsilon below about (log(1/delta) - 7) / 1000, so that it refuses some that calibrate_noise grants.
    """
    check_epsilon(epsilon)
    check_run(MAX_NOISE, sampling_rate, steps, delta)
    check_release(release_noise)
    if math.isinf(epsilon):
        return 0.0
    parts = _with_others(sampling_rate, steps, _release(release_noise))
    tick = _rdp_tick(epsilon, delta, parts)
    _check_reached(epsilon, spent_rdp(parts(tick), delta), delta, *parts(LAST_TICK))
    return tick / NOISE_TICKS


def _release(release_noise: float) -> tuple[SampledGaussian, ...]:
    """As a mechanism, if there is one."""
    if math.isinf(release_noise):
        return ()
    return (SampledGaussian(noise_multiplier=float(release_noise), sampling_rate=1.0, steps=1),)


def calibrate_beside(*, epsilon: float, delta: float, sampling_rate: float, steps: int,
                     beside: tuple[SampledGaussian, ...]) -> float:
    """As calibrate_noise, where other mechanisms on the same records spend of the same epsilon."""
    check_epsilon(epsilon)
    check_parts((SampledGaussian(noise_multiplier=MAX_NOISE, sampling_rate=sampling_rate, steps=steps),), delta)
    if math.isinf(epsilon):
        return 0.0
    return _calibrate(float(epsilon), float(delta), float(sampling_rate), int(steps), beside)


@lru_cache
def _calibrate(epsilon: float, delta: float, sampling_rate: float, steps: int,
               beside: tuple[SampledGaussian, ...]) -> float:
    parts = _with_others(sampling_rate, steps, beside)

    @lru_cache
    def spent(tick: int, coarseness: int = 1) -> float:
        return spent_pld(parts(tick), delta, coarseness=coarseness)

    enough, coarse = _rdp_tick(epsilon, delta, parts), partial(spent, coarseness=10)
    if coarse(enough) <= epsilon:  # both bounds are higher; the coarse one is quick
        enough = _least_tick(coarse, epsilon, enough, gap=1 + enough // 8)
    if spent(enough) > epsilon:
        enough = LAST_TICK
    _check_reached(epsilon, spent(enough), delta, *parts(LAST_TICK))
    return _least_tick(spent, epsilon, enough, gap=1 + enough // 1000) / NOISE_TICKS


def _with_others(sampling_rate: float, steps: int,
                 beside: tuple[SampledGaussian, ...]) -> Callable[[int], tuple[SampledGaussian, ...]]:
    """From a tick, all mechanisms: the one that is calibrated, with that noise, and those beside it."""
    return lambda tick: (SampledGaussian(noise_multiplier=tick / NOISE_TICKS, sampling_rate=sampling_rate,
                                         steps=steps), *beside)


def _rdp_tick(epsilon: float, delta: float, parts: Callable[[int], tuple[SampledGaussian, ...]]) -> int:
    """The least tick that RDP lets pass, by bisection; the last one if none does, so ask that one again."""
    def passes(tick: int) -> bool:
        return spent_rdp(parts(tick), delta) <= epsilon

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


def _check_reached(epsilon: float, spent: float, delta: float, wanted: SampledGaussian,
                   *beside: SampledGaussian) -> None:
    """spent: with the largest noise, or with less where that is enough."""
    if spent > epsilon:
        others = "".join(f", {_named(part)}" for part in beside)
        raise ValueError(
            f"epsilon={epsilon:g} must be one that some noise reaches: at sampling_rate={wanted.sampling_rate:g}, "
            f"steps={wanted.steps}, delta={delta:g}{others} even noise_multiplier={MAX_NOISE:g} spends {spent:.3g}. "
            "Ask for a larger epsilon, or take fewer steps or a smaller sampling_rate"
            f"{', or more noise in what is beside' if beside else ''}.")


def _named(part: SampledGaussian) -> str:
    if (part.sampling_rate, part.steps) == (1, 1):
        return f"release_noise={part.noise_multiplier:g}"
    return f"beside {part.steps} steps of noise_multiplier={part.noise_multiplier:g} at {part.sampling_rate:g}"


# Several mechanisms

@dataclass(frozen=True, kw_only=True)
class Share:
    """A mechanism of which all but the noise is planned. share: of epsilon, in (0, 1], a public choice."""

    share: float
    sampling_rate: float
    steps: int


def split_among(*, epsilon: float, delta: float, shares: Sequence[Share]) -> tuple[SampledGaussian, ...]:
    """Mechanisms, in the order in which they run, that spend at most epsilon together.

    Each has the least noise with which it and those before it spend no more than the sum of their shares. So the later
    ones also get what those before left: epsilons of composed mechanisms add up to less than their sum.  Shares add up
    to 1.  epsilon: total; inf gives noise 0.
    """
    check_epsilon(epsilon)
    check_delta(delta)
    require(len(shares) > 0 and math.isclose(sum(each.share for each in shares), 1), "shares",
            [each.share for each in shares], "must add up to 1: they are of epsilon. Divide them by their sum.")
    planned: tuple[SampledGaussian, ...] = ()
    for count, share in enumerate(shares, start=1):
        require(share.share > 0, "share", share.share, "must be above 0: leave out what is to get nothing.")
        part = epsilon if count == len(shares) else epsilon * sum(each.share for each in shares[:count])
        planned += (_with_noise(share, _least_noise_of(part, epsilon, delta, share, planned)),)
    return planned


def _with_noise(share: Share, noise_multiplier: float) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=noise_multiplier, sampling_rate=share.sampling_rate, steps=share.steps)


def _least_noise_of(part: float, epsilon: float, delta: float, share: Share,
                    planned: tuple[SampledGaussian, ...]) -> float:
    """Of the mechanism that spends `part` together with those planned before it."""
    least = 0.0 if math.isinf(epsilon) else spent_pld((_with_noise(share, MAX_NOISE), *planned), delta)
    require(part >= least, "epsilon", epsilon,
            f"must be one that some noise reaches: {part / epsilon:g} of it is what {len(planned) + 1} mechanisms get, "
            f"and even noise_multiplier={MAX_NOISE:g} in the last of them spends {least:.3g}. Ask for a larger "
            "epsilon, or give the last of them a larger share.")
    return calibrate_beside(epsilon=part, delta=delta, sampling_rate=share.sampling_rate, steps=share.steps,
                            beside=planned)
