"""A study's grid, computed: one record a cell, what is current is kept, and a cell that fails leaves a visible hole.

A cell that was killed goes on from its checkpoint, if its study keeps any, when the sweep is called again.
"""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict

from dpgan_lib import results, studies


def cells(name: str) -> list:
    """The parameters of the study's grid whose record is missing or stale, in order. Raises ValueError: no study."""
    study = studies.study(name)
    if study is None:
        raise ValueError(f"{name!r} has no grid: it must be one of {', '.join(studies.names())}")
    return [parameters for parameters in study.grid if _is_due(name, study.address(parameters))]


def _is_due(name, run_id):
    record = results.find(name, run_id)
    return record is None or bool(results.staleness(record))


def compute(name: str, due: list, jobs: int = 1) -> Iterator[tuple[object, str | None]]:
    """Compute the cells, so many at a time; gives (parameters, None or the reason of a hole) as each is done.

    Each job has its share of the cores.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(_cell, name, parameters, threads): parameters for parameters in due}
        for done in as_completed(waiting):
            error = done.exception()
            yield waiting[done], None if error is None else " ".join(f"{type(error).__name__}: {error}".split())


def _cell(name, parameters, threads):
    import torch

    torch.set_num_threads(threads)
    studies.obtain(name, parameters, fresh=True, progress=False)


def words(parameters) -> str:
    """A cell in words."""
    return "  ".join(f"{key} {value}" for key, value in asdict(parameters).items())
