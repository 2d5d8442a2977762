"""What the benchmark's records say: small timings, ratios by hand, the targets' outcomes, refusals in one line."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from dpgan_lib import cli
from dpgan_lib.book import chapters
from dpgan_lib.records.provenance import MEASURING, measuring_source, provenance
from dpgan_lib.records.store import CHANGED, published, staleness
from dpgan_lib.studies.cost import bench, claims, study, tables
from dpgan_lib.studies.cost.tables import BOTH, PLAIN, REAL
from dpgan_lib.studies.cost.ways import WAYS
from dpgan_lib.studies.verdicts import NOT_MEASURED

CHANGED_SINCE = {MEASURING: {"kind": "benchmark", "sha256": "0" * 64}}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    return tmp_path / "runs"


def measured(loop=120.0, real=1.2, both=1.5, hooks=5.0, run=1.4) -> dict:
    """A benchmark whose plain steps take 10 ms and hold 100 bytes."""
    ways = {PLAIN: 10.0, REAL: 10 * real, BOTH: 10 * both, "Opacus, hooks": 10 * hooks, "Opacus, ghost": 40.0}
    steps = [{"critic": critic, "batch": batch, "way": way, "milliseconds": time, "quartiles": [time, time],
              "repeats": 5, "peak_bytes": 100 if way == PLAIN else 110}
             for critic in bench.CRITICS for batch in bench.BATCHES for way, time in ways.items()]
    steps.append(steps[0] | {"way": "explicit loop", "milliseconds": loop})
    runs = [{"profile": profile, "is_private": is_private, "steps": 100, "seconds": run if is_private else 1.0}
            for profile in bench.RUN_STEPS for is_private in (True, False)]
    scaling = [{"factor": factor, "value": value, "parameters": value * 10, "way": PLAIN, "milliseconds": value**2,
                "peak_bytes": value} for factor, values in bench.SCALES.items() for value in values]
    return {"config": bench.config(), "seconds": 1.0,
            "provenance": provenance({MEASURING: measuring_source("cost", "benchmark")}, gpu="none")
            | {"trained_on": "CPU, 2 threads"},
            "metrics": {"steps": steps, "runs": runs, "scaling": scaling, "hot_loop": [], "device_check": {}}}


def write(content: dict, quality: dict):
    """The record of such a benchmark. quality: what follows accuracy over time."""
    return study.benchmark(content | {"metrics": content["metrics"] | {"quality": quality}})


def test_ratios_are_of_the_same_step(store):
    record = write(measured(), {})
    assert tables.ratio(record, "MNIST", 128, REAL) == pytest.approx(1.2)
    assert tables.ratio(record, "CelebA", 2048, "Opacus, hooks", over=REAL) == pytest.approx(5 / 1.2)
    assert tables.ratio(record, "MNIST", 512, REAL, of="peak_bytes") == pytest.approx(1.1)
    assert tables.ratio(record, "MNIST", 512, "explicit loop") is None
    assert tables.run_ratio(record, "laptop") == pytest.approx(1.4)


def test_targets_are_met_or_missed_and_none_is_left_out(store):
    rows = tables.targets(write(measured(), {}))
    outcome = {row["what"]: row["met"] for row in rows}
    assert len(rows) == 1 + 5 * 6 + 3
    assert outcome["time, real half clipped, MNIST, batch 128"] is True
    assert outcome["time of Opacus, ghost, over ours, MNIST, batch 128"] is True
    assert outcome["a whole run, laptop profile"] is False
    slow = {row["what"]: row["met"] for row in tables.targets(write(measured(real=1.3, hooks=3.0), {}))}
    assert slow["time, real half clipped, MNIST, batch 128"] is False
    assert slow["time of Opacus, hooks, over ours, CelebA, batch 512"] is False


def test_a_gpu_has_targets_of_its_own(store):
    given = measured(real=1.2)
    given["provenance"] |= {"hardware": given["provenance"]["hardware"] | {"gpu": "a large one"}}
    given["metrics"]["device_check"] = {"MNIST": 1e-6}
    outcome = {row["what"]: row for row in tables.targets(write(given, {}))}
    assert outcome["time, real half clipped, MNIST, batch 128"]["target"] == "at most 1.15"
    assert outcome[tables.PAPER]["measured"] == pytest.approx(1.4 / 100 * 450_000 / 60)
    assert tables.DIFFERENCE == 1e-4 and any(row["measured"] == 1e-6 for row in outcome.values())


def test_pages_show_a_missed_target_and_an_unmeasured_gpu(store):
    record = write(measured(), {})
    assert tables.targets_table(record).count("<strong>missed</strong>") == 3
    assert "not measured" in tables.targets_table(None) and "dpgan bench" in tables.targets_table(None)
    assert tables.summary(record).count("MISSED") == 3


@pytest.mark.parametrize("values, verdict", [
    ({"loop": 120.0, "run": 1.4}, "holds in part"), ({"loop": 120.0, "run": 11.0}, "holds"),
    ({"loop": 50.0, "run": 1.4}, "does not hold")])
def test_the_verdict_on_the_tenfold(store, values, verdict):
    assert claims.judge_tenfold([write(measured(**values), {})]).verdict == verdict


def test_the_verdict_needs_a_benchmark():
    assert claims.judge_tenfold([]).verdict == NOT_MEASURED


def test_a_power_is_found(store):
    x, y = tables.scaling(write(measured(), {}), "batch")[PLAIN]
    assert tables.exponent(x, y) == pytest.approx(2)


def test_seconds_to_an_accuracy_that_is_or_is_not_reached(store):
    rows = [{"epsilon": "inf", "step": 200 * (i + 1), "seconds": 10.0 * i, "accuracy": a}
            for i, a in enumerate([0.2, 0.5, 0.4])]
    curve, = tables.quality(write(measured(), {"rows": rows}))
    assert (tables.seconds_to(curve, 0.4), tables.seconds_to(curve, 0.6)) == (10.0, None)
    assert "not reached" in tables.quality_table([curve])


def test_a_benchmark_is_stale_when_what_it_timed_has_changed(store):
    content = measured()
    assert staleness(write(content, {})) == []
    content["provenance"]["sources"] = CHANGED_SINCE
    assert staleness(write(content, {})) == [CHANGED[MEASURING]]


def test_the_state_of_every_machine_is_told(store, monkeypatch):
    monkeypatch.setenv("DPGAN_PUBLISHED", str(store))
    assert [line.split("  ")[-1][:7] for line in study.STUDY.states()] == ["missing", "missing"]
    write(measured(), {})
    first, second = study.STUDY.states()
    assert first.endswith("2 threads  current") and "GPU" in second and "missing" in second


def test_publishing_keeps_a_stale_record_of_a_machine_that_has_no_current_one(store, monkeypatch, tmp_path_factory):
    """A borrowed GPU's timings cannot be computed again: they stay, and are shown as stale."""
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path_factory.mktemp("published")))
    gpu, changed = measured(), measured()
    gpu["provenance"] |= {"hardware": gpu["provenance"]["hardware"] | {"gpu": "a large one"}, "sources": CHANGED_SINCE}
    changed["provenance"]["sources"] = CHANGED_SINCE
    changed["config"] |= {"batches": [64]}
    kept, _ = write(gpu, {}), write(changed, {})
    here = write(measured(), {})
    assert {record.run_id for record in study.STUDY.to_publish()} == {kept.run_id, here.run_id}


def test_timings_of_another_machine_become_a_record(store, tmp_path):
    given = json.loads(json.dumps(measured()))
    assert study.benchmark(given).metrics["quality"] == {}


@pytest.mark.filterwarnings("ignore:.*full backward hook:UserWarning", "ignore:.*non-full backward hook:FutureWarning")
def test_a_step_is_timed_in_every_way_that_needs_no_compiler():
    model = replace(bench.CRITICS["MNIST"], critic_width=4)
    ways = [way for way in WAYS if "compiled" not in way]
    rows = bench.time_steps(model, 16, ways, seconds=0.01)
    assert [row["way"] for row in rows] == ways
    assert all(row["milliseconds"] > 0 and row["peak_bytes"] > 0 and row["repeats"] == bench.REPEATS[0] for row in rows)


def test_peak_memory_counts_what_a_step_holds():
    assert bench.peak_bytes(lambda: torch.ones(1000) + torch.ones(1000)) == 3 * 4 * 1000


def test_the_benchmarked_run_is_the_profiles_own():
    config = bench.run_config("laptop", True)
    assert config.optimiser.clip_fakes and tables.HEADLINE == ("MNIST", config.privacy.expected_batch)
    assert bench.CRITICS["MNIST"] == config.model


@pytest.mark.parametrize("values, words", [({"critic": "mnist"}, "critic='mnist'"), ({"batch": 100}, "batch=100")])
def test_a_step_that_was_not_benchmarked_is_refused_in_one_line(values, words):
    with pytest.raises(ValueError, match=words) as refusal:
        study.Parameters(**values).check()
    assert "\n" not in str(refusal.value)


def test_timing_needs_torch_numpy_and_safetensors_alone():
    others = ("scipy", "sklearn", "dp_accounting", "matplotlib", "click", "tqdm", "opacus", "papermill", "pandas")
    code = (f"import sys; sys.modules.update(dict.fromkeys({others!r})); from dpgan_lib.studies.cost import bench;"
            "print([way for way in bench.WAYS if 'Opacus' in way and bench._is_possible(way)])")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.full
def test_the_chapters_assertions_hold_at_another_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "06_cost.ipynb"
    chapters.run_chapter("cost", {"critic": "CelebA", "batch": 128}, output, timeout=120, progress=False)
    assert chapters.glued(output)["critic"] == "CelebA"


# What came from another machine

def measured_elsewhere() -> dict:
    """What the bench would have left on the machine of a published record."""
    content = published("cost")[0].content
    return {"config": content["config"], "metrics": content["metrics"], "provenance": content["provenance"],
            "seconds": content["seconds"]["benchmark"]}


def test_a_whole_file_of_the_bench_is_read(tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(measured_elsewhere()))
    assert study.read_measured(path) == measured_elsewhere()


def test_a_file_of_the_bench_cut_anywhere_is_one_line_with_its_path(tmp_path):
    path, text = tmp_path / "measured.json", json.dumps(measured_elsewhere())
    for cut in range(0, len(text), len(text) // 10):
        path.write_text(text[:cut])
        is_refused(path)


@pytest.mark.parametrize("change", [
    lambda measured: [measured], lambda measured: {}, lambda measured: measured | {"metrics": {}},
    lambda measured: measured | {"metrics": []}, lambda measured: measured | {"provenance": {}},
    lambda measured: measured | {"provenance": {"hardware": measured["provenance"]["hardware"]}},
    lambda measured: measured | {"seconds": "ten"}, lambda measured: measured | {"seconds": math.nan},
    lambda measured: {name: value for name, value in measured.items() if name != "seconds"}])
def test_another_file_than_the_benchs_is_one_line_with_its_path(tmp_path, change):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(change(measured_elsewhere())))
    is_refused(path)


def is_refused(path):
    refused = CliRunner().invoke(cli.main, ["bench", "--measured", str(path)])
    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1), refused.exception
    assert f"{path} is not what the bench leaves" in refused.stderr and "run `python -m" in refused.stderr
