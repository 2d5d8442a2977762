"""Verdicts follow from records by the stated rules, whichever way they fall."""

import math
from types import SimpleNamespace

import pytest

from dpgan_lib.book.claims import PAPER, table
from dpgan_lib.book.claims import claims as all_claims
from dpgan_lib.records import store
from dpgan_lib.studies.class_imbalance.claims import judge_imbalance, judge_samples
from dpgan_lib.studies.mnist_tradeoff import claims
from dpgan_lib.studies.verdicts import NOT_MEASURABLE, NOT_MEASURED


def record(epsilon, pairs, ten=0.9, seed=0, profile="laptop", method="both", ablation="none"):
    config = SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon), seed=seed)
    asked = {"dataset": "mnist", "profile": profile, "method": method, "ablation": ablation}
    return SimpleNamespace(config=config, asked=asked, kind="run",
                           metrics={"synthetic": {"pairs_logistic": pairs, "ten_cnn": ten}})


@pytest.fixture(autouse=True)
def current(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])


def sweep(*pairs, **rest):
    return [record(epsilon, value, **rest) for epsilon, value in zip((1.0, 10.0, math.inf), pairs)]


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.8, 0.9, 0.95), "holds"), (sweep(0.9, 0.8, 0.95), "does not hold"),
    (sweep(0.8, 0.95, 0.95), "does not hold"), (sweep(0.5, 0.5, 0.5), NOT_MEASURABLE),
    (sweep(0.8, 0.9), NOT_MEASURED), ([], NOT_MEASURED)])
def test_the_fall_with_privacy(records, verdict):
    assert claims.judge_fall(records).verdict == verdict


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.91, 0.92, 0.95), "holds"), (sweep(0.8, 0.9, 0.95), "does not hold"),
    (sweep(0.5, 0.5, 0.5), NOT_MEASURABLE), ([], NOT_MEASURED)])
def test_slightly(records, verdict):
    assert claims.judge_slightly(records).verdict == verdict


@pytest.mark.parametrize("ten, verdict", [(0.6, "holds"), (0.4, "does not hold")])
def test_control(ten, verdict):
    assert claims.judge_control(sweep(0.8, 0.9, 0.95, ten=ten)).verdict == verdict


def test_a_smoke_run_enters_no_claim():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.8, 0.9, 0.95, profile="smoke")}.get(study, []))
    assert page.count(NOT_MEASURED) == len(all_claims(PAPER))


def test_a_stale_record_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: ["the source has changed since"])
    assert claims.judge_fall(sweep(0.8, 0.9, 0.95)).measured.endswith("(1 seed; stale)")


def test_a_mean_over_seeds_has_an_interval():
    records = [record(1.0, 0.9, ten=ten, seed=seed) for seed, ten in enumerate((0.8, 0.9))]
    # Student's t with one degree of freedom: 12.7 standard errors of 5 points
    assert "epsilon 1: 85.0% \u00b1 63.5 (2 seeds)" in claims.judge_control(records).measured


def test_seeds_are_averaged_and_counted():
    records = sweep(0.8, 0.9, 0.95) + sweep(0.6, 0.9, 0.97, seed=1)
    verdict = claims.judge_slightly(records)
    assert verdict.measured.endswith("this book's: 26.0 points from no privacy to epsilon 1 (2 seeds)")


def test_methods_that_agree_and_methods_that_do_not():
    rising, falling = sweep(0.8, 0.9, 0.95), sweep(0.9, 0.8, 0.95)

    def of_paper(records):
        return [record(each.config.privacy.epsilon, each.metrics["synthetic"]["pairs_logistic"], method="paper")
                for each in records]

    assert claims.judge_fall(rising + of_paper(rising)).verdict == "holds"
    assert claims.judge_fall(falling + of_paper(falling)).verdict == "does not hold"
    assert claims.judge_fall(rising + of_paper(falling)).verdict == "holds in part"
    assert claims.judge_fall(of_paper(rising)).verdict == "holds"
    learnt_nothing = of_paper(sweep(0.5, 0.5, 0.5))
    assert claims.judge_fall(rising + learnt_nothing).verdict == "holds in part"
    assert claims.judge_fall(falling + learnt_nothing).verdict == "does not hold"
    assert claims.judge_fall(learnt_nothing).verdict == NOT_MEASURABLE


def test_with_three_seeds_a_trend_must_show_in_them():
    steady = [run for seed in range(3) for run in sweep(0.8, 0.9, 0.95, seed=seed)]
    verdict = claims.judge_fall(steady)
    assert claims.trend(steady, "pairs_logistic") == pytest.approx(1 / 6**3)  # one order in six, three times
    assert verdict.verdict == "holds" and "p = 0.0046" in verdict.measured
    by_one_seed = sweep(0.5, 0.7, 0.95) + sweep(0.8, 0.75, 0.78, seed=1) + sweep(0.8, 0.79, 0.7, seed=2)
    assert claims.judge_fall(by_one_seed).verdict == "does not hold"  # though the means rise
    assert claims.trend(steady[:6], "pairs_logistic") is None


def test_an_ablation_enters_no_claim():
    assert claims.admissible(sweep(0.8, 0.9, 0.95, ablation="one_style")) == []


def test_the_table_has_a_row_for_each_claim_and_hides_no_negative():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.9, 0.8, 0.95)}.get(study, []))
    assert page.count('<th scope="row">') == len(all_claims(PAPER))
    assert "does not hold" in page and NOT_MEASURED in page


def test_a_claim_links_to_where_it_is_measured_once_it_is():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.9, 0.8, 0.95)}.get(study, []))
    assert page.count('href="05_mnist_tradeoff.html#the-trade-off">chapter 5</a>') == 3 and "08_celeba" not in page


# Class imbalance, and how many records are enough

def thinned(real, oversampled, topped_up, epsilon=1.0, kept=0.01):
    scores = {"real": real, "oversampled": oversampled, "topped_up": topped_up}
    remedies = {name: {"cnn": {"recall": value, "accuracy": 0.9, "precision": 0.9}} for name, value in scores.items()}
    return _of_imbalance(remedies, epsilon, kept, 54_000)


def sized(records, accuracy, epsilon=1.0):
    return _of_imbalance({"synthetic": {"cnn": {"accuracy": accuracy}}}, epsilon, 1, records)


def _of_imbalance(remedies, epsilon, kept, records):
    config = SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon, records=records), seed=0,
                             dataset=f"mnist_{records}_{kept:g}")
    return SimpleNamespace(config=config, metrics={"remedies": remedies, "counts": [10] * 10})


@pytest.mark.parametrize("records, verdict", [
    ([thinned(0.5, 0.6, 0.7), thinned(0.5, 0.6, 0.65, epsilon=10.0)], "holds"),
    ([thinned(0.5, 0.6, 0.55)], "holds in part"), ([thinned(0.5, 0.4, 0.45)], "does not hold"),
    ([thinned(0.5, 0.6, 0.7), thinned(0.5, 0.6, 0.4, epsilon=10.0)], "does not hold"),
    ([thinned(0.5, 0.6, 0.4, epsilon=math.inf), thinned(0.5, 0.6, 0.4, kept=0.1)], NOT_MEASURED)])
def test_class_imbalance(records, verdict):
    assert judge_imbalance(records).verdict == verdict


@pytest.mark.parametrize("accuracies, verdict", [
    ((0.6, 0.7, 0.8), "holds"), ((0.6, 0.65, 0.69), "holds in part"), ((0.6, 0.8, 0.75), "holds in part"),
    ((0.7, 0.72, 0.71), "does not hold"), ((0.6, 0.8), NOT_MEASURED)])
def test_sufficient_samples(accuracies, verdict):
    assert judge_samples([sized(10**place, value) for place, value in enumerate(accuracies, 3)]).verdict == verdict
