"""The chapter on audits in small: its parameters, its records and its claim."""

from dataclasses import asdict
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
import torch

from dpgan_lib import data, paths, profiles
from dpgan_lib.book import chapters
from dpgan_lib.gan import state
from dpgan_lib.privacy import accounting
from dpgan_lib.records import checks, verify
from dpgan_lib.records import store as run_store
from dpgan_lib.records.store import staleness
from dpgan_lib.studies import registry
from dpgan_lib.studies.audit import claims, study
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
    ("canaries", 99), ("canaries", 5001), ("canaries", 1000.0), ("seed", -1), ("epsilon", 0.0), ("dataset", "mnits")])
def test_a_wrong_parameter_is_refused_in_one_line(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r}") as refusal:
        parameters_from(asdict(study.Parameters()) | {field: value}, study.Parameters)
    assert "\n" not in str(refusal.value)


def test_every_profile_has_data_and_room_for_its_canaries():
    for profile in profiles.PROFILES:
        parameters = study.Parameters(dataset="digits", profile=profile, epsilon="inf")
        run = study.run_of(parameters)
        assert 4 * run.privacy.records <= data.card("digits").records
        critic = state.new_state(run, torch.device("cpu")).critic
        assert sum(weights.numel() for weights in critic.parameters()) >= study.MOST_CANARIES


def test_the_chapter_shows_the_librarys_defaults():
    shown = chapters.defaults(jupytext.read(chapters.chapter_path("audit")), "07_audit")
    assert shown == asdict(study.Parameters())


@pytest.mark.full
def test_the_chapter_runs_at_smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "07_audit.ipynb"
    chapters.run_chapter("audit", SMALL, output, timeout=60, progress=False)
    for epsilon in (10.0, "inf"):
        address = study.STUDY.address(study.Parameters(**SMALL, epsilon=epsilon))
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
def test_a_record_holds_both_auditors_and_the_controls(records):
    private, plain = records[10.0].metrics, records["inf"].metrics
    assert set(private["audits"]) == set(plain["audits"]) == {"knows the data", "sees releases"}
    assert all(outcome["epsilon"] <= 10 for outcome in private["audits"].values())
    assert plain["audits"]["knows the data"]["epsilon"] > study.BROKEN_CLAIM
    assert plain["alone"] == {} and private["alone"]["correct"]["refuted"] == 0
    assert max(private["alone"]["bounds"]) <= 10


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
