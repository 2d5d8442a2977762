"""The accountants against published values, closed forms, numerical integration and two other libraries."""

import csv
import math
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import mpmath
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis.rdp import compute_rdp
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from dpgan_lib.privacy import accounting
from dpgan_lib.privacy.accounting import epsilon_moments, epsilon_pld, epsilon_rdp, epsilons, renyi_divergence
from dpgan_lib.privacy.audit import epsilon_lower_bound, trade_off
from dpgan_lib.privacy.calibration import calibrate_noise, calibrate_noise_rdp

VECTORS = Path(__file__).parent / "reference" / "accounting_vectors.csv"
MNIST = dict(noise_multiplier=1.1, sampling_rate=256 / 60000, steps=3515, delta=1e-5)
NOISE = st.floats(0.4, 20)
RATE = st.floats(1e-4, 1)
# Without shrinking: a red test must not take minutes.
unshrunk = settings(derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate])
few = settings(unshrunk, max_examples=10)


def rows(*accountants):
    with open(VECTORS, newline="") as file:
        return [row for row in csv.DictReader(file) if row["accountant"] in accountants]


def mechanism(row):
    return dict(noise_multiplier=float(row["noise_multiplier"]), sampling_rate=float(row["sampling_rate"]),
                steps=int(row["steps"]), delta=float(row["delta"]))


def name(row):
    return "-".join(row[key] for key in ("accountant", "noise_multiplier", "sampling_rate", "steps"))


@lru_cache
def pld(noise_multiplier, sampling_rate, steps, delta):
    return epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps, delta=delta)


# Published values


@pytest.mark.parametrize("row", rows("moments_classic", "rdp"), ids=name)
def test_published_moments_and_rdp(row):
    epsilon = {"moments_classic": epsilon_moments, "rdp": epsilon_rdp}[row["accountant"]](**mechanism(row))
    assert epsilon == pytest.approx(float(row["epsilon"]), rel=float(row["tolerance_relative"]))


@pytest.mark.parametrize("row", rows("moments_classic", "rdp", "prv"), ids=name)
def test_published_pld(row):
    printed = row["pld_epsilon"]
    half_a_digit = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    assert pld(**mechanism(row)) == pytest.approx(float(printed), abs=half_a_digit)


def epsilon_prv(*, noise_multiplier, sampling_rate, steps, delta):
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sampling_rate, steps)]
    return accountant.get_epsilon(delta=delta)


@pytest.mark.parametrize("row", rows("prv"), ids=name)
def test_pld_is_below_prv_and_near(row):
    run = mechanism(row)
    prv = epsilon_prv(**run)
    assert prv == pytest.approx(float(row["epsilon"]), rel=float(row["tolerance_relative"]))
    # PRV's upper bound adds its epsilon error, 0.01, and a discretisation of the same order as ours
    assert prv - 0.011 <= pld(**run) <= prv


@pytest.mark.filterwarnings("ignore:Optimal order")  # of the Renyi orders by which PRV chooses its grid
@pytest.mark.parametrize("noise", [0.6, 1.0, 4.0])
@pytest.mark.parametrize("rate", [0.001, 0.02, 0.2])
@pytest.mark.parametrize("steps", [1, 30, 1000])
def test_pld_is_the_least_bound_on_a_grid(noise, rate, steps):
    run = dict(noise_multiplier=noise, sampling_rate=rate, steps=steps, delta=1e-5)
    # PRV's discretisation grows with the spread of the loss, and ours with epsilon: 1e-4 of it covers both
    assert pld(**run) <= epsilon_prv(**run) <= pld(**run) * (1 + 1e-4) + 0.011
    assert pld(**run) <= epsilon_rdp(**run)


@pytest.mark.parametrize("runs, basic, rdp, pld_", [(5, 6.28, 2.93, 2.69), (10, 13.06, 4.30, 3.97)])
def test_repeated_runs_compose(runs, basic, rdp, pld_):
    run = MNIST | dict(steps=runs * MNIST["steps"])
    assert epsilon_rdp(**run) == pytest.approx(rdp, abs=0.005)  # half of the last printed digit
    assert epsilon_pld(**run) == pytest.approx(pld_, abs=0.005)
    # basic composition adds epsilons, and deltas too
    assert runs * pld(**MNIST | dict(delta=1e-5 / runs)) == pytest.approx(basic, abs=0.005)


def test_published_rdp_curve():
    curve = 50 * renyi_divergence(sampling_rate=0.01, noise_multiplier=2.5, orders=[5, 50, 100])
    np.testing.assert_allclose(curve, [2.18075656e-3, 2.38460375e-2, 167.416308], rtol=1e-8)  # as printed
    # dp-accounting 0.6 adds up absolute values of a series with alternating signs: at fractional orders its values
    # are bounds from above. The same test of earlier versions has 6.5007e-4 and 1.0854e-3, the value to 5 digits.
    fractional = 50 * renyi_divergence(sampling_rate=0.01, noise_multiplier=2.5, orders=[1.5, 2.5])
    assert np.all(fractional <= [6.70579741e-4, 1.08548710e-3])
    np.testing.assert_allclose(fractional, [6.5007e-4, 1.0854e-3], rtol=5e-5)


# Oracles


def integrated_log_moment(order, q, sigma):
    """log(A_alpha) by adaptive quadrature in 30 digits."""
    with mpmath.workdps(30):
        q, sigma, order = map(mpmath.mpf, (q, sigma, order))

        def integrand(z):
            return mpmath.npdf(z, 0, sigma) * (1 - q + q * mpmath.exp((2 * z - 1) / (2 * sigma**2))) ** order

        turn = sigma**2 * mpmath.log(1 / q - 1) + 0.5  # where the two parts of mu are equal
        points = [peak + shift * sigma for peak in (0, order, turn) for shift in (-15, -4, 0, 4, 15)]
        return mpmath.log(mpmath.quad(integrand, sorted(points)))


@pytest.mark.parametrize("order, q, sigma", [
    (1.1, 0.01, 0.6), (1.5, 0.01, 2.5), (2.5, 0.5, 1.0), (10.9, 0.05, 0.3), (7.3, 0.9, 4.0), (1.3, 1e-3, 0.05),
    (2, 1e-6, 10.0), (19, 0.0025, 1.3), (64, 0.2, 0.1), (200, 0.01, 4.0), (2.5, 1e-6, 10.0)])
def test_divergence_is_the_integral(order, q, sigma):
    ours = renyi_divergence(sampling_rate=q, noise_multiplier=sigma, orders=[order])[0] * (order - 1)
    exact = float(integrated_log_moment(order, q, sigma))
    assert ours == pytest.approx(exact, rel=1e-10, abs=1e-13)  # abs: rounding of A_alpha, about 1 at small q
    if order == int(order):
        assert ours == pytest.approx(exact, rel=1e-10, abs=0)  # an integer order never forms A_alpha


@pytest.mark.full
@few
@given(order=st.integers(2, 64), q=st.floats(1e-6, 0.99), sigma=st.floats(0.3, 20))
def test_the_closed_sum_is_the_integral(order, q, sigma):
    ours = renyi_divergence(sampling_rate=q, noise_multiplier=sigma, orders=[order])[0] * (order - 1)
    assert ours == pytest.approx(float(integrated_log_moment(order, q, sigma)), rel=1e-10, abs=0)


@few
@given(noise=NOISE, rate=RATE)
def test_divergence_agrees_with_opacus(noise, rate):
    orders = [1.2, 1.7, 3.3, 8.5, 2, 5, 32, 128]
    theirs = np.asarray(compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=orders))
    ours = renyi_divergence(sampling_rate=rate, noise_multiplier=noise, orders=orders)
    # Opacus stops its fractional series at a term of e^-30, about 1e-13, divided here by order - 1 >= 0.2
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@few
@given(noise=st.floats(0.1, 1000), rate=st.floats(1e-12, 0.999))
def test_order_2_in_closed_form(noise, rate):
    exact = np.log1p(rate**2 * np.expm1(1 / noise**2))
    ours = renyi_divergence(sampling_rate=rate, noise_multiplier=noise, orders=[2])[0]
    assert ours == pytest.approx(exact, rel=1e-11, abs=0)  # a hundred times the rounding of logarithms near 50


def test_epsilon_rdp_agrees_with_dp_accounting():
    accountant = RdpAccountant(orders=range(2, 257))  # whole orders, where that library is exact
    step = PoissonSampledDpEvent(MNIST["sampling_rate"], GaussianDpEvent(MNIST["noise_multiplier"]))
    accountant.compose(SelfComposedDpEvent(step, MNIST["steps"]))
    theirs = accountant.get_epsilon(MNIST["delta"])
    ours = epsilon_rdp(**MNIST)
    assert ours <= theirs * (1 + 1e-9)  # tenths among our orders can only help; 1e-9 for rounding
    assert ours == pytest.approx(theirs, rel=1e-3)  # and little: the minimum is flat


def gaussian_delta(epsilon, sigma):
    """delta(epsilon) of one Gaussian mechanism of sensitivity 1, exact (Balle, Wang 2018, Theorem 8)."""
    half, shift = 1 / (2 * sigma), epsilon * sigma
    return ndtr(half - shift) - math.exp(epsilon) * ndtr(-half - shift)


@pytest.mark.parametrize("sigma, steps", [(1.5, 1), (4.0, 1), (20.0, 25)])
def test_without_sampling_pld_is_the_gaussian_mechanism(sigma, steps):
    epsilon = pld(sigma, 1, steps, 1e-5)
    one_step = sigma / math.sqrt(steps)  # T Gaussian steps are one, with sqrt(T) less noise
    assert gaussian_delta(epsilon, one_step) <= 1e-5
    assert gaussian_delta(epsilon - 1e-3, one_step) > 1e-5  # 10 discretisation intervals: an upper bound, and tight


# Bounds from below, and tests


def largest_sum(noise, rate, steps):
    """P and P' of "the largest of T noisy sums exceeds a threshold", exact."""
    threshold = np.linspace(-4 * noise, 1 + 10 * noise, 2001)
    out, drawn = log_ndtr(threshold / noise), log_ndtr((threshold - 1) / noise)
    with np.errstate(divide="ignore"):  # rate = 1
        within = np.logaddexp(np.log1p(-rate) + out, np.log(rate) + drawn)
    return dict(hits=-np.expm1(steps * within), false_alarms=-np.expm1(steps * out))


@few
@given(noise=st.floats(0.5, 20), rate=st.floats(1e-3, 1), steps=st.integers(1, 1000))
def test_what_events_show_never_exceeds_the_accountants(noise, rate, steps):
    shown = epsilon_lower_bound(**largest_sum(noise, rate, steps), delta=1e-5)
    assert shown <= pld(noise, rate, steps, 1e-5)
    if steps == 1:
        assert shown == pytest.approx(pld(noise, rate, 1, 1e-5), abs=1e-2)  # the best test, on a grid of thresholds


def test_an_event_refutes_what_it_should():
    assert epsilon_lower_bound(hits=[0.3, 0.7], false_alarms=[0.3, 0.7], delta=1e-5) == 0
    assert epsilon_lower_bound(hits=[0.5], false_alarms=[0.1], delta=0.1) == pytest.approx(math.log(4))
    assert epsilon_lower_bound(hits=[1e-6], false_alarms=[0], delta=1e-5) == 0  # delta is there for it
    assert epsilon_lower_bound(hits=[0.5], false_alarms=[0], delta=1e-5) == math.inf


def test_the_central_limit_is_no_upper_bound():
    for steps in (10, 100, 1000):
        mu = 0.001 * math.sqrt(steps * math.expm1(0.8**-2))  # Bu et al. 2020
        gdp = brentq(lambda epsilon, noise=1 / mu: gaussian_delta(epsilon, noise) - 1e-6, 0, 20 * mu)
        shown = epsilon_lower_bound(**largest_sum(0.8, 0.001, steps), delta=1e-6)
        assert gdp < shown <= pld(0.8, 0.001, steps, 1e-6)


@pytest.mark.parametrize("sigma, steps", [(1.5, 1), (4.0, 1), (20.0, 25)])
def test_without_sampling_the_trade_off_is_the_gaussian_one(sigma, steps):
    alpha = np.linspace(0, 1, 101)
    exact = ndtr(ndtri(1 - alpha) - math.sqrt(steps) / sigma)
    bound = trade_off(noise_multiplier=sigma, sampling_rate=1, steps=steps, false_alarms=alpha)
    assert np.all(bound <= exact + 1e-9)  # a lower bound, to rounding
    np.testing.assert_allclose(bound, exact, atol=1e-4)  # and tight: 500 of its tangents


def falls_and_lies_below_one_step_and_above_its_pairs(noise, rate, steps):
    alpha = np.linspace(0, 1, 101)
    bound = trade_off(noise_multiplier=noise, sampling_rate=rate, steps=steps, false_alarms=alpha)
    one_step = (1 - rate) * (1 - alpha) + rate * ndtr(-ndtri(alpha) - 1 / noise)
    assert np.all(np.diff(bound) <= 0) and np.all((bound >= 0) & (bound <= one_step + 1e-9))
    epsilon = pld(noise, rate, steps, 1e-5)
    assert np.all(bound >= math.exp(-epsilon) * (1 - 1e-5 - alpha) - 1e-2)  # the grid of epsilons


@pytest.mark.parametrize("noise, rate, steps", [(4.0, 0.02, 200), (1.5, 1, 1)])
def test_a_trade_off_curve_falls_and_lies_below_one_step_and_above_its_pairs(noise, rate, steps):
    falls_and_lies_below_one_step_and_above_its_pairs(noise, rate, steps)


@pytest.mark.full
@few
@given(noise=st.floats(0.3, 20), rate=st.floats(1e-3, 1), steps=st.integers(1, 1000))
def test_so_does_any_trade_off_curve(noise, rate, steps):
    falls_and_lies_below_one_step_and_above_its_pairs(noise, rate, steps)


@pytest.mark.parametrize("change", [dict(noise_multiplier=0), dict(noise_multiplier=-1), dict(sampling_rate=256),
                                    dict(steps=2.0), dict(false_alarms=[0.5, 1.1]), dict(false_alarms=[math.nan])])
def test_a_trade_off_refuses_a_wrong_value(change):
    run = dict(noise_multiplier=1, sampling_rate=0.1, steps=2, false_alarms=[0.5]) | change
    (field, value), = change.items()
    with pytest.raises(ValueError) as error:
        trade_off(**run)
    assert str(error.value).startswith(f"{field}={value!r} must ") and "\n" not in str(error.value)


# Laws


@few
@given(noise=NOISE, rate=RATE, steps=st.integers(1, 450_000), factor=st.floats(1.01, 4))
def test_more_noise_costs_less_and_more_steps_cost_more(noise, rate, steps, factor):
    run = dict(noise_multiplier=noise, sampling_rate=rate, steps=steps, delta=1e-5)
    for epsilon in (epsilon_rdp, epsilon_moments):
        # strictly but where rounding hides it: a tiny q, one step
        assert epsilon(**run | dict(noise_multiplier=factor * noise)) <= epsilon(**run)
        assert epsilon(**run) <= epsilon(**run | dict(steps=math.ceil(factor * steps)))
        assert 0 <= epsilon(**run) < math.inf


def test_pld_is_monotone_too():
    base = pld(5.0, 0.02, 500, 1e-5)
    assert pld(5.1, 0.02, 500, 1e-5) < base < pld(4.9, 0.02, 500, 1e-5)
    assert pld(5.0, 0.02, 490, 1e-5) < base < pld(5.0, 0.02, 510, 1e-5)
    assert pld(5.0, 0.019, 500, 1e-5) < base < pld(5.0, 0.021, 500, 1e-5)
    assert pld(5.0, 0.02, 500, 2e-5) < base < pld(5.0, 0.02, 500, 0.5e-5)


@pytest.mark.parametrize("noise, rate, steps", [(1.1, 256 / 60000, 3515), (20.0, 1e-3, 450_000), (3.0, 1, 10),
                                                (1000.0, 1e-9, 450_000), (0.01, 1, 450_000)])
def test_the_bounds_are_ordered(noise, rate, steps):
    spent = epsilons(noise_multiplier=noise, sampling_rate=rate, steps=steps, delta=1e-5)
    assert list(spent) == ["pld", "rdp", "moments"]
    assert 0 <= spent["pld"] <= spent["rdp"] <= spent["moments"] < math.inf


def test_no_noise_is_no_privacy():
    run = dict(noise_multiplier=0, sampling_rate=0.01, steps=1, delta=1e-5)
    assert epsilons(**run) == {"pld": math.inf, "rdp": math.inf, "moments": math.inf}


# Calibration


@pytest.mark.parametrize("epsilon, rate, steps, delta", [
    (1.0, 0.01, 1000, 1e-5), (0.2, 0.05, 100, 1e-6), (0.01, 512 / 60000, 300, 1e-5), (2.0, 1, 5, 1e-5)])
def test_calibrated_noise_is_enough_and_a_grid_step_less_is_not(epsilon, rate, steps, delta):
    noise = calibrate_noise(epsilon=epsilon, delta=delta, sampling_rate=rate, steps=steps)
    assert noise == round(noise, 3)
    assert pld(noise, rate, steps, delta) <= epsilon < pld(round(noise - 0.001, 3), rate, steps, delta)


BUDGET = dict(epsilon=st.floats(0.02, 20), rate=st.floats(1e-4, 1), steps=st.integers(1, 100_000),
              delta=st.sampled_from([1e-5, 1e-7]))


def within_reach(epsilon, rate, steps, delta):
    """Whether some noise spends no more than that epsilon."""
    return epsilon_rdp(sampling_rate=rate, steps=steps, delta=delta, noise_multiplier=1000) <= epsilon


def rdp_neither_overshoots_nor_wastes(epsilon, rate, steps, delta):
    run = dict(sampling_rate=rate, steps=steps, delta=delta)
    noise = calibrate_noise_rdp(**run, epsilon=epsilon)
    assert epsilon_rdp(**run, noise_multiplier=noise) <= epsilon
    assert noise == 0.01 or epsilon_rdp(**run, noise_multiplier=round(noise - 0.001, 3)) > epsilon


@few
@given(**BUDGET)
def test_rdp_calibration_never_overshoots_and_never_wastes(**budget):
    assume(within_reach(**budget))
    rdp_neither_overshoots_nor_wastes(**budget)


@pytest.mark.full
@settings(unshrunk, max_examples=100)
@given(**BUDGET)
def test_rdp_calibration_never_overshoots_and_never_wastes_a_hundred_times(**budget):
    assume(within_reach(**budget))
    rdp_neither_overshoots_nor_wastes(**budget)


def pld_neither_overshoots_nor_asks_for_more_than_rdp(epsilon, rate, steps, delta):
    run = dict(sampling_rate=rate, steps=steps, delta=delta)
    noise = calibrate_noise(**run, epsilon=epsilon)
    assert epsilon_pld(**run, noise_multiplier=noise) <= epsilon
    assert noise <= calibrate_noise_rdp(**run, epsilon=epsilon)


@pytest.mark.parametrize("epsilon, rate, steps", [(3.0, 0.01, 500), (0.5, 1, 2)])
def test_pld_calibration_never_overshoots_and_asks_for_no_more_than_rdp(epsilon, rate, steps):
    pld_neither_overshoots_nor_asks_for_more_than_rdp(epsilon, rate, steps, 1e-5)


@pytest.mark.full
@few
@given(**BUDGET)
def test_pld_calibration_never_overshoots_anywhere(**budget):
    assume(within_reach(**budget))
    pld_neither_overshoots_nor_asks_for_more_than_rdp(**budget)


@pytest.mark.full
@pytest.mark.parametrize("calibrate, seconds", [(calibrate_noise_rdp, 1), (calibrate_noise, 10)])
@pytest.mark.parametrize("epsilon, rate, steps", [(1, 0.01, 2001), (10, 0.01, 2001), (3, 256 / 60000, 450_001)])
def test_calibration_is_quick(calibrate, seconds, epsilon, rate, steps):
    started = time.process_time()
    calibrate(epsilon=epsilon, sampling_rate=rate, steps=steps, delta=1e-5)
    assert time.process_time() - started < seconds  # this process's own, so that a busy machine changes nothing


def test_calibration_at_the_ends_of_the_grid():
    assert calibrate_noise_rdp(epsilon=math.inf, delta=1e-5, sampling_rate=1, steps=1) == 0.0
    assert calibrate_noise_rdp(epsilon=1e6, delta=1e-5, sampling_rate=1, steps=1) == 0.01
    with pytest.raises(ValueError, match="^epsilon=0.001 must be one that some noise reaches: "):
        calibrate_noise_rdp(epsilon=0.001, delta=1e-5, sampling_rate=1e-6, steps=1)
    assert calibrate_noise(epsilon=math.inf, delta=1e-5, sampling_rate=1, steps=1) == 0.0
    assert calibrate_noise(epsilon=1e6, delta=1e-5, sampling_rate=1, steps=1) == 0.01
    with pytest.raises(ValueError, match="^epsilon=0.01 must be one that some noise reaches: ") as error:
        calibrate_noise(epsilon=0.01, delta=1e-5, sampling_rate=1, steps=100_000)
    # sqrt(100,000) / 1000 = 0.316 of a standard deviation: one Gaussian step of sigma 3.16
    assert "noise_multiplier=1000 spends 1.2. " in str(error.value) and "\n" not in str(error.value)


def test_calibration_is_computed_once(monkeypatch):
    run = dict(epsilon=1, delta=1e-5, sampling_rate=1, steps=2)
    noise = calibrate_noise(**run)
    monkeypatch.delattr(accounting, "PLDAccountant")
    assert calibrate_noise(**run) == noise
    with pytest.raises(ValueError, match="epsilon=True must be a number"):
        calibrate_noise(**run | dict(epsilon=True))  # equal to 1, and no answer to it


# Refusals


@pytest.mark.parametrize("field, values, line", [
    ("sampling_rate", [512, 0, -0.1, 1.0001, math.nan, True, "0.1"],
     "must lie in (0, 1]: it is a probability, not a batch size. For MNIST use 512/60000."),
    ("steps", [0, -1, 2250.0, 90 / 0.04, True, "9", math.nan], "must be an integer of at least 1: "),
    ("noise_multiplier", [-1, 0.001, 1001, math.inf, math.nan, True, "1", None],
     "must be 0 (no privacy) or lie in [0.01, 1000]: "),
    ("delta", [0, 1, -1e-5, 60000, math.nan, True, "1e-5"], "must lie strictly between 0 and 1: ")])
@pytest.mark.parametrize("function", [epsilon_moments, epsilon_rdp, epsilon_pld, epsilons])
def test_a_wrong_value_is_refused_in_one_line(function, field, values, line):
    for value in values:
        with pytest.raises(ValueError) as error:
            function(**MNIST | {field: value})
        assert str(error.value).startswith(f"{field}={value!r} {line}") and "\n" not in str(error.value)


@pytest.mark.parametrize("change", [dict(epsilon=0), dict(epsilon=-1), dict(epsilon=math.nan), dict(epsilon="3"),
                                    dict(epsilon=True), dict(epsilon=None), dict(delta=1), dict(sampling_rate=256),
                                    dict(steps=0)])
@pytest.mark.parametrize("epsilon", [3, math.inf])
@pytest.mark.parametrize("calibrate", [calibrate_noise, calibrate_noise_rdp])
def test_calibration_refuses_a_wrong_value(calibrate, change, epsilon):
    run = dict(epsilon=epsilon, delta=1e-5, sampling_rate=0.01, steps=10) | change
    (field, value), = change.items()
    with pytest.raises(ValueError) as error:
        calibrate(**run)
    assert str(error.value).startswith(f"{field}={value!r} must ")


@pytest.mark.parametrize("order", [1, 0.5, math.inf, math.nan, "2", True])
def test_an_order_of_1_or_less_is_refused(order):
    with pytest.raises(ValueError, match="must be a finite number above 1"):
        renyi_divergence(sampling_rate=0.1, noise_multiplier=1, orders=[2, order])


def test_accounting_imports_neither_torch_nor_the_rest_of_the_library():
    code = ("import sys, dpgan_lib.privacy.accounting; "
            "print(*sorted(m for m in sys.modules if m == 'torch' or m.startswith('dpgan_lib')))")
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert imported == ["dpgan_lib", "dpgan_lib.privacy", "dpgan_lib.privacy.accounting"]
