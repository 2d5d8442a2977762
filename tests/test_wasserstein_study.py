"""The chapter's parameters, records and tables; the verdict on stability; the chapter itself at smoke size."""

import math
from dataclasses import asdict
from types import SimpleNamespace

import jupytext
import pytest

from dpgan_lib import data
from dpgan_lib.book import chapters
from dpgan_lib.book.claims import PAPER
from dpgan_lib.book.claims import claims as all_claims
from dpgan_lib.records import checks, store, verify
from dpgan_lib.report import cards
from dpgan_lib.studies import registry
from dpgan_lib.studies.parameters import parameters_from
from dpgan_lib.studies.verdicts import NOT_MEASURABLE, NOT_MEASURED
from dpgan_lib.studies.wasserstein import claims, tables
from dpgan_lib.studies.wasserstein.study import STABILITY, STUDY, SWEEP, Parameters, Stability

USUAL = asdict(Parameters())
CHAPTER = "02_wasserstein"
SECONDS = 120  # of a cell of the smoke chapter, on a busy machine; alone the longest takes ten


@pytest.fixture(scope="module")
def smoke_records(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("home")))
        asked = [Parameters(profile="smoke"), Parameters(profile="smoke", lipschitz="penalty", epsilon="inf"),
                 Stability(profile="smoke")]
        return [registry.obtain("wasserstein", each, fresh=True, progress=False) for each in asked]


def test_the_chapter_shows_the_librarys_defaults():
    assert chapters.defaults(jupytext.read(chapters.chapter_path("wasserstein")), CHAPTER) == USUAL


@pytest.mark.parametrize("field, value, line", [
    ("epsilon", 0.0, "must be a number above 0"), ("epsilon", "none", "must be a number above 0"),
    ("seed", -1, "must be a whole number"), ("profile", "paper", "must be one of smoke, laptop"),
    ("lipschitz", "clipp", "must be one of clip, spectral, penalty")])
def test_a_wrong_parameter_is_refused(field, value, line):
    with pytest.raises(ValueError) as error:
        parameters_from(USUAL | {field: value}, Parameters)
    assert str(error.value).startswith(f"{field}={value!r} {line}") and "\n" not in str(error.value)


def test_no_two_published_records_have_one_address_and_none_needs_data(monkeypatch):
    monkeypatch.setattr(data, "load", None)
    addresses = [each.address(asked) for each in (STUDY, STABILITY) for asked in each.grid]
    assert len(set(addresses)) == len(addresses)
    assert Parameters() in STUDY.grid and Stability() in STABILITY.grid


@pytest.mark.parametrize("study", [STUDY, STABILITY], ids=lambda study: study.kind)
def test_three_seeds_stand_behind_every_point(study):
    grid = [asdict(each) for each in study.grid]
    for each in grid:
        assert {other["seed"] for other in grid if other | {"seed": 0} == each | {"seed": 0}} == {0, 1, 2}


def test_a_record_is_current_passes_every_check_and_fills_its_card(smoke_records):
    for record in smoke_records:
        assert store.staleness(record) == []
        assert [check for check in verify.check(record) if check.outcome == checks.FAILED] == []
    assert "epsilon 1, seed 0" in cards.computed_by(smoke_records[:2], "dpgan run wasserstein", USUAL)
    assert "no privacy, seed 0" in cards.computed_by(smoke_records[2:], "dpgan run wasserstein", asdict(Stability()))


def test_a_private_record_spends_no_more_than_asked(smoke_records):
    assert smoke_records[0].epsilon_spent <= 1.0 and math.isinf(smoke_records[1].epsilon_spent)


def test_tables_have_a_row_for_each_setting(smoke_records):
    games = tables.of(smoke_records, "toy", "smoke")
    rows = tables.toy_rows(games, {games[0].run_id})
    assert [row["is_new"] for row in rows] == [False, False, True, True]
    assert tables.toy_table(rows).count('scope="row"') == 2
    runs = tables.stability_rows(tables.of(smoke_records, "stability", "smoke"))
    assert tables.stability_table(runs).count('scope="row"') == 2


def sweep(wasserstein, js, profile="laptop", kind="stability", runs=100):
    """A record with so many of that many runs of each loss collapsed."""
    all_runs = [{"loss": loss, "collapsed": index < count} for loss, count in (("Wasserstein", wasserstein), ("JS", js))
                for index in range(runs)]
    return SimpleNamespace(kind=kind, metrics={"runs": all_runs}, asked={"profile": profile, "seed": 0})


@pytest.mark.parametrize("wasserstein, js, verdict", [
    (0, 25, "holds"), (10, 25, "holds"), (0, 0, "holds in part"), (10, 15, "holds in part"), (25, 45, "holds in part"),
    (15, 15, "does not hold"), (45, 25, "does not hold")])
def test_the_verdict_on_stability(monkeypatch, wasserstein, js, verdict):
    monkeypatch.setattr(store, "staleness", lambda record: [])
    assert claims.judge_stability([sweep(wasserstein, js)]).verdict == verdict


def test_few_runs_cannot_tell(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])
    found = claims.judge_stability([sweep(0, 1, runs=18)])
    assert found.verdict == NOT_MEASURABLE and "0 of 18 Wasserstein, 1 of 18 JS runs; Fisher" in found.measured
    assert claims.judge_stability([sweep(0, 9, runs=50)] * 2).verdict == "holds"  # two seeds' runs together


def test_no_smoke_run_and_no_toy_enters_the_verdict(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])
    (claim,) = all_claims(PAPER, "wasserstein")
    others = [sweep(25, 0, profile="smoke"), sweep(25, 0, kind="toy")]
    assert claim.judge(claim.admits(others)).verdict == NOT_MEASURED
    assert claim.judge(claim.admits([*others, sweep(0, 25)])).verdict == "holds"
    assert {sizes["dataset"] for profile, sizes in SWEEP.items() if profile != "smoke"} == {"mnist"}


@pytest.mark.full
def test_the_chapter_runs_at_smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    output = tmp_path / f"{CHAPTER}.ipynb"
    values = {"profile": "smoke", "lipschitz": "penalty", "epsilon": "inf"}
    chapters.run_chapter("wasserstein", values, output, timeout=SECONDS, progress=False)
    assert {"share_clip", "share_spectral", "share_penalty", "judge_accuracy"} <= set(chapters.glued(output))
