"""A study's grid: what is current is kept, what fails is a hole with its reason, and the rest is computed."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from dpgan_lib.records import store
from dpgan_lib.studies import registry, study, sweep


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
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    outcome = dict(sweep.compute("stand_in", sweep.due("stand_in"), jobs=2))
    assert outcome == {Cell(1): None, Cell(3): None, Cell(5): "RuntimeError: out of steam",
                       Cell(13): "ValueError: number=13 is unlucky"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-2", "3-2", "5-2"]  # two threads each


def _cell(name, parameters, threads):
    """sweep._cell in a new process, where the stand-in must be put in place again."""
    registry.studies = lambda name: [STUDY]
    store.find = lambda name, run: None
    sweep_cell(name, parameters, threads)


sweep_cell = sweep._cell


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
