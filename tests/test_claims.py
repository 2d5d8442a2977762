"""Verdicts follow from records by the stated rules, whichever way they fall."""

import math
from types import SimpleNamespace

import pytest

from dpgan_lib import claims


def record(epsilon, pairs, ten=0.9, seed=0, profile="laptop"):
    config = SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon), seed=seed, dataset="mnist", profile=profile)
    return SimpleNamespace(config=config, metrics={"synthetic": {"pairs_logistic": pairs, "ten_cnn": ten}})


@pytest.fixture(autouse=True)
def current(monkeypatch):
    monkeypatch.setattr(claims.results, "staleness", lambda record: [])


def sweep(*pairs, **rest):
    return [record(epsilon, value, **rest) for epsilon, value in zip((1.0, 10.0, math.inf), pairs)]


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.8, 0.9, 0.95), "holds"), (sweep(0.9, 0.8, 0.95), "does not hold"),
    (sweep(0.8, 0.95, 0.95), "does not hold"), (sweep(0.5, 0.5, 0.5), claims.NOT_MEASURED),
    (sweep(0.8, 0.9), claims.NOT_MEASURED), ([], claims.NOT_MEASURED)])
def test_the_fall_with_privacy(records, verdict):
    assert claims.judge_fall(records).verdict == verdict


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.91, 0.92, 0.95), "holds"), (sweep(0.8, 0.9, 0.95), "does not hold"),
    (sweep(0.5, 0.5, 0.5), claims.NOT_MEASURED), ([], claims.NOT_MEASURED)])
def test_slightly(records, verdict):
    assert claims.judge_slightly(records).verdict == verdict


@pytest.mark.parametrize("ten, verdict", [(0.6, "holds"), (0.4, "does not hold")])
def test_control(ten, verdict):
    assert claims.judge_control(sweep(0.8, 0.9, 0.95, ten=ten)).verdict == verdict


def test_a_smoke_run_enters_no_claim():
    page = claims.table(lambda study: {"mnist_tradeoff": sweep(0.8, 0.9, 0.95, profile="smoke")}.get(study, []))
    assert page.count(claims.NOT_MEASURED) == len(claims.CLAIMS)


def test_a_stale_record_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr(claims.results, "staleness", lambda record: ["the source has changed since"])
    assert claims.judge_fall(sweep(0.8, 0.9, 0.95)).measured.endswith("(1 seed; stale)")


def test_seeds_are_averaged_and_counted():
    records = sweep(0.8, 0.9, 0.95) + sweep(0.6, 0.9, 0.97, seed=1)
    verdict = claims.judge_slightly(records)
    assert verdict.measured == "26.0 points from no privacy to epsilon 1 (2 seeds)"


def test_the_table_has_a_row_for_each_claim_and_hides_no_negative():
    page = claims.table(lambda study: {"mnist_tradeoff": sweep(0.9, 0.8, 0.95)}.get(study, []))
    assert page.count('<th scope="row">') == len(claims.CLAIMS)
    assert "does not hold" in page and claims.NOT_MEASURED in page
