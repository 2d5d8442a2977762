"""The audit of the whole method: its canaries are loud in every part, and what is heard is what was released."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import whole_run
from scipy.stats import norm

from dpgan_lib import paths
from dpgan_lib.config import CRITIC, READER
from dpgan_lib.gan.loop import Records
from dpgan_lib.privacy import audit, clipping, mechanism
from dpgan_lib.records import checks, verify
from dpgan_lib.records.store import staleness
from dpgan_lib.studies import registry
from dpgan_lib.studies.audit import canaries, study, tables, whole
from dpgan_lib.studies.audit.canaries import KNOWS_DATA
from dpgan_lib.studies.audit.mutants import patches, wrap
from dpgan_lib.warm_start import prototypes

CANARIES, RARE = 400, 1e-6  # a chance that no test may fail by
SMALL = dict(dataset="digits", profile="smoke", canaries=200)


def audited(*broken):
    """A small run by the library, or by one that is broken by these; what was heard, by part, and the claims."""
    given = whole_run.data("reader")
    planned = whole_run.planned("reader")
    privacy = replace(planned.privacy, records=len(given.images) + CANARIES, expected_batch=CANARIES // 2)
    of_reader = replace(planned.reader, expected_batch=CANARIES // 2, clip_norm=1.0)
    config = replace(planned, privacy=privacy, reader=of_reader)
    with patches() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        for each in broken:
            each(patch)
        heard = whole.audited_run(config, given.images, given.labels, CANARIES, np.random.default_rng(0))
    return *heard, whole.parts(config)


def silent(patch):
    wrap(patch, mechanism, "_normal", lambda normal, *given: 0 * normal(*given))


@pytest.fixture(scope="module")
def without_noise():
    return audited(silent)


def test_every_canary_is_as_long_as_a_record_may_be():
    """A prototype's row keeps room for a deformation, which these have not in the first round."""
    config = whole_run.planned("reader")
    loud, labels = whole.chosen(100, (1, 28, 28), 10, np.random.default_rng(1))
    rows = prototypes.bounded_rows(torch.from_numpy((loud.clip(-1, 1) + 1) / 2), torch.zeros(100, 6), 0.35)
    assert np.allclose(rows.norm(dim=1), math.sqrt(1 + prototypes.ANCHOR**2) / prototypes.SCALE, atol=1e-6)
    assert set(np.unique(loud)) == {-canaries.LOUD, -1, canaries.LOUD} and set(np.bincount(labels)) == {10}
    assert set(whole.parts(config)) == {whole.PROTOTYPES, whole.EMBEDDING, READER, CRITIC}


@pytest.mark.parametrize("part", [whole.PROTOTYPES, whole.EMBEDDING])
def test_without_noise_a_sum_tells_who_is_in(without_noise, part):
    """By its shift exactly: who knows the others knows their part of a sum, for there is no draw."""
    heard, included, _, claimed = without_noise
    scores = canaries.fitted(heard[part], included, claimed[part])
    lengths = np.sqrt(heard[part].own)
    assert np.allclose(scores, included * lengths * audit.shift(claimed[part]) / math.sqrt(claimed[part].steps),
                       atol=1e-3)


@pytest.mark.parametrize("part", [READER, CRITIC])
def test_without_noise_a_step_tells_who_is_in_up_to_the_draws(without_noise, part):
    heard, included, labels, claimed = without_noise
    scores = whole.fitted(heard, included, labels, {part: claimed[part]})
    inside, outside = scores[included], scores[~included]
    expected = audit.shift(claimed[part]) * canaries.length(heard[part], claimed[part])
    error = norm.isf(RARE / 2) * math.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
    assert abs(inside.mean() - outside.mean() - expected) < error < expected
    assert 0 < canaries.length(heard[part], claimed[part]) < 1.001


def test_what_is_heard_together_is_the_parts_by_their_shifts(without_noise):
    heard, included, labels, claimed = without_noise
    of_each = {name: whole.fitted(heard, included, labels, {name: part}) for name, part in claimed.items()}
    shifts = {name: audit.shift(part) for name, part in claimed.items()}
    together = sum(shifts[name] * of_each[name] for name in claimed) / math.hypot(*shifts.values())
    assert np.allclose(together, whole.fitted(heard, included, labels, claimed))


def test_guesses_use_no_coin(without_noise):
    """The scores for guessing are the same whichever canaries are in, given what was released."""
    heard, _, labels, claimed = without_noise
    turned = {name: replace(each, inside=each.outside, outside=each.inside) for name, each in heard.items()}
    one, other = (whole.guessing(each, claimed, labels) for each in (heard, turned))
    assert all(np.allclose(one[auditor], other[auditor]) for auditor in one)


def test_a_sum_that_a_record_moves_too_far_is_refuted():
    """Three times as far, in each round of prototypes, which then shows more than it claims."""
    loud = audited(lambda patch: wrap(patch, prototypes, "bounded_rows", lambda rows, *given: 3 * rows(*given)))
    part = {whole.PROTOTYPES: loud[-1][whole.PROTOTYPES]}
    found = whole.outcome(*loud[:-1], part, delta=study.DELTA, levels={"bounds": 1e-4})[KNOWS_DATA]
    claimed = audit.epsilon_of_mu(audit.shift(*part.values()), study.DELTA)  # exactly, for one Gaussian sum
    assert found["bounds"][audit.GAUSSIAN_MEAN] > claimed
    assert audit.GAUSSIAN_DP not in found["bounds"]


def test_a_step_that_a_record_moves_too_far_shows_in_its_shift():
    """Clipped at 3 C: what the auditor expects of a canary comes from no formula that is audited.

    Of the critic alone: without noise a reader's canaries spread so far that its shift is known to one part in two.
    """
    *found, claimed = audited(silent, lambda patch: patch.setattr(clipping, "MARGIN", -2.0))
    scores, included = whole.fitted(*found, {CRITIC: claimed[CRITIC]}), found[1]
    inside, outside = scores[included], scores[~included]
    error = math.sqrt(inside.var() / len(inside) + outside.var() / len(outside))
    assert inside.mean() - outside.mean() - audit.shift(claimed[CRITIC]) > norm.isf(1e-4) * error


def test_the_difference_of_means_leans_to_no_claim():
    """Of scores without any shift, whatever was claimed: the mean over many runs of coins and noise is 0."""
    rng, labels = np.random.default_rng(3), np.arange(100) % 10
    claimed = {CRITIC: whole.Part(noise_multiplier=0.1, sampling_rate=1.0, steps=1, clip_norm=1.0)}
    found = []
    for _ in range(400):
        included = rng.random(100) < 0.5
        heard = canaries.Heard.nothing(100)
        heard.own += 1.0
        heard.released += 0.1 * rng.standard_normal(100) + 5 * rng.standard_normal(10)[labels]  # and what labels share
        heard.inside += included  # so that nothing of its own is left in a score
        scores = whole.fitted({CRITIC: heard}, included, labels, claimed) + 10 * included
        found.append(scores[included].mean() - scores[~included].mean() - 10)
    assert abs(np.mean(found)) < norm.isf(RARE / 2) * np.std(found) / math.sqrt(400)
    assert np.std(found) < 0.25  # 2 / sqrt(100), and a little more


def test_a_record_without_a_category_moves_no_sum():
    """So a canary that is out may stand in its place."""
    given = whole_run.data("reader")
    config = whole_run.planned("reader")
    nowhere = Records(torch.from_numpy(given.images), torch.zeros(len(given.images), 10))
    sums = prototypes.style_sums(None, nowhere.images, nowhere.categories, config.warm_start.prototypes)
    assert not sums.any()


def test_an_infinite_epsilon_is_refused_in_one_line():
    with pytest.raises(ValueError, match="epsilon='inf'") as refusal:
        study.Whole(**SMALL, epsilon="inf").check()
    assert "\n" not in str(refusal.value)


@pytest.mark.full
def test_a_record_of_the_whole_method_verifies_and_fills_its_table(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    record = registry.obtain("audit", study.Whole(**SMALL), progress=False)
    assert paths.runs().is_dir() and staleness(record) == []
    assert [check for check in verify.check(record) if check.outcome == checks.FAILED] == []
    found = record.metrics["audits"][KNOWS_DATA]
    assert all(bound <= 10 for bound in found["together"].values()) and found["fit"]["shift"] > 0
    assert [part["epsilon"] < 10 for part in record.metrics["parts"].values()] == [True] * 4
    page = tables.whole_table([record])
    assert page.count("<tr>") >= 5 and f"({record.metrics['ideal'][audit.F_DP]['median']:.2f})" in page
    order = [page.index(f": {name}<") for name in (*tables.PARTS, "all of it")]
    assert order == sorted(order)
