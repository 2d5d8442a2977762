"""The page of all records: complete for any record there is or may come, and true to what checks say."""

import json
import math
import re

import pytest
from sample_record import store_record

from dpgan_lib import paths
from dpgan_lib.book import catalogue
from dpgan_lib.records import checks, verify
from dpgan_lib.records import store as run_store
from dpgan_lib.records.checks import Check
from dpgan_lib.records.provenance import MEASURING, measuring_source, provenance
from dpgan_lib.records.store import (
    MANIFEST,
    content_address,
    published,
    published_studies,
    update_manifest,
    write,
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A published store of its own."""
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path))
    monkeypatch.setattr(verify, "check", lambda record: [
        Check("run id", checks.OK, ""), Check("origin", checks.NOT_CHECKED, ""),
        Check(catalogue.READERS, checks.OK, "")])
    return lambda **values: store_record(tmp_path, **values)


def experiment(store):
    """A record that claims no epsilon and has no seed, like a benchmark's."""
    config, card = {"experiment": "a <look>"}, {"title": "random images"}
    return write("cost", content_address(config, card), {
        "mode": "demo", "asked": {}, "config": config, "card": card, "privacy": {}, "metrics": {"seconds": [1.0, 2.0]},
        "seconds": {}, "provenance": provenance({MEASURING: measuring_source("cost", "benchmark")})}, {},
                 paths.published())


def words(html: str) -> list[list[str]]:
    """The table's rows as cell texts."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_every_record_has_a_row_with_its_digest_and_an_anchor_that_no_other_has(store):
    records = [store(epsilon=epsilon) for epsilon in (1.0, 3.0, math.inf)]
    update_manifest()
    manifest = json.loads((paths.published() / MANIFEST).read_text())
    page = catalogue.records_table("mutual_information", records)
    for record in records:
        assert page.count(f'id="mutual_information-{record.run_id}"') == 1
        assert f"<code>{manifest[f'mutual_information/{record.run_id}'][:12]}</code>" in page
    assert [row[2] for row in words(page)] == ["epsilon spent", "1", "3", "no privacy"]
    assert len(words(page)) == 4


def test_what_all_records_share_stands_once_and_with_the_scope_of_epsilon(store):
    page = catalogue.records_table("mutual_information", [store(epsilon=1.0), store(epsilon=3.0)])
    scope = "total, at delta = 1e-5, for add/remove one record (one image with its label), by the PLD accountant"
    assert page.count(scope) == 1 and page.count("N = 60,000") == 1
    assert "scope of epsilon" not in words(page)[0]


def test_a_record_without_epsilon_seed_or_size_has_a_row_too(store):
    record = experiment(store)
    page = catalogue.records_table("cost", [record])
    assert "epsilon spent: none claimed" in page and "data: random images" in page
    assert words(page)[1][0] == "a &lt;look&gt;"
    assert catalogue.bands_tables("cost", [record]) == "<p>cost: 1 run of one seed has no band.</p>"


def test_checks_are_counted_without_the_readers_commit_and_a_failed_one_is_quoted(store, monkeypatch):
    record = store()
    assert catalogue._checks(record) == "1 pass, 1 not made"
    monkeypatch.setattr(verify, "check", lambda record: [Check("unit", checks.FAILED, "<one> in the record")])
    assert "FAILED       unit: &lt;one&gt; in the record" in catalogue._checks(record)


def test_runs_are_told_apart_by_what_differs(store):
    names = catalogue.names([store(epsilon=1.0), store(epsilon=1.0, dataset="fashion_mnist"), store(epsilon=3.0)])
    assert names == ["dataset mnist, epsilon 1, seed 0", "dataset fashion_mnist, epsilon 1, seed 0",
                     "dataset mnist, epsilon 3, seed 0"]
    assert catalogue.names([store(epsilon=1.0), store(epsilon=3.0)]) == ["epsilon 1, seed 0", "epsilon 3, seed 0"]


def seeds(store, *values, **config):
    return [store(seed=seed, changes={"metrics": {"ten_cnn": value, "always": 10}}, **config)
            for seed, value in enumerate(values)]


def test_bands_have_a_column_for_each_run_with_seeds(store):
    records = seeds(store, 1.0, 2.0, 4.0) + seeds(store, 0.5, epsilon=1.0)
    page = catalogue.bands_tables("mutual_information", records)
    assert words(page) == [["metric", "epsilon 3 (3 seeds)"], ["ten_cnn", "2.33 ± 7.59"]]
    assert "The same for every seed, and so without a band: 1 metric." in page
    assert "1 run of one seed has no band" in page


def test_the_summary_counts_verdicts_and_stale_records(store, monkeypatch):
    monkeypatch.setattr(run_store, "staleness", lambda record: [])
    records = seeds(store, 0.9, 0.91, 0.92, 0.905)
    last = store(seed=9, changes={"metrics": {"ten_cnn": 0.1, "always": 10}})
    monkeypatch.setattr(run_store, "staleness", lambda record: ["older"] if record is last else [])
    rows = words(catalogue.summary({"mutual_information": [*records, last], "cost": [experiment(store)]}))
    assert rows[1:] == [["mutual_information", "5", "1", "4", "1", "0"], ["cost", "1", "0", "0", "0", "1"]]


def test_published_studies_are_those_with_records(store):
    assert published_studies() == []
    store(), experiment(store)
    assert published_studies() == ["cost", "mutual_information"]


@pytest.mark.parametrize("study", published_studies())
def test_no_two_published_runs_of_a_study_share_a_name(study):
    names = catalogue.names(published(study))
    assert len(set(names)) == len(names)
