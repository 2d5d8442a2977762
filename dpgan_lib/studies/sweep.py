"""A study's grid, computed: one record a cell, what is current is kept, and a cell that fails leaves a visible hole.

A cell that was killed goes on from its checkpoint, if its study keeps any, when the sweep is called again. A second
sweep beside the first waits for a cell that is being computed, and finds its record.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace

from dpgan_lib import paths
from dpgan_lib.records import store
from dpgan_lib.records.store import strict
from dpgan_lib.studies import registry
from dpgan_lib.studies.study import CURRENT, Study

# What a job asks a cluster for, by profile: cores, GPUs, and the minutes of training in one slice.
ASKS = {"smoke": {"threads": 1, "gpu": 0, "minutes": 10}, "laptop": {"threads": 2, "gpu": 0, "minutes": 60},
        "paper": {"threads": 4, "gpu": 1, "minutes": 60}}


def due(chapter: str) -> list:
    """What the chapter's grids ask for whose record is missing or stale, in order. Raises ValueError: no grid."""
    registry.study(chapter)
    return [asked for study in registry.studies(chapter) for asked in study.due()]


def cells(name: str, given: dict) -> list[dict]:
    """Every cell of the grids of a chapter, or of one study named "chapter/kind", for a workflow manager.

    given: parameters by name that every cell takes instead of its own, such as a smaller profile.
    A cell is {"study": "chapter/kind", "run": its id, "state": of Study.to_do,
    "record": the path of its record.json, where it is or will be, "found": the folder of the one that is there, stale
    or not, or None, "parameters": by name, and what ASKS says}.
    Raises ValueError if there is no such grid, or if a parameter is unknown or makes no sense.
    """
    registry.study(name)
    chapter, _, kind = name.partition("/")
    chosen = [study for study in registry.studies(chapter) if study.grid and kind in ("", study.kind)]
    return [_described(study, asked) for study in chosen for asked in _resized(study, given)]


def _resized(study: Study, given: dict) -> list:
    """The grid with those parameters, each cell once."""
    known = asdict(study.grid[0])
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"{', '.join(unknown)} is no parameter of {study.chapter}/{study.kind}: it must be of "
                         f"{', '.join(known)}")
    resized = list(dict.fromkeys(replace(asked, **given) for asked in study.grid))
    for asked in resized:
        asked.check()
    return resized


def _described(study: Study, asked) -> dict:
    run = study.address(asked)
    found = store.find(study.chapter, run)
    state = study.to_do(found)
    folder = found.folder if found and state == CURRENT else paths.runs() / study.chapter / run
    return {"study": f"{study.chapter}/{study.kind}", "run": run, "state": state,
            "record": str(folder / store.RECORD), "found": found and str(found.folder),
            "parameters": strict(asdict(asked))} | ASKS[asked.profile]


def compute(chapter: str, cells: list, jobs: int = 1) -> Iterator[tuple[object, str | None]]:
    """Compute the cells, so many at a time; gives (what was asked, None or the reason of a hole) as each is done.

    Each job has its share of the threads that torch would take, of all cores or of OMP_NUM_THREADS, and ends with this
    process, whatever ends that.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1, initializer=_end_with_parent) as pool:
        waiting = {pool.submit(_cell, chapter, asked, jobs): asked for asked in cells}
        for done in as_completed(waiting):
            error = done.exception()
            yield waiting[done], None if error is None else " ".join(f"{type(error).__name__}: {error}".split())


def _end_with_parent():
    """A parent that was killed can tell its workers nothing: a thread of each waits for its end."""
    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)  # at once: an exit by an exception would wait for the cell

    threading.Thread(target=watch, daemon=True).start()


def _cell(chapter, asked, jobs):
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
    registry.study(chapter, asked).refresh(asked, progress=False)
