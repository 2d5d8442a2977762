"""The front page says what the records say."""

from types import SimpleNamespace

import pytest

from dpgan_lib.book import front
from dpgan_lib.book.claims import claims
from dpgan_lib.records import store
from dpgan_lib.studies.verdicts import HOLDS


def record(kind, **fields):
    asked = {"dataset": "mnist", "profile": "laptop", "seed": 0} | fields.pop("asked", {})
    return SimpleNamespace(kind=kind, asked=asked, metrics=fields)


RECORDS = {
    "mnist_tradeoff": [record("ceiling", real={"ten_cnn": 0.991}), *(
        record("reader", asked={"epsilon": epsilon, "seed": seed}, wide={"synthetic": {"ten_cnn": accuracy}})
        for epsilon, seed, accuracy in ((10.0, 0, 0.97), (10.0, 1, 0.98), (1.0, 0, 0.961), (1.0, 1, 0.961)))],
    "audit": [record("run", asked={"epsilon": 10.0, "seed": seed},
                     audits={"knows the data": {"bounds": {"Gaussian mean": shown}}})
              for seed, shown in enumerate((8.1, 8.7, 9.2))],
    "mutual_information": [
        record("infogan", asked={"deformed": deformed, "loss": "js"}, real={"accuracy": 0.75 + deformed / 5})
        for deformed in (True, False)]}


@pytest.fixture(autouse=True)
def current(request, monkeypatch):
    if "every_claim" not in request.node.name:  # that one reads the records as published
        monkeypatch.setattr(store, "staleness", lambda record: [])


def test_a_finding_from_a_record_that_is_stale_says_so(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: ["the source has changed"] * (record.kind == "run"))
    page = front.findings(RECORDS.__getitem__)
    assert page.count("; stale)") == 1 and "(3 seeds; stale)" in page


def test_findings_are_means_over_seeds_and_medians_of_bounds():
    page = front.findings(RECORDS.__getitem__)
    assert "97.5% of real test digits, and with epsilon 1 96.1% (2 seeds)" in page and "teach it 99.1%" in page
    assert "at least 8.7" in page and "3 seeds" in page
    assert "95.0% of real test digits" in page and "1 seed, no privacy)" in page
    assert page.count("<li>") == 3 and "../notebooks/05_mnist_tradeoff.html" in page and "Chapter 7" in page


def test_what_no_record_says_is_left_out():
    assert front.findings(lambda study: []) == '<ul class="findings"></ul>'
    assert front.findings(lambda study: RECORDS["audit"] if study == "audit" else []).count("<li>") == 1


def test_every_claim_has_one_mark_and_its_verdict_in_words():
    page = front.marks(store.published)
    assert page.count("<li>") == len(claims())
    for claim in claims():
        assert f"{claim.words}" in page.replace("&#x27;", "'").replace("&quot;", '"').replace("&amp;", "&")
    assert page.count(": not yet measured") <= page.count("–")


@pytest.mark.parametrize("verdict", [HOLDS, "holds in part", "does not hold", "a first look", "not yet measured",
                                     "not measurable here"])
def test_every_verdict_has_a_sign(verdict):
    assert len(front.MARKS[verdict]) == 1
