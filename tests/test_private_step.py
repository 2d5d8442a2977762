"""The private step's chapter: its parameters, its live run, its two experiments in small, and its looks by hand."""

import math
from dataclasses import asdict

import jupytext
import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.book import chapters
from dpgan_lib.config import EvaluationConfig
from dpgan_lib.gan import loop
from dpgan_lib.measures import probe
from dpgan_lib.privacy import accounting
from dpgan_lib.privacy.mechanism import noisy_mean
from dpgan_lib.privacy.streams import stream
from dpgan_lib.records import checks, verify
from dpgan_lib.records.store import staleness
from dpgan_lib.report import cards, figures
from dpgan_lib.studies import registry
from dpgan_lib.studies.parameters import parameters_from
from dpgan_lib.studies.private_step import rounding, study, tables

USUAL = asdict(study.Parameters())
SMALL = dict(epsilon=3.0, dataset="digits", profile="smoke", steps=8)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of its own, and an evaluation that takes no time."""
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.setattr(study, "SHORT_RECIPE", EvaluationConfig(images=100, cnn_steps=2))
    return tmp_path


@pytest.fixture(scope="module")
def live():
    """The page's own run on the digits, and the critics that it published."""
    config = study.run_of(study.Parameters())
    files = data.load("digits", progress=False)
    records = loop.on_device(config, files.train_images, files.train_labels)
    return config, records, *study.follow(config, records)


# Parameters

def test_the_chapter_shows_the_librarys_defaults():
    assert chapters.defaults(jupytext.read(chapters.chapter_path("private_step")), "04_private_step") == USUAL


@pytest.mark.parametrize("field, value", [
    ("clip_norm", 0.0), ("clip_norm", math.inf), ("clip_norm", True), ("noise_multiplier", 0.0), ("batch", 15),
    ("batch", 719), ("batch", 128.0), ("seed", -1)])
def test_a_wrong_parameter_is_refused_in_one_line(field, value):
    with pytest.raises(ValueError) as error:
        parameters_from(USUAL | {field: value}, study.Parameters)
    assert str(error.value).startswith(f"{field}={value!r} must be") and "\n" not in str(error.value)


def test_the_live_run_has_the_readers_step_and_the_epsilon_that_it_spends():
    privacy = study.run_of(study.Parameters(clip_norm=2, noise_multiplier=3, batch=64, seed=5)).privacy
    assert (privacy.clip_norm, privacy.noise_multiplier, privacy.expected_batch) == (2, 3, 64)
    spent = accounting.epsilon_pld(
        noise_multiplier=3, sampling_rate=64 / privacy.records, steps=privacy.steps, delta=privacy.delta)
    # Rounded up, so that another machine's last digits name the same run.
    assert 0 <= privacy.epsilon - spent < 1e-3 and round(privacy.epsilon, 3) == privacy.epsilon


# The replay

def test_a_run_that_is_given_critics_ends_with_the_last_of_them(live):
    config, records, state, critics = live
    garbage = loop.Records(torch.full_like(records.images, math.nan), records.categories)
    replayed, again = study.follow(config, garbage, critics)
    assert len(critics) == len(again) == config.privacy.steps
    for name, weights in state.critic.state_dict().items():
        assert torch.equal(weights, critics[-1][name]) and torch.equal(weights, replayed.critic.state_dict()[name])


def test_to_follow_a_run_changes_nothing_of_it(live):
    config, records, followed, _ = live
    *_, plain = probe.states(config, records, every=config.privacy.steps)
    assert all(torch.equal(value, followed.average.state_dict()[name])
               for name, value in plain.average.state_dict().items())


# Looks

def test_per_example_gradients_sum_to_the_gradient_of_the_sum(live):
    _, records, state, _ = live
    rows = records.images[:20], records.categories[:20]
    whole = torch.autograd.grad(state.critic(*rows).sum(), list(state.critic.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in whole])
    # float32 sums in another order: a few 1e-7 of the terms, and these cancel in part.
    difference = probe.per_example_gradients(state.critic, *rows).sum(0) - expected
    assert float(difference.norm()) < 1e-5 * float(expected.norm())


def test_rows_are_clipped_by_their_length_and_short_ones_left_alone():
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.allclose(probe.clip(rows, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


class Sum(torch.nn.Module):
    """Scores an image by its only weight times its pixels' sum: the gradient is that sum."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, images, categories):
        return (images.flatten(1) * self.weight).sum(1)


def test_a_look_by_hand():
    real = torch.tensor([[3.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2), torch.eye(2)  # their mean is (1.5, 0.5)
    fake = torch.tensor([[0.0, 2.0], [0.0, 2.0]]).view(2, 1, 1, 2), torch.eye(2)  # (0, 2): the difference (1.5, -1.5)
    seen = probe.look(Sum(), real, fake, (1.0, 5.0))
    small, large = seen["clipping"]
    assert seen["real"][2] == 2 and seen["fake"] == pytest.approx([2] * 5)
    assert small["clipped"] == 0.5 and large["clipped"] == 0
    assert small["signal"] == pytest.approx(math.hypot(0.5, -0.5))  # (0.5, 0.5) - (0, 1)
    assert small["both_halves"] == pytest.approx(1)
    assert small["real_half"] == pytest.approx(2 / math.sqrt(0.5**2 + 1.5**2) / math.sqrt(2))  # (0.5, -1.5)
    assert large["both_halves"] == large["real_half"] == pytest.approx(1)


@pytest.mark.full
def test_looks_leave_the_run_as_it_is(live):
    config, records, unseen, _ = live
    for state in probe.states(config, records, every=2):
        fakes = probe._fakes(config, state)
        probe.look(state.critic, (records.images[:8], records.categories[:8]), fakes, (1.0,))
    for network in ("average", "critic", "posterior"):
        one, other = (getattr(each, network).state_dict() for each in (state, unseen))
        assert all(torch.equal(one[name], other[name]) for name in one), network


def test_the_noises_length_is_that_of_an_empty_batch(live):
    config, records, state, _ = live
    privacy = config.privacy
    nobody = records.images[:0], records.categories[:0]
    noise = probe.flat(noisy_mean(state.critic, nobody, clip_norm=0.5, noise_multiplier=privacy.noise_multiplier,
                                  expected_batch=privacy.expected_batch, rng=stream(config.hash, "noise")))
    # A chi of d degrees of freedom: its relative spread is 1 / sqrt(2 d). Six of them.
    assert float(noise.norm()) == pytest.approx(tables.noise_length(config, len(noise), 0.5),
                                                rel=6 / math.sqrt(2 * len(noise)))


# Rounding

def test_near_ties_are_bytes_that_resemble_both_templates_equally():
    rng = np.random.default_rng(0)
    templates = torch.from_numpy(rng.random((2, 100))).float()
    ties = rounding.near_ties(templates, 50, rng)
    levels = ties.double() * 255
    assert ties.dtype == torch.float32 and 0 <= ties.min() and ties.max() <= 1 and len(ties.unique(dim=0)) == 50
    assert (levels - levels.round()).abs().max() < 1e-4  # float32 holds a 255th to 3e-8
    one, other = ((ties.double() - template).square().sum(1) for template in templates.double())
    start = (rng.uniform(-3, 3, (50, 100)) / 255) @ (templates[1] - templates[0]).double().numpy()
    assert (one - other).abs().max() < np.abs(start).mean() / 100  # where a search of 40 rounds began


@pytest.mark.parametrize("spread", [5.3, 1.84, 0.7])
def test_products_are_known_and_what_lies_between_two_of_them_is_not_one(spread):
    n = np.random.default_rng(0).standard_normal(10_000)
    assert rounding.is_a_product(spread * n, spread).all()
    around = [np.nextafter(n, side) for side in (-np.inf, np.inf)]
    beside = np.nextafter(spread * n, np.inf)
    between = (spread * around[0] < beside) & (beside < spread * around[1]) & (beside != spread * n)
    assert 0.05 < np.mean(between) and not rounding.is_a_product(beside[between], spread).any()


def test_a_product_that_is_a_power_of_two_is_known():
    for spread in np.random.default_rng(0).uniform(1, 2, 300):
        near = 2 / spread
        reached = [n for n in (near, np.nextafter(near, 0), np.nextafter(near, 2)) if spread * n == 2]
        assert rounding.is_a_product(np.array([2.0]), spread)[0] == bool(reached)


def test_a_power_of_two_leaves_no_number_out():
    assert rounding.is_a_product(0.5 + np.random.default_rng(0).standard_normal(10_000), 4.0).all()


# The records, in small

@pytest.mark.full
def test_norms_over_training_are_a_record_that_claims_no_epsilon(store):
    asked = study.Norms(**SMALL, every=4)
    record = registry.obtain("private_step", asked, progress=False)
    assert record.run_id == study.NORMS.address(asked) and staleness(record) == []
    assert [look["step"] for look in record.metrics["looks"]] == [0, 4, 8]
    assert record.privacy == {} and cards.run_name(record) == "norms over training, epsilon 3"
    assert registry.obtain("private_step", asked).created == record.created, "found, not computed again"
    assert not failed(record)
    curve = tables.norm_curve(record)
    assert curve["epsilon"] == 3 and np.shape(curve["norms"]) == (3, len(probe.QUANTILES))
    seen = tables.at_clip_norm(record, 1000.0)
    assert list(seen["step"]) == [0, 4, 8] and seen["clipped"].max() == 0
    assert cards.experiment_card([record], "make it").count("norms over training, epsilon 3") == 1


def test_norms_without_privacy_have_no_clip_norm(store):
    run = study.plan_norms(study.Norms(**SMALL | {"epsilon": "inf"})).run
    assert run.privacy.noise_multiplier == 0 and math.isinf(run.privacy.clip_norm)


@pytest.mark.full
def test_a_run_of_the_sweep_is_a_record_whose_epsilon_can_be_verified(store):
    asked = study.Trial(**SMALL, clip_norm=10.0, batch=64)
    record = registry.obtain("private_step", asked, progress=False)
    assert record.run_id == study.TRIALS.address(asked) and not failed(record)
    assert record.epsilon_spent <= 3.0
    row, = tables.sweep_rows([record])
    assert (row["clip_norm"], row["batch"]) == (10.0, 64) and 0 <= row["accuracy"] <= 1


def failed(record):
    return [check for check in verify.check(record) if check.outcome == checks.FAILED]


def test_the_published_grid_is_one_epsilon_and_every_pair_of_C_and_batch():
    pairs = {(trial.clip_norm, trial.batch) for trial in study.TRIALS.grid}
    assert len(pairs) == len(study.TRIALS.grid) == len(study.CLIP_NORMS) * len(study.BATCHES)
    assert len({trial.epsilon for trial in study.TRIALS.grid}) == 1


# What the records say

def rows(accuracy):
    return [{"clip_norm": clip_norm, "batch": batch, "noise_multiplier": 1.0, "accuracy": accuracy(clip_norm, batch)}
            for batch in study.BATCHES for clip_norm in study.CLIP_NORMS]


@pytest.mark.parametrize("accuracy, came", [
    (lambda c, batch: 0.5 + batch / 1e4 - (c == 1000) / 4, [True, True, True]),
    (lambda c, batch: 0.5, [False, True, False]),
    (lambda c, batch: 0.5 + batch / 1e4 - (c > 1) * (batch == 64) / 4, [False, False, True]),
    (lambda c, batch: 0.5 - batch / 1e4 - (c == 1000) / 4, [True, True, False])])
def test_expectations_come_or_do_not(accuracy, came):
    assert [each["came"] for each in tables.expectations(rows(accuracy))] == came
    assert tables.expectations_table(rows(accuracy)).count("<strong>no</strong>") == came.count(False)


def test_the_sweeps_table_and_curves_hold_every_run():
    table = tables.sweep_table(rows(lambda c, batch: c / 1e4 + batch / 1e5))
    curves = tables.sweep_curves(rows(lambda c, batch: c / 1e4 + batch / 1e5))
    assert table.count("%") == len(study.TRIALS.grid) == sum(len(x) for x, _ in curves.values())
    assert "1.0%" in table and "10.1%" in table  # C = 1 at batch 1,024, and C = 1,000 at batch 64


def test_bands_are_drawn_with_the_clip_norm():
    curve = {"name": "epsilon 1", "epsilon": 1.0, "steps": [0, 10], "norms": [[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]}
    axis, = figures.norm_bands([curve], clip_norm=0.5).axes
    assert [list(line.get_ydata()) for line in axis.lines] == [[3, 4], [0.5, 0.5]]
    assert len(axis.collections) == 1 and axis.get_yscale() == "log"


def test_a_tests_source_can_be_shown(tmp_path):
    (tmp_path / "a.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    assert cards.source_in(tmp_path / "a.py", "two") == "```python\ndef two():\n    return 2\n```"


def test_a_card_without_a_record_is_refused():
    with pytest.raises(ValueError, match="every number on a page is backed by a record"):
        cards.experiment_card([], "make it")


@pytest.mark.full
def test_the_chapters_assertions_hold_at_other_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPGAN_RECORDS_ONLY", "1")  # the experiments are published; the live run is trained
    values = dict(clip_norm=5.0, noise_multiplier=3.0, batch=700, seed=3)
    output = tmp_path / "04_private_step.ipynb"
    chapters.run_chapter("private_step", values, output, timeout=120, progress=False)
    assert set(chapters.glued(output)) >= {"first_norm", "both_halves", "noise_over_signal"}
