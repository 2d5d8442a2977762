"""The chapter on audits in small: its parameters, its records and its claim."""

from dataclasses import asdict
from types import SimpleNamespace

import jupytext
import nbformat
import pytest

from dpgan_lib import data, paths, profiles
from dpgan_lib.book import chapters
from dpgan_lib.privacy import accounting, audit
from dpgan_lib.records import checks, verify
from dpgan_lib.records import store as run_store
from dpgan_lib.records.store import staleness
from dpgan_lib.studies import registry
from dpgan_lib.studies.audit import claims, study, tables
from dpgan_lib.studies.parameters import parameters_from
from dpgan_lib.studies.verdicts import NOT_MEASURABLE, NOT_MEASURED

SMALL = dict(dataset="digits", profile="smoke", canaries=200)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def records(store):
    return {epsilon: registry.obtain("audit", study.Parameters(**SMALL, epsilon=epsilon), progress=False)
            for epsilon in (10.0, "inf")}


@pytest.mark.parametrize("field, value", [
    ("canaries", 99), ("canaries", 3901), ("canaries", 1000.0), ("seed", -1), ("epsilon", 0.0), ("dataset", "mnits")])
def test_a_wrong_parameter_is_refused_in_one_line(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}") as refusal:
        parameters_from(asdict(study.Parameters()) | {field: value}, study.Parameters)
    assert "\n" not in str(refusal.value)


def test_every_profile_has_data():
    for profile in profiles.PROFILES:
        for run in (study.run_of(study.Parameters(dataset="digits", profile=profile, epsilon="inf")),
                    study.plan_memorisation(study.Memorisation(dataset="digits", profile=profile, epsilon="inf")).run):
            assert 4 * run.privacy.records <= data.card("digits").records


def test_the_chapter_shows_the_librarys_defaults():
    shown = chapters.defaults(jupytext.read(chapters.chapter_path("audit")), "07_audit")
    assert shown == asdict(study.Parameters())


@pytest.mark.full
def test_the_chapter_runs_at_smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "07_audit.ipynb"
    chapters.run_chapter("audit", SMALL, output, timeout=120, progress=False)
    few = {name: value for name, value in SMALL.items() if name != "canaries"}
    for epsilon in (10.0, "inf"):
        for address in (study.STUDY.address(study.Parameters(**SMALL, epsilon=epsilon)),
                        study.MEMORISATION.address(study.Memorisation(**few, epsilon=epsilon))):
            assert (paths.runs() / "audit" / address).is_dir()
    assert chapters.glued(output)["canaries"] == "200"
    cells = [cell for cell in nbformat.read(output, as_version=4).cells if "mystnb" in cell.metadata]
    assert len(cells) == 4
    assert all("image/png" in shown.data for cell in cells for shown in cell.outputs)


def test_a_plan_spends_what_was_asked_on_the_small_set():
    privacy = study.run_of(study.Parameters(**SMALL, epsilon=3.0)).privacy
    spent = accounting.epsilon_pld(noise_multiplier=privacy.noise_multiplier, sampling_rate=privacy.sampling_rate,
                                   steps=privacy.steps, delta=study.DELTA)
    assert privacy.records == 100 and 0.9 * 3 < spent <= 3 == privacy.epsilon


@pytest.mark.full
def test_a_record_is_found_again_and_verifies(records):
    for epsilon, record in records.items():
        again = registry.obtain("audit", study.Parameters(**SMALL, epsilon=epsilon), progress=False)
        assert again.created == record.created and staleness(record) == []
        assert [check for check in verify.check(record) if check.outcome == checks.FAILED] == []


@pytest.mark.full
def test_a_record_holds_every_estimator_for_both_auditors_and_the_controls(records):
    private, plain = records[10.0].metrics, records["inf"].metrics
    assert set(private["audits"]) == set(plain["audits"]) == {"knows the data", "sees releases"}
    of_each = private["audits"]["knows the data"]["bounds"], private["audits"]["sees releases"]["bounds"]
    assert set(of_each[0]) == set(private["ideal"]) == set(audit.BOUNDS) and len(of_each[0]) + len(of_each[1]) == (
        study.BOUNDS_OF_EACH)
    assert all(bound <= 10 for found in private["audits"].values() for bound in found["together"].values())
    assert (private["claimed"], plain["claimed"]) == (10, study.BROKEN_CLAIM)
    assert max(plain["audits"]["knows the data"]["bounds"].values()) > study.BROKEN_CLAIM
    assert plain["alone"] == {} and private["alone"]["correct"]["refuted"] == 0
    assert 8.5 < private["limit"] < 10


def test_tables_show_every_run_and_estimator():
    """From numbers of a record's shape."""
    bounds = dict.fromkeys(audit.BOUNDS, 1.25)
    ideal = {name: {"median": 1.5, "above": 2, "audits": 40} for name in audit.BOUNDS}
    fit = {"shift": 1.9, "ideal": 2.0, "spread_in": 1.02, "spread_out": 1.01, "length": 1.0}
    found = {"correct": 9, "guesses": 10, "bounds": bounds}
    one = SimpleNamespace(asked={"epsilon": 10.0, "seed": 0}, content={"config": {"seed": 0}},
                          privacy={"epsilon_asked": 10.0}, metrics={
        "claimed": 10.0, "limit": 9.9, "ideal": ideal, "audits": {"knows the data": found | {"fit": fit}},
        "alone": {name: {"refuted": 1, "tests": 10} for name in ("correct", "halved")}})
    page = "".join(table([one]) for table in (
        tables.audits_table, tables.ideal_table, tables.gap_table, tables.controls_table))
    assert page.count("1.25 (1.50)") == 4 and "1.50; 2 of 40" in page and "95.0%" in page and "1 of 10" in page
    assert [row["marks"]["bound"] for row in tables.audit_rows([one])] == [1.25] * 4
    assert 4 < tables.most_above(40) < 10
    seen = SimpleNamespace(metrics={"correct": [{"step": None, "seen": None}], "mutants": {
        name: {"step": step, "seen": None} for name, step in (("late", 12), ("never seen", None), ("early", 1))}})
    rows = tables.mutants_table(seen)
    assert rows.index("0 of 1 runs") < rows.index("early") < rows.index("late") < rows.index("never seen")


# The claim

def judged(share_of_p, learnt=0.8):
    """A record for each epsilon, by its p-value."""
    return [SimpleNamespace(asked={"epsilon": epsilon, "seed": 0},
                            metrics={"nearest": {"p_value": p, "share_nearer": 0.5}, "learnt": learnt})
            for epsilon, p in share_of_p.items()]


@pytest.mark.parametrize("p_values, learnt, verdict", [
    ({1.0: 0.5, "inf": 0.001}, 0.8, "holds"), ({1.0: 0.5, "inf": 0.001}, 0.2, "holds in part"),
    ({1.0: 0.001, "inf": 0.001}, 0.8, "does not hold"), ({1.0: 0.001, "inf": 0.5}, 0.8, NOT_MEASURABLE),
    ({1.0: 0.5, "inf": 0.5}, 0.8, NOT_MEASURABLE), ({1.0: 0.5}, 0.8, NOT_MEASURED),
    ({"inf": 0.001}, 0.8, NOT_MEASURED), ({}, 0.8, NOT_MEASURED)])
def test_the_verdict_on_memorisation(monkeypatch, p_values, learnt, verdict):
    monkeypatch.setattr(run_store, "staleness", lambda record: [])
    assert claims.judge_memorisation(judged(p_values, learnt)).verdict == verdict


def test_many_tests_are_corrected_for():
    assert claims.holm([0.01, 0.02, 0.03], 0.05) == [True, True, True]
    assert claims.holm([0.03, 0.02, 0.04], 0.05) == [False, False, False]  # 0.02 is above 0.05 / 3
    assert claims.holm([0.03, 0.001, 0.02], 0.05) == [True, True, True]  # one after another: 0.05 / 3, / 2, / 1
    assert claims.holm([0.04, 0.001, 0.03], 0.05) == [False, True, False]
    assert claims.holm([], 0.05) == []
