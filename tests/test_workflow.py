"""The grids on Snakemake: one job a cell, killed and resumed to the same bits, and profiles that it accepts."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from click.testing import CliRunner

from dpgan_lib import cli, paths
from dpgan_lib.records import store
from dpgan_lib.studies import registry, sweep

ROOT = Path(__file__).resolve().parent.parent
SNAKEMAKE = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--cores", "2"]
KILLS = int(os.environ.get("DPGAN_TEST_KILLS", 2))  # while a cell is trained; set it to 20 to be thorough
SMALL = {"profile": "smoke", "dataset": "digits"}
INFOGAN = "mutual_information/infogan"  # a study that keeps checkpoints
CODES, WITHOUT_PRIVACY = "mutual_information/run", SMALL | {"epsilon": "inf"}  # one that keeps generators too
STABILITY = "wasserstein/stability"  # one that plans at once


def words(study: str, given: dict, *targets: str, options=()) -> list[str]:
    return [*SNAKEMAKE, *options, "--config", f"study={study}", f"parameters={json.dumps(given)}", "--", *targets]


def snakemake(study: str, given: dict, *targets: str, options=()) -> str:
    done = subprocess.run(words(study, given, *targets, options=options), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left(records: list[str]) -> list:
    """What records say, but for times and places."""
    found = [store.read(Path(record).parent) for record in records]
    assert all(record and store.staleness(record) == [] for record in found)
    return [(record.run_id, record.metrics, record.content["artefacts"], record.content["history"]) for record in found]


@contextmanager
def threads(count: int):
    """As many as a job has: with others, sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.mark.full
def test_a_grid_killed_again_and_again_leaves_the_records_of_one_that_was_not(home, monkeypatch, tmp_path_factory):
    """All processes are killed at once; or Snakemake alone, and its job goes on. Each cell meets both."""
    targets = [cell["record"] for cell in sweep.cells(INFOGAN, SMALL)][: max(1, KILLS // 2)]
    for kill in range(KILLS):
        process = psutil.Popen(words(INFOGAN, SMALL, targets[kill // 2 % len(targets)]), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
        started = time.time()
        while process.poll() is None and not any(path.stat().st_mtime > started for path in
                                                 paths.runs().glob(".locks/*")):
            time.sleep(0.01)
        time.sleep(random.Random(kill).uniform(0, 4))
        with suppress(ProcessLookupError):  # it was faster
            process.kill() if kill % 2 else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    snakemake(INFOGAN, SMALL, *targets)
    killed = left(targets)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("whole")))
    study, whole = registry.study(INFOGAN), sweep.cells(INFOGAN, SMALL)[: len(targets)]
    for cell in whole:
        with threads(cell["threads"]):
            study.obtain(study.asked(**cell["parameters"]), progress=False)
    assert not {cell["record"] for cell in whole} & set(targets)
    assert left([cell["record"] for cell in whole]) == killed


@pytest.mark.full
def test_a_job_that_ends_at_its_slice_is_tried_again_from_its_checkpoint(home):
    target = sweep.cells(INFOGAN, SMALL)[0]["record"]
    slices = ["--retries", "50", "--set-resources", 'train:minutes="0.01"']  # some steps of thirty
    said = snakemake(INFOGAN, SMALL, target, options=slices)
    assert "non-zero exit status 75" in said and left([target])
    written = Path(target).stat().st_mtime_ns
    assert "Nothing to be done" in snakemake(INFOGAN, SMALL, target, options=slices)
    assert Path(target).stat().st_mtime_ns == written


@pytest.mark.full
@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_snakemake_accepts_a_clusters_profile(home, profile):
    options = ["--dryrun", "--profile", str(ROOT / "workflow" / "profiles" / profile)]
    said = snakemake(STABILITY, {"profile": "smoke"}, "grid", options=options)
    assert f"profiles/{profile}" in said and "train        3" in said
    assert not list(home.glob("runs/**/record.json"))


def test_a_study_that_is_unknown_is_one_line(home):
    refused = subprocess.run(words("no_study", {}, "grid"), capture_output=True, text=True)
    assert refused.returncode == 2 and "'no_study' is no study" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.full
def test_a_job_on_another_machine_plans_nothing(home):
    """As an executor starts it there: with its target, from the list that was made before."""
    snakemake(STABILITY, {"profile": "smoke"}, "grid", options=["--dryrun"])
    [planned] = home.glob("build/cells/*.json")
    made, cell = planned.stat().st_mtime_ns, json.loads(planned.read_text())[0]
    remote = ["--mode", "remote", "--force", "--allowed-rules", "train", "--target-jobs", f"train:run={cell['run']}"]
    snakemake(STABILITY, {"profile": "smoke"}, options=remote)
    assert Path(cell["record"]).is_file() and planned.stat().st_mtime_ns == made


@pytest.fixture
def stale(home):
    """A record that its training has left behind, or its measuring alone: stale(part) gives its file."""
    cell = sweep.cells(CODES, WITHOUT_PRIVACY)[0]
    study = registry.study(CODES)
    record = study.obtain(study.asked(**cell["parameters"]), progress=False)

    def changed(part: str) -> Path:
        content = json.loads((record.folder / store.RECORD).read_text())
        content["provenance"]["sources"][part]["sha256"] = "0" * 64
        content[store.DIGEST] = store.content_digest(content)
        (record.folder / store.RECORD).write_text(json.dumps(content))
        return record.folder / store.RECORD

    return changed


@pytest.mark.full
def test_what_is_stale_is_trained_or_measured_and_kept_until_then(stale, monkeypatch):
    for part, rule in (("measuring", "measure"), ("training", "train")):
        record = stale(part)
        [cell] = [each for each in sweep.cells(CODES, WITHOUT_PRIVACY) if each["record"] == str(record)]
        assert cell["state"] == rule
        asked = words(CODES, WITHOUT_PRIVACY, str(record))
        if rule == "train":
            old = record.read_bytes()
            with monkeypatch.context() as patch:
                patch.setenv("DPGAN_RECORDS_ONLY", "1")  # so that the job fails
                assert subprocess.run(asked, capture_output=True).returncode and record.read_bytes() == old
        done = subprocess.run(asked, capture_output=True, text=True)
        assert done.returncode == 0 and f"rule {rule}:" in done.stdout + done.stderr
        assert left([str(record)])


@pytest.mark.full
def test_a_chapter_is_executed_by_the_name_of_its_output(home):
    chapter = "notebooks/12_questions_eps2.ipynb"
    snakemake("mnist_tradeoff/ceiling", {}, chapter)
    sources = ["".join(cell["source"]) for cell in json.loads((home / "build" / chapter).read_text())["cells"]]
    assert any("epsilon = 2.0" in source for source in sources)


@pytest.mark.full
def test_the_report_shows_the_grid_with_its_holes(home):
    small = {"profile": "smoke"}
    computed, *holes = sweep.cells(STABILITY, small)
    study = registry.study(STABILITY)
    study.obtain(study.asked(**computed["parameters"]), progress=False)
    snakemake(STABILITY, small, "table")
    [table] = home.glob("build/cells/*.html")
    rows = [row for row in table.read_text().split("<tr>") if "<td>" in row]
    assert [("current" in row, "hole" in row) for row in rows] == [(True, False)] + [(False, True)] * len(holes)
    snakemake(STABILITY, small, "table", options=["--report", "report.html"])
    assert table.name in (home / "build" / "report.html").read_text()


# What the rules are made of

def test_a_cells_parameters_are_the_commands():
    """Every cell of every grid, given to `dpgan train` as the Snakefile gives it, is that cell."""
    for study in registry.every():
        for asked in study.grid:
            given = [(name, str(value)) for name, value in store.strict(asdict(asked)).items()]
            assert study.asked(**cli._fitted(given, cli._known(study), study.chapter)) == asked


def test_cells_are_those_of_the_grid_at_the_size_that_was_asked_for(home):
    grid = registry.study(STABILITY).grid
    cells = json.loads(CliRunner().invoke(cli.main, ["cells", STABILITY, "-p", "profile", "smoke"]).stdout)
    assert [cell["parameters"] for cell in cells] == [asdict(replace(asked, profile="smoke")) for asked in grid]
    assert {(cell["study"], cell["state"], cell["minutes"]) for cell in cells} == {(STABILITY, "train", 10)}
    assert len(sweep.cells(STABILITY, {"seed": 1})) == 1


@pytest.mark.parametrize("given, line", [(["nothing"], "is no study with a grid"),
                                         ([STABILITY, "-p", "sead", "1"], "did you mean 'seed'"),
                                         (["wasserstein", "-p", "epsilon", "1"], "no parameter of wasserstein/stab"),
                                         ([STABILITY, "-p", "profile", "huge"], "huge")])
def test_cells_of_nothing_are_refused_in_one_line(given, line):
    refused = CliRunner().invoke(cli.main, ["cells", *given])
    assert refused.exit_code == 2 and line in refused.stderr and refused.stderr.count("\n") == 1


@pytest.mark.parametrize("reasons, again", [([], False), (["source changed"], True)])
def test_train_current_computes_what_is_stale_alone(monkeypatch, reasons, again):
    asked = []
    study = registry.study(STABILITY)
    monkeypatch.setattr(type(study), "obtain", lambda self, cell, fresh, **_: asked.append(fresh))
    monkeypatch.setattr(store, "find", lambda chapter, run: SimpleNamespace())
    monkeypatch.setattr(store, "staleness", lambda record: reasons)
    assert CliRunner().invoke(cli.main, ["train", "--study", STABILITY, "--current"]).exit_code == cli.STOPPED_EARLY
    assert CliRunner().invoke(cli.main, ["train", "--study", STABILITY]).exit_code == cli.STOPPED_EARLY
    assert asked == [again, False]


def test_the_library_does_not_need_snakemake():
    code = "import sys, dpgan_lib.studies.sweep, dpgan_lib.cli; print('snakemake' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
