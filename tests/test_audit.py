"""Audits: the bound against published and hand-made values and at known epsilons, canaries in the real mechanism, the
controls, nearest neighbours and attacks by hand.
"""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from sample_record import run_config
from scipy.special import expit, logit
from scipy.stats import binom, norm

from dpgan_lib.gan import state, steps
from dpgan_lib.privacy import accounting, audit, calibration, clipping, mechanism
from dpgan_lib.studies.audit import canaries, memorisation, study
from dpgan_lib.studies.audit.mutants import MUTANTS

RARE = 1e-6  # how often a correct library would fail one statistical check; all are seeded


# The one-run bound

@pytest.mark.parametrize("canaries_, guesses, correct, delta, published", [
    (1000, 100, 75, 1e-4, 0.673),  # Steinke et al. 2023, appendix D
    (100_000, 1510, 1439, 1e-5, 2.675)])  # and section 7
def test_the_bound_is_the_published_one(canaries_, guesses, correct, delta, published):
    bound = audit.one_run_bound(correct=correct, guesses=guesses, canaries=canaries_, delta=delta, level=0.05)
    assert bound == pytest.approx(published, abs=1e-3)  # of the last digit, as one of the two was cut


@pytest.mark.parametrize("guesses", [5, 10, 200])
def test_without_delta_all_guesses_right_is_the_root_of_the_level(guesses):
    bound = audit.one_run_bound(correct=guesses, guesses=guesses, canaries=guesses, delta=0.0, level=0.05)
    assert bound == pytest.approx(logit(0.05 ** (1 / guesses)), abs=1e-7)


def test_one_guess_of_two_shows_nothing_and_no_guess_neither():
    for correct, guesses in ((50, 100), (0, 100), (0, 0)):
        assert audit.one_run_bound(correct=correct, guesses=guesses, canaries=1000, delta=1e-5, level=0.05) == 0


def test_the_p_value_is_the_theorems_sum():
    """Term by term, with the maximum over all i up to m."""
    m, r, v, epsilon, delta = 30, 12, 9, 0.7, 1e-3
    w = {k: binom.pmf(k, r, expit(epsilon)) for k in range(r + 1)}
    steepest = max(sum(w[k] for k in w if v - i <= k < v) / i for i in range(1, m + 1))
    expected = sum(w[k] for k in w if k >= v) + 2 * m * delta * steepest
    assert audit.p_value(correct=v, guesses=r, canaries=m, epsilon=epsilon, delta=delta) == pytest.approx(expected)


@pytest.mark.parametrize("correct", [120, 150, 199, 200])
def test_the_p_value_rises_with_epsilon_where_the_bound_looks_for_it(correct):
    given = dict(correct=correct, guesses=200, canaries=1000, delta=1e-5)
    bound = audit.one_run_bound(**given, level=0.05)
    values = [audit.p_value(**given, epsilon=epsilon) for epsilon in np.linspace(0, bound, 200)]
    assert values == sorted(values) and values[0] < 0.05
    assert values[-1] == pytest.approx(0.05, rel=1e-4)  # bisection stops 2e-8 below


def test_more_delta_shows_less():
    bounds = [audit.one_run_bound(correct=195, guesses=200, canaries=1000, delta=delta, level=0.05)
              for delta in (0.0, 1e-6, 1e-5, 1e-4)]
    assert bounds == sorted(bounds, reverse=True) and len(set(bounds)) == 4


def at_known_epsilon(draw, epsilon, delta, repeats=1000, level=0.05):
    """The share of audits whose bound is above the true epsilon, and their median bound. draw: coins (m,) -> scores."""
    rng, bounds = np.random.default_rng(0), []
    for _ in range(repeats):
        included = rng.random(200) < 0.5
        bounds.append(audit.audit(draw(included, rng), included, delta=delta, level=level).epsilon)
    assert sum(bound > epsilon for bound in bounds) <= binom.isf(RARE, repeats, level)
    return np.median(bounds)


def test_bounds_cover_the_epsilon_of_randomised_response():
    """Each coin is told, and lied about with probability 1 / (1 + e^epsilon): epsilon-DP, and the worst case of it."""
    def draw(included, rng):
        lies = rng.random(len(included)) > expit(1.5)
        return (included ^ lies) + rng.random(len(included)) / 2  # ties are broken by a coin, not by place

    assert 0.4 * 1.5 < at_known_epsilon(draw, 1.5, 0.0)


def test_bounds_cover_the_epsilon_of_a_gaussian():
    def draw(included, rng):
        return included * 2.0 + rng.standard_normal(len(included))

    epsilon = accounting.epsilon_pld(noise_multiplier=0.5, sampling_rate=1, steps=1, delta=1e-5)
    assert 1 < at_known_epsilon(draw, epsilon, 1e-5)


def test_bonferroni_shares_the_level():
    assert audit.level_of_each(10) == pytest.approx(0.005)


def test_guesses_are_the_highest_and_the_lowest_scores():
    included = np.array([True] * 10 + [False] * 10)
    assert audit.guessed(20) == 2
    assert audit.correct_guesses(np.arange(20.0)[::-1], included) == 4
    assert audit.correct_guesses(np.arange(20.0), included) == 0
    assert audit.correct_guesses(np.array([9.0] * 5 + [0.0] * 5 + [1.0] * 10), included) == 2


def test_an_audit_brings_its_ceiling():
    included = np.random.default_rng(0).random(100) < 0.5
    perfect = audit.audit(included.astype(float), included, delta=1e-5, level=0.05)
    blind = audit.audit(np.random.default_rng(1).random(100), included, delta=1e-5, level=0.05)
    assert perfect.epsilon == perfect.ceiling == blind.ceiling > blind.epsilon
    assert (perfect.correct, perfect.guesses) == (20, 20)


# Against a trade-off curve

def test_clopper_pearson_by_hand():
    assert audit.upper(0, 10, 0.05) == pytest.approx(1 - 0.05 ** (1 / 10))
    assert audit.upper(10, 10, 0.05) == 1
    assert binom.cdf(3, 50, audit.upper(3, 50, 0.05)) == pytest.approx(0.05)


def test_a_curve_is_read_to_the_right():
    table = audit.Curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.3, 0.0]))
    assert [table.least_miss(alpha) for alpha in (0.0, 0.01, 0.5, 0.6, 1.0)] == [1.0, 0.3, 0.3, 0.0, 0.0]


ONE_STEP = replace(run_config().privacy, records=10, expected_batch=10, steps=1, noise_multiplier=0.5, clip_norm=1.0)


def refuted(noise, repeats=400):
    """Tests of a mechanism with that noise against the curve of ONE_STEP, that refute it."""
    rng, claimed, count = np.random.default_rng(0), audit.curve(ONE_STEP), 0
    for _ in range(repeats):
        included = rng.random(300) < 0.5
        count += audit.is_refuted(included + noise * rng.standard_normal(300), included, claimed=claimed, level=0.05,
                                  threshold=audit.midpoint(ONE_STEP))
    return count


@pytest.mark.full
def test_the_test_keeps_its_level_and_sees_half_the_noise():
    assert audit.midpoint(ONE_STEP) == 0.5
    assert refuted(0.5) <= binom.isf(RARE, 400, 0.05)
    assert refuted(0.25) == 400


# Canaries in the real mechanism

@pytest.fixture(scope="module")
def planned():
    config = run_config(profile="smoke")
    return replace(config, model=replace(config.model, generator_width=4),
                   optimiser=replace(config.optimiser, fakes=16, pool=32),
                   privacy=replace(config.privacy, records=40, expected_batch=10, steps=30, noise_multiplier=0.0,
                                   clip_norm=0.5))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (40, 1, 28, 28)).astype(np.float32), np.arange(40) % 10


@pytest.fixture
def set_out(planned):
    """A critic, and 7 canaries in its parameter space."""
    critic = state.new_state(planned, torch.device("cpu")).critic
    return critic, canaries.Canaries(critic, 7, 5.0, np.random.default_rng(1))


def test_directions_are_orthonormal_and_meet_every_layer(set_out):
    _, seven = set_out
    directions = [seven.combine(row) for row in np.eye(7)]
    assert np.allclose([seven.project(direction) for direction in directions], np.eye(7), atol=1e-6)  # float32
    assert all(any(direction[name].any() for direction in directions) for name in seven.shapes)


def test_more_canaries_than_parameters_are_refused():
    with pytest.raises(ValueError, match="canaries=5 must be at most 4"):
        canaries.Canaries(torch.nn.Linear(4, 1, bias=False), 5, 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("clip_norm, length", [(0.5, 0.5), (math.inf, 5.0)])
def test_a_drawn_canary_adds_its_clipped_length_if_it_is_in(set_out, images, clip_norm, length):
    critic, seven = set_out
    rows, real = seven.rows((1, 28, 28), 10), torch.from_numpy(images[0][:6])
    batch = torch.cat([real, rows.images]), torch.cat([torch.eye(10)[:6], rows.categories])
    planted = canaries.Planted(seven)
    sums = planted.sum_of(critic, batch, clip_norm)
    plain = clipping.clipped_sum(critic, (real, torch.eye(10)[:6]), clip_norm)
    # float32 sums near 100
    assert np.allclose(seven.project(sums) - seven.project(plain), length * seven.included, atol=1e-3)
    assert np.array_equal(planted.heard.data, seven.project(plain))
    assert 0 < seven.included.sum() < 7


class Watched(canaries.Planted):
    def sum_of(self, *arguments):
        assert mechanism.clipped_sum is clipping.clipped_sum and steps.noisy_mean is mechanism.noisy_mean
        return super().sum_of(*arguments)


def test_nothing_is_patched_and_without_a_drawn_canary_what_is_released_is_the_mechanisms(set_out, images):
    critic, seven = set_out
    batch = torch.from_numpy(images[0][:6]), torch.eye(10)[:6]
    means = Watched(seven).private_mean, mechanism.noisy_mean
    released, plain = (mean(critic, batch, clip_norm=0.5, noise_multiplier=1.0, expected_batch=10,
                            rng=np.random.default_rng(7)) for mean in means)
    assert released.keys() == plain.keys() and all(torch.equal(released[name], plain[name]) for name in plain)


def test_a_canary_is_drawn_like_any_record(planned, images):
    """Without noise, the auditor who knows the data counts how often each canary was drawn: binomial, T steps at q."""
    heard, included = canaries.audited_run(planned, *images, 400, 0.5, np.random.default_rng(2))
    counts = heard.scores["knows the data"] / 0.5
    assert np.abs(counts - counts.round()).max() < 1e-3  # float32 sums of 30 steps
    assert not counts[~included].round().any()
    drawn = counts[included]
    rate, steps = planned.privacy.sampling_rate, planned.privacy.steps
    bound = norm.isf(RARE / 2) / math.sqrt(len(drawn))
    assert abs(drawn.mean() - steps * rate) < bound * math.sqrt(steps * rate * (1 - rate))
    # A variance of near-normal counts has relative variance 2 / n.
    assert abs(drawn.var() / (steps * rate * (1 - rate)) - 1) < bound * math.sqrt(2)


def test_the_mechanism_alone_gives_independent_trials_of_the_planned_law():
    privacy = replace(ONE_STEP, expected_batch=3, steps=50, clip_norm=0.5, noise_multiplier=1.5)
    scores, included = canaries.isolated(privacy, 4000, np.random.default_rng(3))
    inside, outside = scores[included] / 0.5, scores[~included] / 0.5
    variance = 50 * 1.5**2
    for values, mean, spread in ((inside, 50 * 0.3, variance + 50 * 0.3 * 0.7), (outside, 0, variance)):
        bound = norm.isf(RARE / 2) / math.sqrt(len(values))
        assert abs(values.mean() - mean) < bound * math.sqrt(spread)
        assert abs(values.var() / spread - 1) < bound * math.sqrt(2)
    assert abs(np.corrcoef(scores[:-1], scores[1:])[0, 1]) < norm.isf(RARE / 2) / math.sqrt(4000)


ALONE = replace(ONE_STEP, epsilon=3.0, expected_batch=2, steps=60, noise_multiplier=calibration.calibrate_noise(
    epsilon=3.0, delta=1e-5, sampling_rate=0.2, steps=60))


@pytest.fixture(scope="module")
def counted():
    return canaries.repeated(ALONE, 40, canaries=200, level=0.05, trials=1000, rng=np.random.default_rng(4))


def test_no_bound_is_above_the_claim_of_the_mechanism_alone(counted):
    assert len(counted["bounds"]) == 40 and max(counted["bounds"]) <= 3.0 and np.median(counted["bounds"]) > 0.3


def test_half_the_noise_is_refuted_and_the_planned_noise_is_not(counted):
    assert counted["correct"] == {"refuted": 0, "tests": 8} and counted["halved"] == {"refuted": 8, "tests": 8}


@pytest.mark.parametrize("mutant, is_caught", [("halved noise", True), (None, False)])
def test_a_mutant_of_the_library_is_refuted_too(monkeypatch, mutant, is_caught):
    if mutant:
        MUTANTS[mutant](monkeypatch)
    scores, included = canaries.isolated(ALONE, 2000, np.random.default_rng(5))
    assert is_caught == audit.is_refuted(scores, included, threshold=audit.midpoint(ALONE), claimed=audit.curve(ALONE),
                                         level=0.05)


def test_no_noise_and_no_clip_show_more_than_was_claimed(planned, images):
    broken = replace(planned, privacy=replace(planned.privacy, clip_norm=math.inf))
    heard, included = canaries.audited_run(broken, *images, 400, 0.5, np.random.default_rng(6))
    shown = audit.audit(heard.scores["knows the data"], included, delta=1e-5, level=0.05)
    assert shown.epsilon == shown.ceiling > study.BROKEN_CLAIM


# Nearest neighbours, and attacks

def pixels(*values):
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1, 2)


def test_distances_and_nearest_neighbours_by_hand():
    parts = {"train": pixels([0, 0], [1, 1]), "held_out": pixels([0, 1], [1, 0])}
    generated = pixels([0, 0.1], [0, 0.9], [0, 0.5])  # nearer to training, nearer to held-out, a tie
    to_train, to_held_out = (memorisation.distances(generated, part) for part in parts.values())
    assert to_train[0] == pytest.approx([0.1, math.hypot(1, 0.9)], abs=1e-6)  # float32 pixels
    assert memorisation.share_nearer(to_train, to_held_out) == 0.5
    shown = memorisation.neighbours(parts, generated)
    assert shown.shape == (3, 3, 1, 2) and shown[1, 0, 0].tolist() == [0, 0] and shown[2, 1, 0].tolist() == [0, 1]


def test_a_copyist_is_found_and_the_p_value_is_the_rank():
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(2, 30, 1, 4, 4)).astype(np.float32)
    found = memorisation.nearest({"train": train, "held_out": held_out}, train + 1e-3, rng)
    assert found["share_nearer"] == 1 and found["p_value"] == 1 / (1 + memorisation.SWAPS)
    assert found["to_train"][-1] < found["to_held_out"][0]


def test_a_generator_that_saw_neither_part_is_found_as_often_as_the_level_says(monkeypatch):
    monkeypatch.setattr(memorisation, "SWAPS", 39)
    rng, repeats = np.random.default_rng(1), 400
    p_values = np.array([memorisation.swap_test(*np.square(rng.normal(size=(2, 40, 12))), rng) for _ in range(repeats)])
    assert np.sum(p_values <= 0.05) <= binom.isf(RARE, repeats, 0.05)
    assert np.sum(p_values <= 0.5) >= binom.ppf(RARE, repeats, 0.4)  # and not because it never finds anything


def test_parts_are_disjoint_and_follow_from_the_seed():
    parts = asdict(memorisation.deal(100, 20, seed=3))
    assert len(np.unique(np.concatenate(list(parts.values())))) == 80
    assert all(np.array_equal(part, again) for part, again in
               zip(parts.values(), asdict(memorisation.deal(100, 20, seed=3)).values()))


def test_an_advantage_by_hand():
    scores = np.arange(10.0)
    found = memorisation.advantage(scores + 2.5, scores, scores)  # threshold 4.5
    assert (found["hits"], found["false_alarms"]) == (0.7, 0.5) and found["advantage"] == pytest.approx(0.2)
    assert found["low"] < found["advantage"] < found["high"]


def test_an_interval_without_zero_is_rare_for_a_generator_that_saw_no_image():
    rng, repeats = np.random.default_rng(3), 400
    found = [memorisation.advantage(*rng.normal(size=(3, 50))) for _ in range(repeats)]
    without_zero = sum(each["low"] > 0 or each["high"] < 0 for each in found)
    assert without_zero <= binom.isf(RARE, repeats, 1 - memorisation.CONFIDENCE)


def test_a_likelihood_ratio_discounts_what_is_merely_ordinary():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(50, 1, 1, 2)).astype(np.float32)
    copied, ordinary = pixels([4, 4]), pixels([0, 0])
    by_ratio = memorisation.likelihood_scores(np.concatenate([copied, ordinary]), np.concatenate([copied, reference]),
                                              reference)
    assert by_ratio[0] > by_ratio[1]
    assert by_ratio[1] == pytest.approx(math.log(50 / 51), abs=1e-6)  # the same kernels there, but for one far away
