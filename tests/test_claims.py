"""Verdicts follow from records by the stated rules, whichever way they fall."""

import math
from types import SimpleNamespace

import pytest

from dpgan_lib.book.claims import PAPER, table
from dpgan_lib.book.claims import claims as all_claims
from dpgan_lib.records import store
from dpgan_lib.studies.class_imbalance.claims import judge_imbalance, judge_samples
from dpgan_lib.studies.mnist_tradeoff import claims
from dpgan_lib.studies.verdicts import (
    FAILS,
    FIRST_LOOK,
    HOLDS,
    IN_PART,
    NOT_MEASURABLE,
    NOT_MEASURED,
    Claim,
    Verdict,
    fewest_seeds,
    seeds_of,
    trend,
    with_several,
)


def record(epsilon, pairs, ten=0.9, seed=0, profile="laptop", method="both", ablation="none"):
    asked = {"dataset": "mnist", "profile": profile, "method": method, "ablation": ablation, "seed": seed,
             "epsilon": "inf" if math.isinf(epsilon) else epsilon}
    return SimpleNamespace(asked=asked, kind="run", metrics={"synthetic": {"pairs_logistic": pairs, "ten_cnn": ten}})


@pytest.fixture(autouse=True)
def current(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])


def sweep(*pairs, seeds=1, **rest):
    """At epsilon 1, at 10 and without privacy, by as many seeds."""
    return [record(epsilon, value, seed=seed, **rest) for seed in range(seeds)
            for epsilon, value in zip((1.0, 10.0, math.inf), pairs)]


# What a claim does with its judge's verdict

def claim(found, **values):
    return Claim(who=PAPER, words="", rule="", study="", where="", judge=lambda records: found, **values)


@pytest.mark.parametrize("verdict", [HOLDS, IN_PART, FAILS])
@pytest.mark.parametrize("seeds, least, is_decided", [
    (1, 3, False), (2, 3, False), (3, 3, True), (3, 5, False), (None, 3, True)])
def test_too_few_seeds_decide_nothing_whichever_way_they_fall(verdict, seeds, least, is_decided):
    found = claim(Verdict(verdict, "90%", seeds), seeds=least).verdict([])
    assert found.verdict == (verdict if is_decided else FIRST_LOOK) and found.seeds == seeds
    assert is_decided or f"of the {least} that decide, it {verdict}: 90%" in found.measured


@pytest.mark.parametrize("verdict", [NOT_MEASURED, NOT_MEASURABLE])
def test_what_is_not_decided_is_no_first_look(verdict):
    assert claim(Verdict(verdict, "no record", 1)).verdict([]).verdict == verdict


def test_seeds_are_counted_by_cell():
    records = sweep(0.8, 0.9, 0.95, seeds=3) + [record(2.0, 0.85)]
    assert seeds_of(records) == {1.0: 3, 10.0: 3, math.inf: 3, 2.0: 1} and fewest_seeds(records) == 1
    assert with_several(records) == records[:9] and fewest_seeds(records[:9]) == 3
    assert with_several(records[9:]) == records[9:]  # where no cell has several, all are looked at
    assert fewest_seeds([]) == 0


def test_a_trend_is_tested_over_the_seeds_that_have_the_most_points_in_common():
    rising = {1.0: 0.1, 2.0: 0.2, 3.0: 0.3}
    assert trend({seed: rising for seed in range(3)}) == (pytest.approx(1 / 6**3), 3)  # one order in six, three times
    assert trend({0: rising | {4.0: 0.0}, 1: rising, 2: rising})[0] == pytest.approx(1 / 6**3)  # one seed's dip
    assert trend({0: rising, 1: rising, 2: {1.0: 0.1}}) == (pytest.approx(1 / 6**2), 2)
    assert trend({0: rising}) is None and trend({0: rising, 1: {1.0: 0.1, 2.0: 0.2}}) is None and trend({}) is None
    assert trend({seed: {x: -value for x, value in rising.items()} for seed in range(5)})[0] > 0.9


# The trade-off

@pytest.mark.parametrize("records, verdict", [
    (sweep(0.8, 0.9, 0.95, seeds=5), HOLDS), (sweep(0.95, 0.9, 0.8, seeds=5), FAILS),
    (sweep(0.5, 0.5, 0.5, seeds=5), NOT_MEASURABLE), (sweep(0.8, 0.9, 0.95), FIRST_LOOK),
    (sweep(0.8, 0.9, seeds=5), NOT_MEASURED), ([], NOT_MEASURED)])
def test_the_fall_with_privacy(records, verdict):
    assert claims.judge_fall(records).verdict == verdict


def test_one_dip_between_single_seeds_decides_nothing():
    records = sweep(0.8, 0.9, 0.95, seeds=5)
    dip = [record(0.2, 0.82), record(0.5, 0.78)]
    assert claims.judge_fall(records + dip).verdict == HOLDS


def test_a_trend_must_show_in_the_seeds_and_not_in_their_means_alone():
    one_for_all = sweep(0.1, 0.7, 0.95) + [each for seed in range(1, 5) for each in (
        record(1.0, 0.9, seed=seed), record(10.0, 0.85, seed=seed), record(math.inf, 0.8, seed=seed))]
    means = claims.mean_accuracy(one_for_all, "pairs_logistic")
    assert means[1.0] < means[10.0] < means[math.inf] and claims.judge_fall(one_for_all).verdict == FAILS


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.91, 0.92, 0.95), HOLDS), (sweep(0.8, 0.9, 0.95), FAILS),
    (sweep(0.5, 0.5, 0.5), NOT_MEASURABLE), ([], NOT_MEASURED)])
def test_slightly(records, verdict):
    assert claims.judge_slightly(records).verdict == verdict


@pytest.mark.parametrize("records, verdict", [
    (sweep(0.8, 0.9, 0.95, ten=0.6), HOLDS), (sweep(0.8, 0.9, 0.95, ten=0.4), FAILS),
    (sweep(0.5, 0.5, 0.5, ten=0.6), NOT_MEASURABLE), (sweep(0.8, 0.9), NOT_MEASURED)])
def test_control(records, verdict):
    assert claims.judge_control(records).verdict == verdict


def test_where_some_epsilons_have_several_seeds_a_single_one_decides_nothing():
    found = claims.judge_control(sweep(0.8, 0.9, 0.95, ten=0.6, seeds=3) + [record(0.2, 0.7, ten=0.2)])
    assert (found.verdict, found.seeds) == (HOLDS, 3) and "epsilon 0.2: 20.0%" in found.measured


def test_a_method_never_speaks_for_another():
    """Each has a row of its own; one that did not learn without privacy says so, with the number."""
    records = sweep(0.8, 0.9, 0.95, seeds=5) + sweep(0.55, 0.53, 0.55, seeds=5, method="paper")
    found = {each.method: each.verdict(records) for each in claims.CLAIMS if each.judge is claims.judge_fall}
    assert {method: each.verdict for method, each in found.items()} == {
        "the paper's method": NOT_MEASURABLE, "this book's method": HOLDS}
    assert found["the paper's method"].measured.startswith("the baseline did not learn: 55.0%")


def test_a_smoke_run_enters_no_claim():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.8, 0.9, 0.95, profile="smoke")}.get(study, []))
    assert page.count(f"<strong>{NOT_MEASURED}") == len(all_claims(PAPER))


def test_a_stale_record_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: ["the source has changed since"])
    assert claims.judge_fall(sweep(0.8, 0.9, 0.95)).measured.endswith("; stale")


def test_a_mean_over_seeds_has_an_interval():
    records = [record(epsilon, 0.9, ten=ten, seed=seed) for seed, ten in enumerate((0.8, 0.9))
               for epsilon in (1.0, math.inf)]
    # Student's t with one degree of freedom: 12.7 standard errors of 5 points
    assert "epsilon 1: 85.0% \u00b1 63.5 (2 seeds)" in claims.judge_control(records).measured


def test_seeds_are_averaged_and_counted():
    records = sweep(0.8, 0.9, 0.95) + [record(1.0, 0.6, seed=1), record(math.inf, 0.97, seed=1)]
    verdict = claims.judge_slightly(records)
    assert verdict.measured == "26.0 points from no privacy to epsilon 1" and verdict.seeds == 2


def test_an_ablation_enters_no_claim():
    assert claims.admissible(sweep(0.8, 0.9, 0.95, ablation="one_style")) == []


# The table

def test_the_table_has_a_row_for_each_claim_and_hides_no_negative():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.95, 0.9, 0.8, seeds=5)}.get(study, []))
    assert page.count('<th scope="row">') == len(all_claims(PAPER))
    assert "does not hold" in page and NOT_MEASURED in page


def test_a_row_says_its_seeds_and_how_many_its_rule_takes_and_shows_the_rule_in_code():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.8, 0.9, 0.95, seeds=3)}.get(study, []))
    row = page.partition("(this book&#x27;s method)")[2].partition("</tr>")[0]
    assert "<strong>a first look</strong><br>3 seeds" in row and "It takes 5 seeds." in row
    assert "def judge_fall(records" in row and "p_value &lt;= TREND" in row


def test_a_claim_links_to_where_it_is_measured_once_it_is():
    page = table(PAPER, lambda study: {"mnist_tradeoff": sweep(0.9, 0.8, 0.95)}.get(study, []))
    assert page.count('href="05_mnist_tradeoff.html#the-trade-off">chapter 5</a>') == 3 and "08_celeba" not in page


# Class imbalance, and how many records are enough

def thinned(real, oversampled, topped_up, epsilon=1.0, kept=0.01, seed=0):
    scores = {"real": real, "oversampled": oversampled, "topped_up": topped_up}
    remedies = {name: {"cnn": {"recall": value, "accuracy": 0.9, "precision": 0.9}} for name, value in scores.items()}
    return _of_imbalance(remedies, epsilon, kept, 54_000, seed)


def sized(*accuracies, seed=0, epsilon=1.0):
    """A run at each power of ten from 1,000 on."""
    return [_of_imbalance({"synthetic": {"cnn": {"accuracy": value}}}, epsilon, 1, 10**place, seed)
            for place, value in enumerate(accuracies, 3)]


def _of_imbalance(remedies, epsilon, kept, records, seed):
    config = SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon, records=records), seed=seed,
                             dataset=f"mnist_{records}_{kept:g}")
    asked = {"epsilon": "inf" if math.isinf(epsilon) else epsilon, "kept": kept, "seed": seed}
    return SimpleNamespace(config=config, asked=asked, metrics={"remedies": remedies, "counts": [10] * 10})


@pytest.mark.parametrize("records, verdict", [
    ([thinned(0.5, 0.6, 0.7), thinned(0.5, 0.6, 0.65, epsilon=10.0)], HOLDS),
    ([thinned(0.5, 0.6, 0.55)], IN_PART), ([thinned(0.5, 0.4, 0.45)], FAILS),
    ([thinned(0.5, 0.6, 0.7), thinned(0.5, 0.6, 0.55, seed=1)], HOLDS),  # on average over draws
    ([thinned(0.5, 0.6, 0.7), thinned(0.5, 0.6, 0.4, epsilon=10.0)], FAILS),
    ([thinned(0.5, 0.6, 0.4, epsilon=math.inf), thinned(0.5, 0.6, 0.4, kept=0.1)], NOT_MEASURED)])
def test_class_imbalance(records, verdict):
    assert judge_imbalance(records).verdict == verdict


@pytest.mark.parametrize("accuracies, verdict", [
    ((0.6, 0.7, 0.8), HOLDS), ((0.6, 0.65, 0.69), IN_PART), ((0.7, 0.69, 0.81), IN_PART),
    ((0.7, 0.72, 0.71), FAILS), ((0.6, 0.8), NOT_MEASURED)])
def test_sufficient_samples(accuracies, verdict):
    found = judge_samples([each for seed in range(5) for each in sized(*accuracies, seed=seed)])
    assert found.verdict == verdict


def test_one_seed_shows_no_trend():
    assert judge_samples(sized(0.6, 0.7, 0.8)).verdict == FIRST_LOOK
