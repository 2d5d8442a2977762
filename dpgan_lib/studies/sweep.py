"""A study's grid, computed: one record a cell, what is current is kept, and a cell that fails leaves a visible hole.

A cell that was killed goes on from its checkpoint, if its study keeps any, when the sweep is called again. A second
sweep beside the first waits for a cell that is being computed, and finds its record.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from dpgan_lib.studies import registry


def due(chapter: str) -> list:
    """What the chapter's grids ask for whose record is missing or stale, in order. Raises ValueError: no grid."""
    registry.study(chapter)
    return [asked for study in registry.studies(chapter) for asked in study.due()]


def compute(chapter: str, cells: list, jobs: int = 1) -> Iterator[tuple[object, str | None]]:
    """Compute the cells, so many at a time; gives (what was asked, None or the reason of a hole) as each is done.

    Each job has its share of the cores, and ends with this process, whatever ends that.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch
    with ProcessPoolExecutor(jobs, mp_context=spawn, max_tasks_per_child=1, initializer=_end_with_parent) as pool:
        waiting = {pool.submit(_cell, chapter, asked, threads): asked for asked in cells}
        for done in as_completed(waiting):
            error = done.exception()
            yield waiting[done], None if error is None else " ".join(f"{type(error).__name__}: {error}".split())


def _end_with_parent():
    """A parent that was killed can tell its workers nothing: a thread of each waits for its end."""
    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)  # at once: an exit by an exception would wait for the cell

    threading.Thread(target=watch, daemon=True).start()


def _cell(chapter, asked, threads):
    import torch

    torch.set_num_threads(threads)
    registry.study(chapter, asked).refresh(asked, progress=False)
