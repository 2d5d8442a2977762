"""This book's own claims, judged by their rules, whichever way they fall."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpgan_lib.book.claims import BOOK, address, table
from dpgan_lib.book.claims import claims as all_claims
from dpgan_lib.records import store
from dpgan_lib.studies.audit.claims import judge_accounting, judge_closeness, judge_mutants, judge_whole
from dpgan_lib.studies.mnist_tradeoff import claims
from dpgan_lib.studies.verdicts import NOT_MEASURED, of_targets


def run(method, epsilon=2.0, ten=0.9, seed=0, ablation="none"):
    config = SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon), seed=seed)
    asked = {"dataset": "mnist", "profile": "laptop", "method": method, "ablation": ablation, "seed": seed,
             "epsilon": "inf" if math.isinf(epsilon) else epsilon}
    return SimpleNamespace(config=config, asked=asked, kind="run", metrics={
        "synthetic": {"ten_cnn": ten, "pairs_cnn": 0.9}, "fidelity": {"fid_test": 10.0}})


@pytest.fixture(autouse=True)
def current(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])


# Halves

def halves(whole, releases, dp_sgd=(0.5, 0.5, 0.5)):
    of = {"both": whole, "releases": releases, "dp_sgd": dp_sgd}
    return [run(method, epsilon, value, seed) for method, values in of.items() for seed, value in enumerate(values)
            for epsilon in claims.HALVED_EPSILONS]


@pytest.mark.parametrize("records, verdict", [
    (halves((0.9, 0.9, 0.9), (0.8, 0.8, 0.89)), "holds"), (halves((0.9, 0.9, 0.9), (0.8, 0.8, 0.91)), "holds in part"),
    (halves((0.8, 0.8, 0.8), (0.7, 0.8, 0.95)), "does not hold"),
    (halves((0.9, 0.9, 0.9), ()), NOT_MEASURED), ([], NOT_MEASURED)])
def test_the_whole_against_its_halves(records, verdict):
    assert claims.judge_halves(records).verdict == verdict


def test_seeds_of_all_halves_are_counted():
    assert claims.judge_halves(halves((0.9, 0.9, 0.9), (0.8, 0.8))).seeds == 2


def test_gains_are_listed_seed_by_seed():
    assert "epsilon 1, over releases alone: +10.0, +10.0, +1.0" in claims.judge_halves(
        halves((0.9, 0.9, 0.9), (0.8, 0.8, 0.89))).measured


# Ingredients

@pytest.mark.parametrize("without, verdict", [
    ((0.8, 0.7), "holds"), ((0.8, 0.95), "holds in part"), ((0.9, 0.95), "does not hold"), ((), NOT_MEASURED)])
def test_ingredients(without, verdict):
    ablated = [run("both", ten=value, ablation=name) for name, value in zip(("one_style", "unaligned"), without)]
    assert claims.judge_ingredients([run("both"), *ablated]).verdict == verdict
    assert claims.judge_ingredients(ablated).verdict == NOT_MEASURED


# Targets

@pytest.mark.parametrize("met, verdict", [
    ((True, True), "holds"), ((True, False), "holds in part"), ((True, None), "holds in part"),
    ((False, None), "does not hold"), ((None, None), NOT_MEASURED)])
def test_a_target_that_nothing_measured_is_not_reached(met, verdict):
    targets = [{"what": "a", "target": "1", "measured": "2", "met": each, "seeds": 3} for each in met]
    assert of_targets(targets, []).verdict == verdict


@pytest.mark.parametrize("seeds, verdict, fewest", [
    ((3, 3), "holds", 3), ((3, 1), "holds in part", 3), ((1, 2), "holds", 1)])
def test_a_target_reached_by_one_seed_is_not_reached_unless_none_has_more(seeds, verdict, fewest):
    targets = [{"what": "a", "target": "1", "measured": "2", "met": True, "seeds": each} for each in seeds]
    found = of_targets(targets, [])
    assert (found.verdict, found.seeds) == (verdict, fewest)


def test_without_records_every_claim_is_not_yet_measured():
    page = table(BOOK, lambda study: [])
    assert page.count(NOT_MEASURED) == page.count('<th scope="row">') == len(all_claims(BOOK))


def test_the_targets_of_digits_are_read_from_records():
    records = [run("both", epsilon, ten=0.999, seed=seed) for seed in range(3)
               for epsilon in (0.2, 1.0, 10.0, math.inf)]
    verdict = claims.judge_utility(records)
    assert verdict.verdict == "holds in part"  # pairs, at 90%, miss theirs
    assert "epsilon 10: ten classes, CNN: 99.9% \u00b1 0.0 (target 93.0)" in verdict.measured


# Audits

def audited(bound, correct=0, halved=20, epsilon=1.0, claimed=1.0, together=None, seed=0):
    """together: the bound at the level that all share, where it is another."""
    tests = {name: {"refuted": refuted, "tests": 20} for name, refuted in (("correct", correct), ("halved", halved))}
    is_private = math.isfinite(epsilon)
    bounds = {"bounds": {"Gaussian mean": bound},
              "together": {"Gaussian mean": bound if together is None else together}}
    return SimpleNamespace(asked={"epsilon": epsilon if is_private else "inf", "seed": seed}, content={}, kind="run",
                           metrics={"claimed": claimed, "audits": {"knows the data": bounds},
                                    "alone": tests if is_private else {}})


@pytest.mark.parametrize("records, verdict", [
    ([audited(0.5), audited(3.0, epsilon=math.inf)], "holds"),
    ([audited(1.5, together=0.9), audited(3.0, epsilon=math.inf)], "holds"),
    ([audited(1.5), audited(3.0, epsilon=math.inf)], "holds in part"),
    ([audited(0.5, correct=2), audited(3.0, epsilon=math.inf)], "holds in part"),
    ([audited(0.5, halved=9), audited(3.0, epsilon=math.inf)], "holds in part"),
    ([audited(1.5), audited(0.9, epsilon=math.inf)], "does not hold"), ([audited(0.5)], NOT_MEASURED)])
def test_audits(records, verdict):
    assert judge_accounting(records).verdict == verdict


@pytest.mark.parametrize("at_ten, at_one, verdict", [
    ((8.6, 8.4, 8.7), (0.5, 0.4, 0.6), "holds"), ((8.4, 8.4, 9.9), (0.5, 0.5, 0.5), "holds in part"),
    ((8.4,), (0.4,), "does not hold"), ((), (0.5,), NOT_MEASURED)])
def test_audits_that_get_close(at_ten, at_one, verdict):
    records = [audited(bound, epsilon=epsilon, seed=seed) for epsilon, bounds in ((10.0, at_ten), (1.0, at_one))
               for seed, bound in enumerate(bounds)]
    found = judge_closeness(records)
    assert found.verdict == verdict and found.seeds == (min(len(at_ten), len(at_one)) or None)


@pytest.mark.parametrize("bound, together, verdict", [
    (8.6, 8.0, "holds"), (8.4, 8.0, "holds in part"), (8.6, 10.5, "does not hold"), (8.4, 10.5, "does not hold")])
def test_an_audit_of_the_whole_method(bound, together, verdict):
    records = [audited(shown, epsilon=epsilon, claimed=epsilon, together=at_all, seed=seed)
               for epsilon, shown, at_all in ((10.0, bound, together), (1.0, 0.5, 0.1)) for seed in range(3)]
    found = judge_whole(records)
    assert (found.verdict, found.seeds) == (verdict, 3)
    assert judge_whole([]).verdict == NOT_MEASURED


def watched(caught, refuted):
    return [SimpleNamespace(asked={"seed": 0}, content={}, metrics={
        "mutants": {"one": {"step": 1}, "two": {"step": 3 if caught else None}},
        "correct": [{"step": None}, {"step": 7 if refuted else None}]})]


@pytest.mark.parametrize("records, verdict", [
    (watched(True, False), "holds"), (watched(False, False), "holds in part"), (watched(True, True), "holds in part"),
    (watched(False, True), "does not hold"), ([], NOT_MEASURED)])
def test_mutants_seen_through(records, verdict):
    assert judge_mutants(records).verdict == verdict


# Links

@pytest.mark.parametrize("claim", all_claims(), ids=lambda claim: claim.words)
def test_a_claim_links_to_a_heading_of_its_chapter(claim):
    chapter, _, anchor = address(claim).partition(".html#")
    source = (Path(__file__).resolve().parents[1] / "notebooks" / f"{chapter}.py").read_text(encoding="utf-8")
    headings = re.findall(r"^# ## (.+)$", source, re.MULTILINE)
    assert anchor in [re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings]
