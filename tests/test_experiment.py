"""From parameters to a record: refusals in one line, noise that never overshoots, records instead of training."""

import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from dpgan_lib import cli, data, paths, remote
from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy import accounting, calibration
from dpgan_lib.privacy.streams import stream
from dpgan_lib.records import locks
from dpgan_lib.records.store import RECORDS_ONLY, published, staleness
from dpgan_lib.studies.mnist_tradeoff import study
from dpgan_lib.studies.mnist_tradeoff.study import STUDY, Parameters
from dpgan_lib.studies.parameters import RunParameters, parameters_from, plan_run
from dpgan_lib.studies.study import WEIGHTS, Plan, generator_of
from dpgan_lib.studies.wasserstein import study as toy_study

SMOKE = {"dataset": "digits", "profile": "smoke"}

REFUSED = [
    ({"epsilon": "three"}, "epsilon='three'"), ({"epsilon": True}, "epsilon=True"), ({"epsilon": 0}, "epsilon=0"),
    ({"epsilon": -1.0}, "epsilon=-1.0"), ({"epsilon": math.nan}, "epsilon=nan"), ({"delta": 0.001}, "1/N"),
    ({"delta": 0.0}, "delta=0.0"), ({"delta": "1e-5"}, "delta='1e-5'"), ({"dataset": "mnits"}, "Did you mean 'mnist'"),
    ({"profile": "labtop"}, "Did you mean 'laptop'"), ({"seed": 1.5}, "seed=1.5"), ({"seed": -1}, "seed=-1"),
    ({"seed": True}, "seed=True"), ({"info_weight": -0.1}, "info_weight=-0.1"), ({"info_weight": math.nan}, "nan"),
    ({"epsilon": 10**400}, "epsilon"), ({"dataset": ["mnist"]}, "dataset=['mnist']"),
    ({"profile": ["laptop"]}, "profile=['laptop']"),
]


@pytest.mark.parametrize("values, words", REFUSED)
def test_a_wrong_parameter_is_refused_in_one_line(values, words):
    with pytest.raises(ValueError) as refusal:
        plan_run(RunParameters(**SMOKE | values))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_notebook_refuses_an_unknown_name_and_suggests_the_nearest():
    shell = {"In": [], "_": 1, "_i1": "", "_ih": [], "__name__": "__main__"}
    for wrong in ("epsilno", "_epsilon", "Epsilon"):
        with pytest.raises(ValueError, match=f"{wrong}.*Did you mean 'epsilon'"):
            parameters_from(shell | SMOKE | {wrong: 2})
    assert parameters_from(shell | SMOKE) == RunParameters(**SMOKE)


def run_id(asked):
    return Plan(run=plan_run(asked), card=data.card(asked.dataset)).address


@pytest.mark.parametrize("given, meant", [
    ({"delta": "1e-6"}, {"delta": 1e-6}),
    pytest.param({"epsilon": "1e1"}, {"epsilon": 10.0}, marks=pytest.mark.full),
    ({"epsilon": "inf"}, {"epsilon": "inf"}), ({"info_weight": "0"}, {"info_weight": 0.0}),
    ({"epsilon": 2}, {"epsilon": 2})])
def test_a_text_from_a_file_of_parameters_that_spells_a_number_is_that_number(given, meant):
    """YAML reads 1e-6 and 1e1, without a point, as texts."""
    parameters = parameters_from(SMOKE | given)
    assert {name: getattr(parameters, name) for name in meant} == meant
    assert plan_run(parameters) == plan_run(RunParameters(**SMOKE | meant))


@pytest.mark.parametrize("given, says", [
    ({"epsilon": math.inf}, 'epsilon=inf must be the text "inf"'),
    ({"epsilon": "two"}, "epsilon='two' must be a number"), ({"epsilon": None}, "epsilon=None must be a number"),
    ({"epsilon": "nan"}, "epsilon='nan' must be a number"), ({"delta": "inf"}, "delta='inf' must lie in"),
    ({"seed": "0o7"}, "seed='0o7' must be a whole number"),
    ({"sweep": {"a": [1, 2]}}, "parameter='sweep' is unknown")])
def test_what_a_file_of_parameters_cannot_mean_is_refused_in_one_line(given, says):
    with pytest.raises(ValueError) as refusal:
        parameters_from(SMOKE | given)
    assert str(refusal.value).startswith(says) and "\n" not in str(refusal.value)


def test_two_spellings_of_a_number_name_one_run():
    runs = [run_id(RunParameters(**SMOKE, epsilon=epsilon)) for epsilon in (2, 2.0)]
    assert runs[0] == runs[1]
    assert plan_run(RunParameters(**SMOKE, epsilon=math.inf)) == plan_run(RunParameters(**SMOKE, epsilon="inf"))


def test_an_epsilon_that_no_noise_reaches_is_refused_not_clamped():
    with pytest.raises(ValueError, match="epsilon"):
        plan_run(RunParameters(**SMOKE, epsilon=1e-5))


@pytest.mark.parametrize("epsilon", [0.5, 3, 10.0])
def test_the_planned_noise_spends_no_more_than_asked(epsilon):
    privacy = plan_run(RunParameters(**SMOKE, epsilon=epsilon)).privacy
    spent = accounting.epsilons(noise_multiplier=privacy.noise_multiplier, sampling_rate=privacy.sampling_rate,
                                steps=privacy.steps, delta=privacy.delta)
    assert 0.9 * epsilon < spent["pld"] <= epsilon <= spent["rdp"] <= spent["moments"]
    assert privacy.is_private


def test_no_privacy_is_no_noise_and_no_clipping():
    privacy = plan_run(RunParameters(**SMOKE, epsilon="inf")).privacy
    assert (privacy.noise_multiplier, privacy.clip_norm, privacy.epsilon) == (0, math.inf, math.inf)
    assert privacy.sampling_rate == plan_run(RunParameters(**SMOKE)).privacy.sampling_rate
    assert not privacy.is_private


@pytest.mark.parametrize("epsilon", [3.0, "inf"])
def test_a_configuration_survives_strict_json(epsilon):
    config = plan_run(RunParameters(**SMOKE, epsilon=epsilon))
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict(), allow_nan=False))) == config


def test_a_plan_and_a_run_id_open_no_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("data was opened"))
    assert run_id(RunParameters(**SMOKE)) == run_id(RunParameters(**SMOKE))
    others = [RunParameters(**SMOKE, **other) for other in ({"epsilon": 3.0}, {"seed": 1}, {"info_weight": 0.0})]
    assert len(set(map(run_id, [RunParameters(**SMOKE), *others]))) == 4


TINY = Parameters(**SMOKE, method="dp_sgd", epsilon=3.0)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of its own, and runs of the study that take no time."""
    run_of = study.run_of
    monkeypatch.delenv(RECORDS_ONLY, raising=False)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.setattr(study, "run_of", lambda asked: replace(
        run_of(asked), privacy=replace(run_of(asked).privacy, steps=4),
        evaluation=EvaluationConfig(images=200, cnn_steps=2)))
    return paths.runs()


def test_a_run_is_computed_once_then_found_and_its_record_is_whole(store, monkeypatch):
    record = STUDY.obtain(TINY, progress=False)
    monkeypatch.setattr(loop, "critic_step", lambda *_: pytest.fail("trained again"))
    assert STUDY.obtain(TINY, progress=False) == record
    assert record.config == study.run_of(TINY) and STUDY.asked_of(record) == TINY and staleness(record) == []
    assert not list(store.glob("mnist_tradeoff/.*")), "the work folder is gone"
    assert len(record.metrics["synthetic"]["pairs"]) == 45 and 0 <= record.metrics["synthetic"]["ten_cnn"] <= 1


def test_where_only_records_count_a_missing_one_is_an_error(store, monkeypatch):
    monkeypatch.setenv(RECORDS_ONLY, "1")
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("data was opened"))
    with pytest.raises(RuntimeError, match="forbids to compute"):
        STUDY.obtain(TINY, progress=False)


def test_a_stopped_run_gives_no_record_and_goes_on_later(store):
    assert STUDY.obtain(TINY, max_minutes=0, progress=False) is None
    assert STUDY.obtain(TINY, progress=False) is not None


def test_a_run_laid_out_for_another_machine_is_finished_here(store, monkeypatch):
    folder = STUDY.prepare(TINY)
    monkeypatch.setattr("sys.argv", ["remote", str(folder)])
    remote.main()
    monkeypatch.setattr(loop, "critic_step", lambda *_: pytest.fail("trained again"))
    assert STUDY.obtain(TINY, progress=False).run_id == STUDY.address(TINY)


def laid_out(folder, *runs):
    """Prepared runs, moved to another machine's folder."""
    folder.mkdir()
    return [prepared.rename(folder / prepared.name) for prepared in map(STUDY.prepare, runs)]


def remote_all(folder, monkeypatch, *options) -> int:
    monkeypatch.setattr("sys.argv", ["remote", "--all", str(folder), *options])
    with pytest.raises(SystemExit) as ended:
        remote.main()
    return ended.value.code


def test_all_runs_of_a_folder_are_trained_elsewhere_and_collected_here(store, monkeypatch, tmp_path):
    runs = [TINY, replace(TINY, seed=1)]
    box = tmp_path / "box"
    laid_out(box, *runs)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path / "box_home"))  # there is no store
    assert remote_all(box, monkeypatch, "--max-minutes", "1e-9") == 75
    assert remote_all(box, monkeypatch) == 0
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    whole = [STUDY.obtain(run, progress=False) for run in runs]
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path / "collected"))
    monkeypatch.setattr(loop, "critic_step", lambda *_: pytest.fail("trained again"))
    said = CliRunner().invoke(cli.main, ["--quiet", "collect", str(box)])
    assert said.exit_code == 0, said.output
    collected = [STUDY.find(run) for run in runs]
    assert sorted(said.stdout.split()) == sorted(str(record.folder) for record in collected)
    assert [(each.run_id, each.metrics, each.content["artefacts"]) for each in collected] == [
        (each.run_id, each.metrics, each.content["artefacts"]) for each in whole]
    assert CliRunner().invoke(cli.main, ["collect", str(box)]).exit_code == 0, "collected twice"


def test_a_run_that_cannot_be_trained_or_collected_spoils_no_other(store, monkeypatch, tmp_path, capsys):
    cut, whole, other, untrained = laid_out(tmp_path / "box", TINY, *(replace(TINY, seed=seed) for seed in (1, 2, 3)))
    (cut / "data.npz").write_bytes(b"")
    assert remote_all(tmp_path / "box", monkeypatch) == 1
    said = capsys.readouterr()
    assert said.err.startswith(str(cut)) and said.err.count("\n") == 1 and said.out.count("4 of 4") == 3
    (untrained / "checkpoint.safetensors").unlink()
    other.rename(other.with_name(".work-other"))
    said = CliRunner().invoke(cli.main, ["--quiet", "collect", str(tmp_path / "box")])
    lines = said.stdout.splitlines()
    assert said.exit_code == 1 and sum(line.startswith("hole: .work") for line in lines) == 3 and len(lines) == 4
    assert STUDY.find(replace(TINY, seed=1)) is not None
    for name, reason in ((cut.name, "0 of 4"), (untrained.name, "0 of 4"), (".work-other", "laid out")):
        assert reason in next(line for line in lines if f"hole: {name}:" in line)


def test_what_lacks_steps_is_no_record(store, monkeypatch, tmp_path):
    laid_out(tmp_path / "box", TINY)
    assert remote_all(tmp_path / "box", monkeypatch, "--max-minutes", "1e-9") == 75
    said = CliRunner().invoke(cli.main, ["--quiet", "collect", str(tmp_path / "box")])
    assert said.exit_code == 1 and "2 of 4 critic steps: train it on" in said.stdout
    [run] = (tmp_path / "box").iterdir()
    (run / "checkpoint.safetensors").write_bytes(b"cut")
    said = CliRunner().invoke(cli.main, ["--quiet", "collect", str(tmp_path / "box")])
    assert said.exit_code == 1 and "is cut" in said.stdout


@pytest.mark.parametrize("command", ["remote", "collect"])
def test_a_folder_without_a_prepared_run_is_refused_in_one_line(tmp_path, monkeypatch, capsys, command):
    if command == "remote":
        assert remote_all(tmp_path, monkeypatch) == 2
        line = capsys.readouterr().err
    else:
        refused = CliRunner().invoke(cli.main, ["collect", str(tmp_path)])
        assert refused.exit_code == 2
        line = refused.stderr
    assert "does not hold a prepared run" in line and line.count("\n") == 1


def test_a_folder_for_another_machine_that_is_absent_or_cut_is_one_line(tmp_path, monkeypatch, capsys):
    plan = plan_run(RunParameters(**SMOKE, epsilon="inf"))
    whole = {"run.json": json.dumps(plan.to_dict()).encode(), "data.npz": None}
    np.savez(tmp_path / "data.npz", images=np.zeros((4, 1, 28, 28), np.uint8), labels=np.zeros(4))
    whole["data.npz"] = (tmp_path / "data.npz").read_bytes()
    folders = [tmp_path / "absent"]
    for name, content in whole.items():
        for tenth in range(10):
            folder = tmp_path / f"{name}-{tenth}"
            folder.mkdir()
            for each, bytes_ in whole.items():
                (folder / each).write_bytes(bytes_[: len(bytes_) * tenth // 10] if each == name else bytes_)
            folders.append(folder)
    for folder in folders:
        monkeypatch.setattr("sys.argv", ["remote", str(folder)])
        with pytest.raises(SystemExit) as stopped:
            remote.main()
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and str(folder) in error and error.count("\n") == 1


# The same run twice at once

POINT = toy_study.Parameters(profile="smoke", epsilon="inf")


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A study whose measuring takes a second, and the list of those that were begun."""
    monkeypatch.delenv(RECORDS_ONLY, raising=False)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    begun = []

    def measure(*_):
        begun.append(True)
        time.sleep(1)
        return {"begun": len(begun)}, {}

    return replace(toy_study.STUDY, measure=measure), begun


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_is_asked_for_twice_at_once_is_computed_once(slow, fresh, capsys):
    study, begun = slow
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: study.obtain(POINT, fresh=fresh, progress=False), range(2))
    assert first == second and len(begun) == 1
    assert capsys.readouterr().err.startswith(f"waiting for process {os.getpid()} on ")


def test_who_waited_for_a_process_that_left_nothing_computes_the_run(slow):
    study, begun = slow
    old = study.obtain(POINT, progress=False)
    with ThreadPoolExecutor(1) as pool:
        with locks.held(paths.runs() / ".locks" / f"wasserstein-{old.run_id}"):
            waiting = pool.submit(study.obtain, POINT, fresh=True, progress=False)
            time.sleep(0.5)
        assert (old.metrics, waiting.result().metrics) == ({"begun": 1}, {"begun": 2})


def test_a_private_run_on_real_mnist_learns_and_on_shuffled_labels_it_does_not(real_mnist, tmp_path):
    """500 private critic steps at epsilon 10 against the same run on shuffled labels."""
    config = plan_run(RunParameters(profile="smoke", epsilon=10.0))
    noise = calibration.calibrate_noise(epsilon=10.0, delta=1e-5, sampling_rate=config.privacy.sampling_rate, steps=500)
    config = replace(config, privacy=replace(config.privacy, steps=500, noise_multiplier=noise))
    files = real_mnist
    shuffled = np.random.default_rng(0).permutation(files.train_labels)
    learnt, control = (accuracy(config, files, labels, tmp_path / name)
                       for name, labels in (("learnt", files.train_labels), ("control", shuffled)))
    # Chance is 0.10; the control cannot know which digit is which.
    assert control < 0.2 and learnt > control + 0.15


def accuracy(config, files, labels, folder):
    state = loop.train(config, files.train_images, labels, folder)
    asked = np.arange(2000) % 10
    images = classifiers.synthesise(state.average, config.latent, asked, stream(config.hash, "evaluation"))
    cnn = classifiers.train_cnn(images, asked, 60, np.random.default_rng(0))
    return classifiers.cnn_accuracy(cnn, files.test_images, files.test_labels)


def test_weights_of_a_record_cut_anywhere_are_one_line_with_their_path(tmp_path):
    record = next(record for record in published("mnist_tradeoff") if WEIGHTS in record.content["artefacts"])
    whole = (record.folder / WEIGHTS).read_bytes()
    damaged = replace(record, folder=tmp_path)
    for content in [whole[:cut] for cut in range(0, len(whole), len(whole) // 10)][:10] + [whole + b"x"]:
        (tmp_path / WEIGHTS).write_bytes(content)
        with pytest.raises(ValueError, match=f"{WEIGHTS} does not hold the weights of its record") as refusal:
            generator_of(damaged)
        assert "\n" not in str(refusal.value)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="restore it with git, or compute the record again"):
        generator_of(damaged)
