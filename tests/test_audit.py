"""Audits: the bound against published and hand-made values and at known epsilons, canaries in the real mechanism, the
controls, nearest neighbours and attacks by hand.
"""

import contextlib
import math
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
import torch
from sample_record import run_config
from scipy.optimize import linprog
from scipy.special import expit, logit
from scipy.stats import binom, norm

from dpgan_lib.config import RunConfig
from dpgan_lib.gan import state, steps
from dpgan_lib.privacy import accounting, audit, calibration, clipping, mechanism
from dpgan_lib.studies.audit import alone, canaries, memorisation, study, watch
from dpgan_lib.studies.audit.mutants import MUTANTS, patches

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


# The Gaussian estimators, and f-DP in one run

@cache
def claimed_at(epsilon):
    return study.claimed_by(study.Parameters(epsilon=epsilon))


@pytest.mark.parametrize("noise", [0.3, 1.0, 5.0])
def test_epsilon_of_mu_is_the_accountants_of_one_gaussian_step(noise):
    expected = accounting.epsilon_pld(noise_multiplier=noise, sampling_rate=1, steps=1, delta=1e-5)
    assert audit.epsilon_of_mu(1 / noise, 1e-5) == pytest.approx(expected, abs=2e-3)  # PLD rounds up, to 1e-4 nats


def test_epsilon_of_mu_rises_from_zero_to_the_largest_mu():
    found = [audit.epsilon_of_mu(mu, 1e-5) for mu in (-1.0, 0.0, 1e-9, 0.1, 1.0, 10.0, audit.MOST_MU)]
    assert found[:3] == [0, 0, 0] and found == sorted(found) and math.isfinite(found[-1])


def least_sum(p_right, correct, guesses, canaries, inverse):
    """Whether a law of the number of right guesses, given as p_right, keeps every inequality of f-DP in one run."""
    for i in range(1, guesses + 1):
        j = np.arange(i, guesses + 1)
        right, wrong = (j * p_right[j]).sum() / canaries, ((guesses - j + 1) * p_right[j - 1]).sum() / canaries
        if inverse(right) > wrong + 1e-12:  # rounding
            return False
    return True


def gaussian(mu):
    return lambda share: norm.cdf(norm.ppf(share) - mu)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_what_a_gaussian_mechanism_does_is_possible_for_its_mu(mu):
    """One guess for each of m independent canaries, right with probability Phi(mu / 2): the law keeps every inequality,
    and no tail of it is called impossible.
    """
    m = 40
    law = binom.pmf(np.arange(m + 1), m, norm.cdf(mu / 2))
    assert least_sum(law, 0, m, m, gaussian(mu))
    for correct in range(m + 1):
        tail = binom.sf(correct - 1, m, norm.cdf(mu / 2))
        assert audit.is_possible(correct=correct, guesses=m, canaries=m, level=tail * (1 - 1e-9), inverse=gaussian(mu))


def test_what_is_impossible_has_no_law():
    """Against linear programming: is there a law of the number of right guesses with that tail that keeps all
    inequalities? For an f of two straight lines, these are linear.
    """
    m, r, epsilon, delta = 12, 8, 0.8, 0.01
    slopes = [(math.exp(-epsilon), -delta * math.exp(-epsilon)), (math.exp(epsilon), 1 - delta - math.exp(epsilon))]

    def inverse(share):
        return max(0.0, *(slope * share + shift for slope, shift in slopes))

    rows, bounds = [], []
    for i in range(1, r + 1):
        right = np.array([j / m if j >= i else 0 for j in range(r + 1)])
        wrong = np.array([(r - j) / m if j >= i - 1 else 0 for j in range(r + 1)])
        for slope, shift in slopes:
            rows.append(slope * right - wrong)
            bounds.append(-shift)
    outcomes = set()
    for correct in range(r + 1):
        tail = (np.arange(r + 1) >= correct).astype(float)
        most = -linprog(-tail, A_ub=rows, b_ub=bounds, A_eq=[np.ones(r + 1)], b_eq=[1]).fun
        for level in (0.9 * most, min(1.1 * most, 1.0)):
            if abs(level / most - 1) > 1e-6:
                possible = audit.is_possible(correct=correct, guesses=r, canaries=m, level=level, inverse=inverse)
                assert possible == (level < most), (correct, level, most)
                outcomes.add(possible)
    assert outcomes == {True, False}


def test_the_bound_by_f_dp_ends_where_the_level_is_reached():
    given = dict(correct=190, guesses=200, canaries=1000)
    bound = audit.f_dp_bound(**given, delta=1e-5, level=0.05)
    mu = next(mu for mu in np.arange(0, 4, 1e-3) if audit.epsilon_of_mu(mu, 1e-5) >= bound)
    outcomes = [audit.is_possible(**given, level=0.05, inverse=gaussian(mu + by)) for by in (-0.01, 0.01)]
    assert outcomes == [False, True]
    assert audit.f_dp_bound(correct=100, guesses=200, canaries=1000, delta=1e-5, level=0.05) == 0


def test_the_more_is_assumed_the_more_is_shown():
    """Of ideal canaries at epsilon 10, where the targets of the study are within reach."""
    found = audit.ceilings([claimed_at(10.0)], epsilon=10.0, delta=1e-5, canaries=1000, audits=25, level=0.05,
                           rng=np.random.default_rng(0))
    medians = [found[name]["median"] for name in audit.BOUNDS]
    assert medians == sorted(medians) and 2.5 < medians[0] and 9 < medians[-1] < 10


@pytest.mark.full
@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_bounds_of_ideal_canaries_keep_their_level(epsilon):
    """200 audits at 95%: 10 may be above the claim, and by chance, one time in a million, 26."""
    found = audit.ceilings([claimed_at(epsilon)], epsilon=epsilon, delta=1e-5, canaries=1000, audits=200, level=0.05,
                           rng=np.random.default_rng(1))
    assert all(each["above"] <= binom.isf(RARE, 200, 0.05) for each in found.values())


def test_ideal_scores_have_the_planned_law():
    privacy = claimed_at(10.0)
    scores, included = audit.ideal_scores([privacy], 40_000, np.random.default_rng(2))
    bound = norm.isf(RARE / 2) * math.sqrt(1.1 / 20_000)
    assert abs(scores[included].mean() - audit.shift(privacy)) < bound and abs(scores[~included].mean()) < bound


def test_scores_that_spread_more_than_the_noise_show_less():
    included = np.arange(400) % 2 == 0
    scores = included + np.random.default_rng(3).standard_normal(400)
    given = dict(included=included, delta=1e-5, level=0.05)
    loose = scores + 3 * np.random.default_rng(4).standard_normal(400)
    assert audit.gaussian_mean_bound(scores, **given) > audit.gaussian_mean_bound(loose, **given)
    assert audit.gaussian_mean_bound(scores[:1], included[:1], delta=1e-5, level=0.05) == 0


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
                                  threshold=0.5)
    return count


@pytest.mark.full
def test_the_test_keeps_its_level_and_sees_half_the_noise():
    assert audit.shift(ONE_STEP) == 2.0  # in units of the noise, which is half of C
    assert refuted(0.5) <= binom.isf(RARE, 400, 0.05)
    assert refuted(0.25) == 400


# Canaries take the path of any record

@pytest.fixture(scope="module")
def planned():
    config = run_config(profile="smoke")
    return replace(config, model=replace(config.model, generator_width=4),
                   optimiser=replace(config.optimiser, fakes=16, pool=32),
                   privacy=replace(config.privacy, records=40, expected_batch=20, steps=10, noise_multiplier=0.5,
                                   clip_norm=0.5))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (40, 1, 28, 28)).astype(np.float32), np.arange(40) % 10


@pytest.fixture(scope="module")
def set_out(planned):
    """A critic, and 60 canaries as rows."""
    critic = state.new_state(planned, torch.device("cpu")).critic
    loud, labels = canaries.chosen(60, (1, 28, 28), 10, np.random.default_rng(1))
    return critic, (torch.from_numpy(loud), torch.eye(10)[labels])


def vector(critic, seed):
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(parameter.shape, generator=rng) for name, parameter in critic.named_parameters()}


@pytest.mark.parametrize("clip_norm", [3.0, math.inf])
def test_directions_are_the_clipped_gradients_one_by_one(set_out, clip_norm):
    critic, (loud, categories) = set_out
    rows = loud.clone(), categories
    rows[0][::2] /= canaries.LOUD  # half of the gradients are shorter than C
    directions, along = canaries.Directions(critic, rows, clip_norm), vector(critic, 0)
    parts = [clipping.clipped_sum(critic, (rows[0][i : i + 1], rows[1][i : i + 1]), clip_norm) for i in range(60)]
    products = [sum(float((part[name].double() * along[name]).sum()) for name in along) for part in parts]
    lengths = [math.sqrt(sum(float(each.double().square().sum()) for each in part.values())) for part in parts]
    # float32 products of numbers of the gradient's length
    assert np.allclose(directions.project(along), products, rtol=1e-3, atol=1e-4 * max(lengths))
    assert np.allclose(directions.lengths, lengths, rtol=1e-4)
    assert math.isinf(clip_norm) or 0 < sum(length < clip_norm * 0.999 for length in lengths) < 60


def test_canaries_are_loud_and_nearly_orthogonal(set_out):
    """A thousand of them hide each other by less than the noise at epsilon 10: see the chapter."""
    critic, _ = set_out
    loud, labels = canaries.chosen(1000, (1, 28, 28), 10, np.random.default_rng(2))
    rows = torch.from_numpy(loud), torch.eye(10)[labels]
    directions = canaries.Directions(critic, rows, 1.0)
    assert directions.lengths.min() > 0.9999  # all were clipped
    cosines = []
    for i in range(0, 1000, 50):
        one = clipping.clipped_sum(critic, (rows[0][i : i + 1], rows[1][i : i + 1]), 1.0)
        cosines.append(np.delete(directions.project(one), i))
    assert np.sqrt(np.mean(np.square(cosines))) < 0.04  # 0.025 when this was written


def test_no_two_canaries_are_alike():
    loud, labels = canaries.chosen(study.MOST_CANARIES, (1, 28, 28), 10, np.random.default_rng(3))
    assert len(np.unique(np.concatenate([loud.reshape(len(loud), -1), labels[:, None]], axis=1), axis=0)) == len(loud)


def test_nothing_is_replaced_and_what_is_heard_is_what_was_released(planned, images, monkeypatch):
    """The auditor's sums, from the gradients that the critic's optimiser gets and nothing else."""
    released = []
    noisy_mean = mechanism.noisy_mean

    def heard_mean(model, inputs, **public):
        assert mechanism.clipped_sum is clipping.clipped_sum and "sum_of" not in public
        released.append((len(inputs[0]), noisy_mean(model, inputs, **public)))
        return released[-1][1]

    monkeypatch.setattr(steps, "noisy_mean", heard_mean)
    heard, included = canaries.audited_run(planned, planned.privacy, *images, 60, np.random.default_rng(2))
    sizes = np.array([size for size, _ in released])
    assert len(released) == 10 and abs(sizes.mean() - (40 + included.sum()) / 2) < 10
    assert np.allclose(heard.own, 10 * 0.5**2, rtol=1e-3)
    assert np.isfinite(list(vars(heard).values())).all()


def test_a_canary_is_drawn_clipped_and_summed_like_any_record(planned, images):
    """Without noise, a canary's score differs by T q C^2 if it is in, on average."""
    config = replace(planned, privacy=replace(planned.privacy, noise_multiplier=0.0, steps=20))
    claimed = replace(config.privacy, noise_multiplier=1.0)
    heard, included = canaries.audited_run(config, claimed, *images, 300, np.random.default_rng(3))
    scores = canaries.fitted(heard, included, claimed) / audit.shift(claimed)
    inside, outside = scores[included], scores[~included]
    error = math.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
    assert abs(inside.mean() - outside.mean() - 1) < 4 * error < 0.4  # and it is no wide bound


def test_a_clip_that_lets_a_canary_add_too_much_shows_in_the_difference_of_means(planned, images, monkeypatch):
    """Without noise: clipped at 3 C, a canary that is in adds three times what it may."""
    monkeypatch.setattr(clipping, "MARGIN", -2.0)
    config = replace(planned, privacy=replace(planned.privacy, noise_multiplier=0.0, steps=20))
    claimed = replace(config.privacy, noise_multiplier=1.0)
    heard, included = canaries.audited_run(config, claimed, *images, 300, np.random.default_rng(3))
    scores = canaries.fitted(heard, included, claimed) / audit.shift(claimed)
    assert scores[included].mean() - scores[~included].mean() > 2.5


def test_guesses_use_no_coin(planned):
    """The scores for guessing are the same whichever canaries are in, given what was released."""
    rng = np.random.default_rng(4)
    released, data, one, other, own = rng.normal(size=(5, 20))
    both = [canaries.guessing(canaries.Heard(released, data, *parts, own), planned.privacy)
            for parts in ((one, other), (other, one))]
    assert all(np.allclose(both[0][name], both[1][name]) for name in both[0])


def outcome(heard, included, claimed, levels):
    return canaries.outcome(canaries.guessing(heard, claimed), canaries.fitted(heard, included, claimed), included,
                            shift=audit.shift(claimed), delta=claimed.delta, levels=levels)


@pytest.mark.full
def test_an_audit_shows_most_of_a_claim_and_not_more(planned, images):
    noise = calibration.calibrate_noise(epsilon=10.0, delta=1e-5, sampling_rate=0.5, steps=60)
    privacy = replace(planned.privacy, epsilon=10.0, steps=60, clip_norm=1.0, noise_multiplier=noise)
    heard, included = canaries.audited_run(replace(planned, privacy=privacy), privacy, *images, 400,
                                           np.random.default_rng(5))
    found = outcome(heard, included, privacy, {"bounds": 0.05, "together": 1e-4})
    shown = found[canaries.KNOWS_DATA]
    assert 6 < shown["bounds"][audit.GAUSSIAN_MEAN] < 10
    assert all(0 <= shown["together"][name] <= shown["bounds"][name] for name in audit.BOUNDS)
    assert 0.9 < shown["fit"]["spread_out"] < 1.25 and canaries.length(heard, privacy) == pytest.approx(1, abs=1e-3)
    assert set(found[canaries.SEES_RELEASES]["bounds"]) == {audit.ONE_RUN, audit.F_DP}


def test_without_noise_guesses_refute_what_was_claimed_and_the_spread_gives_it_away(planned, images):
    broken = replace(planned, privacy=replace(planned.privacy, noise_multiplier=0.0, steps=20))
    claimed = replace(broken.privacy, noise_multiplier=8.0)
    heard, included = canaries.audited_run(broken, claimed, *images, 300, np.random.default_rng(6))
    shown = outcome(heard, included, claimed, {"bounds": 0.05})[canaries.KNOWS_DATA]
    assert max(shown["bounds"].values()) > study.BROKEN_CLAIM and shown["fit"]["spread_out"] < 0.5


# The mechanism alone

def test_the_mechanism_alone_gives_independent_trials_of_the_planned_law():
    privacy = replace(ONE_STEP, expected_batch=3, steps=50, clip_norm=0.5, noise_multiplier=1.5)
    scores, included = alone.isolated(privacy, 1500, np.random.default_rng(3))
    shift, spread = audit.shift(privacy), 1 + 0.3 * 0.7 / 1.5**2
    for values, mean, variance in ((scores[included], shift, spread), (scores[~included], 0, 1)):
        bound = norm.isf(RARE / 2) / math.sqrt(len(values))
        assert abs(values.mean() - mean) < bound * math.sqrt(variance)
        assert abs(values.var() / variance - 1) < bound * math.sqrt(2)
    assert abs(np.corrcoef(scores[:-1], scores[1:])[0, 1]) < norm.isf(RARE / 2) / math.sqrt(1500)


ALONE = replace(ONE_STEP, epsilon=3.0, expected_batch=2, steps=60, noise_multiplier=calibration.calibrate_noise(
    epsilon=3.0, delta=1e-5, sampling_rate=0.2, steps=60))


def test_half_the_noise_is_refuted_and_the_planned_noise_is_not():
    found = alone.counted(ALONE, 3, 800, np.random.default_rng(4))
    assert found == {"correct": {"refuted": 0, "tests": 3}, "halved": {"refuted": 3, "tests": 3}}


@pytest.mark.parametrize("mutant, is_caught", [("halved noise", True), ("no clip", True), (None, False)])
def test_a_mutant_of_the_library_is_refuted_too(monkeypatch, mutant, is_caught):
    if mutant:
        MUTANTS[mutant](monkeypatch)
    scores, included = alone.isolated(ALONE, 1500, np.random.default_rng(5))
    assert is_caught == audit.is_refuted(scores, included, threshold=audit.shift(ALONE) / 2,
                                         claimed=audit.curve(ALONE), level=0.05)


# Watching a run

@pytest.mark.parametrize("mutant, seen", [
    ("halved noise", "noise of another spread"), ("no clip", "adds more or less"),
    ("noise reused between steps", "noise used before"), ("fresh noise on resume", "two releases of one step"),
    ("a generator that sees the data", "do not follow"), ("noise shared between epsilons", "noise used before")])
def test_a_mutant_is_seen_through_early(mutant, seen):
    found = watch.watched(mutant, 1)
    assert found["step"] <= 5 and seen in found["seen"]


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_seen_through(mutant):
    assert watch.watched(mutant, 2)["step"] is not None


@pytest.mark.full
def test_the_library_as_it_is_is_not_refuted():
    assert watch.watched(None, 3) == {"step": None, "seen": None}


def test_patches_are_taken_away_again():
    before = mechanism.clipped_sum, mechanism._normal, RunConfig.__dict__["hash"]
    with patches() as patch:
        for mutant in MUTANTS.values():
            mutant(patch)
        assert mechanism.clipped_sum is not before[0]
    assert (mechanism.clipped_sum, mechanism._normal, RunConfig.__dict__["hash"]) == before


def test_a_bet_on_sizes_wins_against_a_correct_run_as_rarely_as_said():
    """Ville's inequality, at a level where it can be seen: 300 runs of 40 batches, a bound of 1 / 0.05."""
    rng, wins = np.random.default_rng(6), 0
    config = watch.configuration(0)
    for _ in range(300):
        auditor = watch.Auditor(config, ())
        with contextlib.suppress(watch.Refuted):
            for size in rng.binomial(watch.RECORDS - 1, config.privacy.sampling_rate, 40):
                auditor._bet_on_size(int(size))
                if auditor.wins > -math.log(0.05):
                    wins += 1
                    break
    assert wins <= binom.isf(RARE, 300, 0.05)


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
