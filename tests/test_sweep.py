"""A study's grid: what is current is kept, what fails is a hole with its reason, and the rest is computed."""

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace

import psutil
import pytest

from dpgan_lib import paths
from dpgan_lib.records import store
from dpgan_lib.studies import registry, study, sweep
from dpgan_lib.studies.wasserstein import study as toy


@dataclass(frozen=True)
class Cell:
    number: int

    def check(self):
        if self.number == 13:
            raise ValueError("number=13 is\nunlucky")


def _compute(parameters, progress):
    """In a process of its own: leaves a mark and dies, or raises, where it is asked to."""
    import os
    from pathlib import Path

    import torch

    Path(os.environ["DPGAN_SWEEP_TEST"], f"{parameters.number}-{torch.get_num_threads()}").touch()
    if parameters.number == 5:
        raise RuntimeError("out of steam")


class Stand(study.Study):
    def address(self, asked):
        return f"run{asked.number}"

    def _compute(self, asked, max_minutes, progress):
        return _compute(asked, progress)


GRID = tuple(map(Cell, (1, 5, 2, 13, 3)))
STUDY = Stand(chapter="stand_in", asked=Cell, grid=GRID, plan=None, measure=None)


@pytest.fixture
def stand_in(monkeypatch):
    known = registry.studies
    monkeypatch.setattr(registry, "studies", lambda name: [STUDY] if name == "stand_in" else known(name))
    found = {"run2": [], "run3": ["older source"]}  # by run id: why it is stale
    monkeypatch.setattr(store, "find", lambda name, run: SimpleNamespace(reasons=found[run]) if run in found else None)
    monkeypatch.setattr(store, "staleness", lambda record: record.reasons)


def test_what_is_current_is_kept(stand_in):
    assert sweep.due("stand_in") == [Cell(1), Cell(5), Cell(13), Cell(3)]


@pytest.mark.parametrize("chapter", ["cost", "accountant", "claims"])  # machines, no records, and no study at all
def test_a_chapter_without_a_grid_is_refused(stand_in, chapter):
    with pytest.raises(ValueError, match=f"'{chapter}' is no study with a grid"):
        sweep.due(chapter)


@pytest.mark.full
def test_cells_are_computed_apart_and_a_failure_is_a_hole(stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("DPGAN_SWEEP_TEST", str(tmp_path))
    monkeypatch.setattr(sweep, "_cell", _cell)
    outcome = dict(sweep.compute("stand_in", sweep.due("stand_in"), jobs=2))
    assert outcome == {Cell(1): None, Cell(3): None, Cell(5): "RuntimeError: out of steam",
                       Cell(13): "ValueError: number=13 is unlucky"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-2", "3-2", "5-2"]  # two threads each


def _cell(name, parameters, jobs):
    """sweep._cell in a new process, where the stand-in must be put in place again."""
    import torch

    registry.studies = lambda name: [STUDY]
    store.find = lambda name, run: None
    torch.set_num_threads(4)  # as if there were so many cores
    sweep_cell(name, parameters, jobs)


sweep_cell = sweep._cell


# A sweep that is killed

POINTS = tuple(toy.Parameters(profile="smoke", epsilon="inf", seed=seed) for seed in (0, 1))
SWEEP = """
from dataclasses import replace
from dpgan_lib.studies import sweep
from dpgan_lib.studies.wasserstein.study import STUDY, Parameters
points = tuple(Parameters(profile="smoke", epsilon="inf", seed=seed) for seed in (0, 1))
due = replace(STUDY, grid=points).due()
for asked, hole in sweep.compute("wasserstein", due, jobs=2):
    print(asked.seed, hole, flush=True)
"""
KILLS = int(os.environ.get("DPGAN_TEST_KILLS", 1))  # while the workers are at work; set it to 20 to be thorough
END = 20  # seconds in which a worker must end, on a busy machine; alone it takes a tenth


def results(folder) -> dict:
    """What is the same whenever and for how long it is computed, by run id."""
    records = [store.read(path.parent) for path in folder.glob("wasserstein/[!.]*/record.json")]
    return {record.run_id: (record.asked, record.content["config"], record.card, record.metrics, record.privacy,
                            record.content["artefacts"], record.provenance["sources"]) for record in records}


@pytest.mark.full
def test_a_sweep_killed_again_and_again_leaves_the_records_of_one_that_was_not(tmp_path, monkeypatch):
    """The parent alone is killed: its workers must end too, and what they had begun be begun anew."""
    command = [sys.executable, "-c", SWEEP]
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path / "killed"))
    for point, delay in enumerate([random.uniform(0, 2), *(random.uniform(0, 1.5) for _ in range(KILLS))]):
        started = time.time()
        parent = psutil.Popen(command, stdout=subprocess.DEVNULL)
        # Once before the workers are at work, perhaps; else while they are, if there is anything left to do.
        while point and parent.poll() is None and not any(
                path.stat().st_mtime > started for path in paths.runs().glob(".locks/*")):
            time.sleep(0.01)
        time.sleep(delay)
        workers = parent.children(recursive=True) if parent.poll() is None else []
        parent.kill()
        parent.wait()
        ended, alive = psutil.wait_procs(workers, END)
        for worker in alive:
            worker.kill()
        assert not alive, f"killed {delay:.2f} s after point {point}, and {len(alive)} processes went on"
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} <= {"None"} and not done.stderr
    killed = results(paths.runs())
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path / "whole"))
    for each in POINTS:
        toy.STUDY.obtain(each, progress=False)
    assert killed == results(paths.runs()) and len(killed) == len(POINTS)


def test_a_cell_in_words():
    assert study.words(Cell(7)) == "number 7"


def test_the_command_names_holes_and_fails(monkeypatch):
    from click.testing import CliRunner

    from dpgan_lib.cli import main

    monkeypatch.setattr(sweep, "due", lambda name: list(GRID[:2]))
    monkeypatch.setattr(sweep, "compute", lambda name, due, jobs: iter([(due[0], None), (due[1], "why")]))
    result = CliRunner().invoke(main, ["--quiet", "sweep", "stand_in", "--jobs", "2"])
    assert result.exit_code == 1 and result.output == "1 of 2 cells computed\nhole: number 5: why\n"
    monkeypatch.setattr(sweep, "compute", lambda name, due, jobs: iter([(due[0], None), (due[1], None)]))
    result = CliRunner().invoke(main, ["--quiet", "sweep", "stand_in"])
    assert result.exit_code == 0 and result.output == "2 of 2 cells computed\n"
