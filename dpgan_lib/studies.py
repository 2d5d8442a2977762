"""What each chapter stands on: the module that holds its parameters and, where it has records, its study.

Such a module has a dataclass `Parameters` with check(), and may have a `STUDY`. They load torch, so they load late.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from dpgan_lib import results
from dpgan_lib.results import RECORDS_ONLY, Record

MODULES = {  # by chapter, without its number
    "mutual_information": "information",
    "wasserstein": "wasserstein_study",
    "accountant": "accounting",
    "private_step": "private_step",
    "mnist_tradeoff": "tradeoff",
    "cost": "cost",
    "audit": "audit_study",
    "celeba_specificity": "face_study",
    "class_imbalance": "imbalance",
}


@dataclass(frozen=True)
class Study:
    """The records of one kind of experiment.

    grid: the parameters whose records are published.  address: parameters -> run id, without opening any data.
    compute: (parameters, progress: bool) -> the record, computed now and stored with results.write in runs/.
    """

    grid: tuple
    address: Callable[[object], str]
    compute: Callable[[object, bool], Record]


def study(name: str) -> Study | None:
    """A chapter's study, None if it has none; that of the cost chapter is `cost`, whose records name machines."""
    found = _attribute(name, "STUDY")
    return found if isinstance(found, Study) else None


def parameters(name: str) -> type | None:
    """The dataclass of a chapter's parameters, or None."""
    return _attribute(name, "Parameters")


def names() -> list[str]:
    """The chapters with a study."""
    return [name for name in MODULES if study(name)]


def obtain(name: str, parameters, *, fresh: bool = False, progress: bool = True) -> Record:
    """A study's record at the parameters: found (maybe stale: ask results.staleness), else computed.

    fresh: compute it whatever is found.  Raises RuntimeError instead of computing where DPGAN_RECORDS_ONLY is set.
    """
    wanted = study(name)
    parameters.check()
    found = None if fresh else existing(name, wanted.address(parameters))
    return found or wanted.compute(parameters, progress)


def existing(name: str, run_id: str) -> Record | None:
    """A record, or None. Raises RuntimeError for None where DPGAN_RECORDS_ONLY forbids to compute one."""
    found = results.find(name, run_id)
    if found is None and os.environ.get(RECORDS_ONLY):
        raise RuntimeError(f"no record of {name} run {run_id}, and {RECORDS_ONLY} forbids to compute one: "
                           "publish the chapter, or unset it.")
    return found


def _attribute(chapter, name):
    module = MODULES.get(chapter)
    return getattr(import_module(f"dpgan_lib.{module}"), name, None) if module else None
