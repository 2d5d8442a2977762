"""Sums, reader's steps and critic's steps in one composition: against dp_accounting, and against that of two."""

import math
from functools import lru_cache

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dpgan_lib.privacy.accounting import (
    SampledGaussian,
    epsilons,
    spent,
    spent_moments,
    spent_pld,
    spent_rdp,
)
from dpgan_lib.privacy.calibration import Share, calibrate_beside, calibrate_noise, split_among, split_budget

DELTA = 1e-5
SUMS = SampledGaussian(noise_multiplier=6.0, sampling_rate=1.0, steps=1)
READER = SampledGaussian(noise_multiplier=12.0, sampling_rate=0.137, steps=200)
CRITIC = SampledGaussian(noise_multiplier=1.0, sampling_rate=256 / 60000, steps=600)
ALL = (SUMS, READER, CRITIC)
BOUNDS = (spent_pld, spent_rdp, spent_moments)
few = settings(derandomize=True, deadline=None, max_examples=5, phases=[Phase.explicit, Phase.generate])
parts = st.builds(SampledGaussian, noise_multiplier=st.floats(0.5, 50), sampling_rate=st.floats(1e-3, 1),
                  steps=st.integers(1, 1000))


@lru_cache
def pld(*parts, delta=DELTA):
    return spent_pld(parts, delta)


def replayed(accountant):
    """All parts in another order, each as that library writes it."""
    for part in (CRITIC, SUMS, READER):
        step = PoissonSampledDpEvent(part.sampling_rate, GaussianDpEvent(part.noise_multiplier))
        accountant.compose(SelfComposedDpEvent(step, part.steps))
    return accountant.get_epsilon(DELTA)


# Oracles


def test_pld_agrees_with_dp_accounting():
    # two discretisations of the loss in intervals of 1e-4
    assert pld(*ALL) == pytest.approx(replayed(PLDAccountant()), abs=1e-3)


def test_rdp_agrees_with_dp_accounting():
    theirs, ours = replayed(RdpAccountant(orders=range(2, 257))), spent_rdp(ALL, DELTA)
    assert ours <= theirs * (1 + 1e-9)  # tenths among our orders can only help; 1e-9 for rounding
    assert ours == pytest.approx(theirs, rel=1e-2)  # and little: the minimum is flat


@pytest.mark.parametrize("release", [SUMS, None])
def test_without_a_readers_step_it_is_the_run_of_today(release):
    run = dict(noise_multiplier=CRITIC.noise_multiplier, sampling_rate=CRITIC.sampling_rate, steps=CRITIC.steps)
    idle = SampledGaussian(noise_multiplier=0.0, sampling_rate=0.1, steps=0)
    today = epsilons(**run, delta=DELTA, release_noise=release.noise_multiplier if release else math.inf)
    assert spent((*([release] if release else []), idle, CRITIC), DELTA) == pytest.approx(today, rel=1e-9)  # its order
    assert spent((CRITIC, idle, *([release] if release else [])), DELTA) == today


def test_without_sampling_all_parts_are_one_gaussian():
    sigmas = (3.0, 5.0, 8.0)
    several = [SampledGaussian(noise_multiplier=sigma, sampling_rate=1, steps=2) for sigma in sigmas]
    one = SampledGaussian(noise_multiplier=sum(2 / sigma**2 for sigma in sigmas) ** -0.5, sampling_rate=1, steps=1)
    # PLD: one discretised loss against three, composed; RDP and moments: rounding.
    assert spent_pld(several, DELTA) == pytest.approx(spent_pld([one], DELTA), abs=1e-3)
    for bound in (spent_rdp, spent_moments):
        assert bound(several, DELTA) == pytest.approx(bound([one], DELTA), rel=1e-12)


# Laws


def test_the_bounds_are_ordered():
    bounds = spent(ALL, DELTA)
    assert 0 <= bounds["pld"] <= bounds["rdp"] <= bounds["moments"] < math.inf


def test_the_whole_costs_more_than_its_parts_and_less_than_their_sum():
    whole = pld(*ALL)
    for left_out in ALL:
        assert whole > pld(*(part for part in ALL if part is not left_out))
    assert whole < sum(pld(part, delta=DELTA / 3) for part in ALL)  # basic composition adds epsilons and deltas


def test_a_part_without_noise_is_no_privacy():
    silent = SampledGaussian(noise_multiplier=0.0, sampling_rate=0.1, steps=1)
    assert set(spent((SUMS, silent, CRITIC), DELTA).values()) == {math.inf}


@few
@given(several=st.lists(parts, min_size=2, max_size=4))
def test_order_does_not_matter_and_another_part_costs_something(several):
    for bound in (spent_rdp, spent_moments):
        assert bound(several, DELTA) == pytest.approx(bound(several[::-1], DELTA), rel=1e-12)  # rounding
        assert bound(several, DELTA) >= bound(several[1:], DELTA)


# Calibration


@pytest.mark.full
def test_noise_beside_others_is_enough_and_a_grid_step_less_is_not():
    noise = calibrate_beside(epsilon=2.0, delta=DELTA, sampling_rate=0.137, steps=200, beside=(SUMS, CRITIC))
    bounds = [pld(SampledGaussian(noise_multiplier=round(each, 3), sampling_rate=0.137, steps=200), SUMS, CRITIC)
              for each in (noise, noise - 0.001)]
    assert bounds[0] <= 2.0 < bounds[1]


@pytest.mark.full
def test_noise_beside_nothing_is_what_it_was():
    plan = dict(epsilon=3.0, delta=DELTA, sampling_rate=0.02, steps=50)
    assert calibrate_beside(**plan, beside=()) == calibrate_noise(**plan)


SPLIT = (Share(share=0.5, sampling_rate=1.0, steps=1), Share(share=0.3, sampling_rate=0.1, steps=30),
         Share(share=0.2, sampling_rate=0.01, steps=50))


@pytest.mark.full
def test_a_split_among_three_is_not_overspent_at_any_stage():
    planned = split_among(epsilon=2.0, delta=DELTA, shares=SPLIT)
    for count, share in enumerate((0.5, 0.8, 1.0), start=1):
        assert 0.99 * share * 2.0 <= pld(*planned[:count]) <= share * 2.0  # a thousandth of noise is less than 1%
    assert [part.sampling_rate for part in planned] == [share.sampling_rate for share in SPLIT]
    assert [part.steps for part in planned] == [share.steps for share in SPLIT]


@pytest.mark.full
def test_a_split_between_a_release_and_steps_is_what_it_was():
    planned = split_among(epsilon=1.0, delta=DELTA, shares=(
        Share(share=0.7, sampling_rate=1, steps=1), Share(share=0.3, sampling_rate=0.02, steps=50)))
    assert tuple(part.noise_multiplier for part in planned) == split_budget(
        epsilon=1.0, delta=DELTA, release_share=0.7, sampling_rate=0.02, steps=50)


def test_without_privacy_no_part_has_noise():
    assert {part.noise_multiplier for part in split_among(epsilon=math.inf, delta=DELTA, shares=SPLIT)} == {0.0}


# Refusals


@pytest.mark.parametrize("change, field", [
    (dict(noise_multiplier=0.001), "noise_multiplier"), (dict(sampling_rate=2), "sampling_rate"),
    (dict(steps=-1), "steps"), (dict(steps=True), "steps"), (dict(steps=1.0), "steps")])
@pytest.mark.parametrize("function", [*BOUNDS, spent])
def test_a_part_that_makes_no_sense_is_refused_in_one_line(function, change, field):
    with pytest.raises(ValueError) as error:
        function((SUMS, SampledGaussian(**vars(READER) | change)), DELTA)
    assert str(error.value).startswith(f"{field}={change[field]!r} must ") and "\n" not in str(error.value)


def test_nothing_to_account_for_and_a_wrong_delta_are_refused():
    with pytest.raises(ValueError, match="must take a step"):
        spent([SampledGaussian(noise_multiplier=1.0, sampling_rate=1, steps=0)], DELTA)
    with pytest.raises(ValueError, match="delta=1 must lie strictly"):
        spent(ALL, 1)


def test_shares_that_are_not_of_one_epsilon_are_refused():
    with pytest.raises(ValueError, match="must add up to 1"):
        split_among(epsilon=1.0, delta=DELTA, shares=SPLIT[:2])
    with pytest.raises(ValueError, match="share=0 must be above 0"):
        split_among(epsilon=1.0, delta=DELTA, shares=(*SPLIT[:1], Share(share=0, sampling_rate=1.0, steps=1), SPLIT[0]))


def test_an_epsilon_too_small_for_a_share_is_refused_as_it_was_asked_for():
    with pytest.raises(ValueError) as error:
        split_among(epsilon=1e-3, delta=DELTA, shares=SPLIT)
    assert str(error.value).startswith("epsilon=0.001 must be one that some noise reaches: 0.5 of it is what 1 ")
    assert "\n" not in str(error.value)


def test_others_that_spend_it_all_are_told():
    with pytest.raises(ValueError, match="beside 200 steps of noise_multiplier=12 at 0.137 even "):
        calibrate_beside(epsilon=0.1, delta=DELTA, sampling_rate=0.01, steps=10, beside=(READER,))
