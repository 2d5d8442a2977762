"""One release of a whole sum and T sampled steps, accounted for together: against closed forms and dp_accounting."""

import math
import time
from functools import lru_cache

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_accounting import gaussian_delta

from dpgan_lib.privacy import calibration
from dpgan_lib.privacy.accounting import epsilon_moments, epsilon_pld, epsilon_rdp, epsilons
from dpgan_lib.privacy.calibration import calibrate_noise, calibrate_noise_rdp, split_budget

RUN = dict(noise_multiplier=1.1, sampling_rate=256 / 60000, steps=3515, delta=1e-5)
PLAN = dict(sampling_rate=256 / 60000, steps=2000, delta=1e-5)
ALONE = dict(noise_multiplier=0, sampling_rate=1, steps=0, delta=1e-5)
BOUNDS = (epsilon_pld, epsilon_rdp, epsilon_moments)
few = settings(derandomize=True, deadline=None, max_examples=5, phases=[Phase.explicit, Phase.generate])


@lru_cache
def pld(**run):
    return epsilon_pld(**run)


def is_epsilon_of_one_gaussian(epsilon, sigma, delta):
    # 10 discretisation intervals: an upper bound, and tight
    return gaussian_delta(epsilon, sigma) <= delta < gaussian_delta(epsilon - 1e-3, sigma)


# Limiting cases


@pytest.mark.parametrize("release_noise", [0.6, 3.7, 30.0])
def test_a_release_alone_is_the_gaussian_mechanism(release_noise):
    assert is_epsilon_of_one_gaussian(pld(**ALONE, release_noise=release_noise), release_noise, 1e-5)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_release_alone_is_one_step_that_every_record_enters(bound):
    step = dict(noise_multiplier=2.0, sampling_rate=1, steps=1, delta=1e-5)
    assert bound(**ALONE, release_noise=2.0) == bound(**step)


@pytest.mark.parametrize("bound", BOUNDS)
def test_infinite_noise_is_no_release(bound):
    assert bound(**RUN, release_noise=math.inf) == bound(**RUN)
    # at 1000 a release alone spends an epsilon below 0.003, and steps come on top of 1.2 at least
    assert bound(**RUN) <= bound(**RUN, release_noise=1000) <= bound(**RUN) * 1.001


@pytest.mark.parametrize("release_noise, sigma, steps", [(1.0, 5.0, 4), (8.0, 3.0, 2)])
def test_without_sampling_release_and_steps_are_one_gaussian(release_noise, sigma, steps):
    together = (1 / release_noise**2 + steps / sigma**2) ** -0.5
    run = dict(noise_multiplier=sigma, sampling_rate=1, steps=steps, delta=1e-5, release_noise=release_noise)
    assert is_epsilon_of_one_gaussian(epsilon_pld(**run), together, 1e-5)
    one = dict(noise_multiplier=together, sampling_rate=1, steps=1, delta=1e-5)
    assert epsilon_rdp(**run) == pytest.approx(epsilon_rdp(**one), rel=1e-12)  # rounding
    assert epsilon_moments(**run) == pytest.approx(epsilon_moments(**one), rel=1e-12)


def test_a_release_or_steps_without_noise_are_no_privacy():
    none = {"pld": math.inf, "rdp": math.inf, "moments": math.inf}
    assert epsilons(**RUN, release_noise=0) == none == epsilons(**ALONE, release_noise=0)
    assert epsilons(**RUN | dict(noise_multiplier=0), release_noise=2.0) == none


# Oracles


@pytest.mark.parametrize("release_noise", [0.9, 5.0])
def test_pld_agrees_with_dp_accounting_in_the_other_order(release_noise):
    accountant = PLDAccountant()  # its own interval, and the release last instead of first makes no difference
    accountant.compose(GaussianDpEvent(release_noise))
    step = PoissonSampledDpEvent(RUN["sampling_rate"], GaussianDpEvent(RUN["noise_multiplier"]))
    accountant.compose(SelfComposedDpEvent(step, RUN["steps"]))
    # two discretisations of the loss in intervals of 1e-4
    assert pld(**RUN, release_noise=release_noise) == pytest.approx(accountant.get_epsilon(RUN["delta"]), abs=1e-3)


def test_rdp_agrees_with_dp_accounting():
    accountant = RdpAccountant(orders=range(2, 257))  # whole orders, where that library is exact
    step = PoissonSampledDpEvent(RUN["sampling_rate"], GaussianDpEvent(RUN["noise_multiplier"]))
    accountant.compose(GaussianDpEvent(2.0)).compose(SelfComposedDpEvent(step, RUN["steps"]))
    theirs, ours = accountant.get_epsilon(RUN["delta"]), epsilon_rdp(**RUN, release_noise=2.0)
    assert ours <= theirs * (1 + 1e-9)  # tenths among our orders can only help; 1e-9 for rounding
    assert ours == pytest.approx(theirs, rel=1e-2)  # and little: the minimum is flat


# Laws


@pytest.mark.parametrize("noise, rate, steps, release_noise", [
    (1.1, 256 / 60000, 3515, 1.4), (20.0, 1e-3, 450_000, 5.0), (3.0, 1, 10, 0.5), (0.5, 0.004, 2000, 0.9)])
def test_the_bounds_are_ordered(noise, rate, steps, release_noise):
    spent = epsilons(noise_multiplier=noise, sampling_rate=rate, steps=steps, delta=1e-5, release_noise=release_noise)
    assert 0 <= spent["pld"] <= spent["rdp"] <= spent["moments"] < math.inf


@pytest.mark.parametrize("release_noise", [pytest.param(0.7, marks=pytest.mark.full), 4.0])
def test_the_whole_costs_more_than_its_parts_and_less_than_their_sum(release_noise):
    whole = pld(**RUN, release_noise=release_noise)
    assert whole > pld(**RUN) and whole > pld(**ALONE, release_noise=release_noise)
    half = dict(delta=RUN["delta"] / 2)  # basic composition adds epsilons and deltas
    assert whole < pld(**RUN | half) + pld(**ALONE | half, release_noise=release_noise)


@few
@given(release_noise=st.floats(0.3, 50), factor=st.floats(1.01, 4))
def test_a_noisier_release_costs_less(release_noise, factor):
    for bound in (epsilon_rdp, epsilon_moments):
        noisier = bound(**RUN, release_noise=factor * release_noise)
        assert bound(**RUN) <= noisier <= bound(**RUN, release_noise=release_noise)


# Calibration


@pytest.mark.full
@pytest.mark.parametrize("epsilon, release_noise, steps", [
    (1.0, 5.0, 100), (3.0, 2.0, 100), (10.0, 0.9, 2000), (1.0, 5.0, 2000), (0.2, 30.0, 2000)])
def test_calibrated_noise_is_enough_and_a_grid_step_less_is_not(epsilon, release_noise, steps):
    plan = PLAN | dict(steps=steps)
    noise = calibrate_noise(epsilon=epsilon, **plan, release_noise=release_noise)
    spent = [pld(noise_multiplier=round(each, 3), **plan, release_noise=release_noise)
             for each in (noise, noise - 0.001)]
    assert spent[0] <= epsilon < spent[1]


def is_never_overspent(epsilon, share, rate, steps):
    plan = dict(delta=1e-5, sampling_rate=rate, steps=steps)
    release_noise, noise = split_budget(epsilon=epsilon, release_share=share, **plan)
    assert epsilon_pld(noise_multiplier=noise, release_noise=release_noise, **plan) <= epsilon
    assert pld(**ALONE, release_noise=release_noise) <= share * epsilon


@pytest.mark.full
def test_a_split_budget_is_not_overspent():
    is_never_overspent(epsilon=1.0, share=0.5, rate=0.02, steps=50)


@pytest.mark.full
@few
@given(epsilon=st.floats(0.3, 10), share=st.floats(0.05, 0.9), rate=st.floats(1e-3, 1), steps=st.integers(1, 5000))
def test_no_split_budget_is_overspent(**budget):
    is_never_overspent(**budget)


@few
@given(epsilon=st.floats(0.3, 10), release_noise=st.floats(20, 100), steps=st.integers(1, 5000))
def test_rdp_calibration_never_overshoots(epsilon, release_noise, steps):
    plan = dict(delta=1e-5, sampling_rate=0.01, steps=steps, release_noise=release_noise)
    noise = calibrate_noise_rdp(epsilon=epsilon, **plan)
    assert epsilon_rdp(noise_multiplier=noise, **plan) <= epsilon
    assert noise >= calibrate_noise_rdp(epsilon=epsilon, **plan | dict(release_noise=math.inf))


@pytest.mark.full
def test_the_ends_of_a_split():
    assert split_budget(epsilon=1.0, release_share=0, **PLAN) == (math.inf, calibrate_noise(epsilon=1.0, **PLAN))
    release_noise, noise = split_budget(epsilon=1.0, release_share=1, **PLAN | dict(steps=0))
    assert noise == 0.0 and gaussian_delta(1.0, release_noise) <= 1e-5 < gaussian_delta(1.0, release_noise - 0.002)
    assert split_budget(epsilon=math.inf, release_share=0.5, **PLAN) == (0.0, 0.0)


@pytest.mark.full
def test_a_split_takes_less_than_10_seconds_once():
    plan = dict(epsilon=2.0, delta=1e-6, sampling_rate=0.004, steps=20_000, release_share=0.5)
    started = time.process_time()
    first = split_budget(**plan)
    assert time.process_time() - started < 10  # this process's own, so that a busy machine changes nothing
    computed = calibration._calibrate.cache_info().misses
    assert split_budget(**plan) == first and calibration._calibrate.cache_info().misses == computed


# Refusals


@pytest.mark.parametrize("value", [-1, 0.001, 1001, math.nan, True, "1", None])
@pytest.mark.parametrize("function", [*BOUNDS, epsilons])
def test_a_wrong_release_noise_is_refused_in_one_line(function, value):
    with pytest.raises(ValueError) as error:
        function(**RUN, release_noise=value)
    line = str(error.value)
    assert line.startswith(f"release_noise={value!r} must be inf (no release), 0 (no noise) or ") and "\n" not in line


@pytest.mark.parametrize("share, steps", [(-0.1, 9), (1.1, 9), (math.nan, 9), (True, 9), ("1", 9), (1, 9), (0.5, 0)])
def test_a_wrong_share_is_refused_in_one_line(share, steps):
    with pytest.raises(ValueError) as error:
        split_budget(epsilon=1, delta=1e-5, sampling_rate=0.01, steps=steps, release_share=share)
    assert str(error.value).startswith(f"release_share={share!r} must ") and "\n" not in str(error.value)


def test_an_epsilon_too_small_for_the_releases_is_refused_as_it_was_asked_for():
    with pytest.raises(ValueError) as error:
        split_budget(epsilon=1e-3, release_share=0.7, **PLAN)
    assert str(error.value).startswith("epsilon=0.001 must be one that some noise reaches: the releases get 0.7 of it")
    assert "\n" not in str(error.value)


def test_a_release_that_spends_it_all_is_told():
    with pytest.raises(ValueError) as error:
        calibrate_noise(epsilon=1.0, **PLAN, release_noise=1.0)
    assert "release_noise=1 even noise_multiplier=1000 spends 4." in str(error.value)
    assert "more noise in what is beside" in str(error.value)
