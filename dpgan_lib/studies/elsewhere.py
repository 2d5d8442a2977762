"""Runs that were laid out here and trained on another machine, made records here."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dpgan_lib.gan.state import CHECKPOINT
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.studies import registry
from dpgan_lib.studies.study import ASKED


def collect(folder: Path, progress: bool = True) -> Iterator[tuple[Path, Record | None, str]]:
    """Of each prepared run in the folder: (where, its record or None, the reason of a hole or "").

    A run has a record once all its steps are done; what is left to do is left to that machine.
    Raises ValueError if there is no prepared run.
    """
    runs = sorted(path.parent for path in folder.glob(f"*/{ASKED}"))
    if not runs:
        raise ValueError(f"{folder} does not hold a prepared run: copy into it the folders that `dpgan train "
                         "--prepare` made, trained.")
    for run in runs:
        try:
            yield run, _collected(run, progress), ""
        except (ValueError, RuntimeError, OSError) as error:
            yield run, None, " ".join(str(error).split())


def _collected(run: Path, progress: bool) -> Record:
    study, asked = _asked(run)
    found = store.find(study.chapter, study.address(asked))
    if found and not store.staleness(found):
        return found
    work = study.work_folder(asked)
    if run.name != work.name:
        raise ValueError(f"it was laid out for another source or configuration than today's, {work.name}: prepare it "
                         "anew")
    steps = study.plan(asked).run.privacy.steps
    if (taken := _steps(run / CHECKPOINT)) < steps:
        raise ValueError(f"{taken} of {steps} critic steps: train it on with `python -m dpgan_lib.remote`")
    for path in run.glob("*.safetensors"):  # a warm start and a reader have files of their own
        _bring(path, work / path.name)
    return study.obtain(asked, fresh=True, progress=progress)


def _asked(run: Path):
    """The study, and what was asked of it."""
    try:
        said = json.loads((run / ASKED).read_text(encoding="utf-8"))
        study = registry.study(said["study"])
        return study, study.asked(**said["asked"])
    except (LookupError, TypeError) as error:
        raise ValueError(f"its {ASKED} does not say what was asked for ({error}): prepare it anew") from None


def _steps(checkpoint: Path) -> int:
    """How many critic steps it has behind it; 0 where it is absent. Its digits are checked when it is loaded."""
    if not checkpoint.is_file():
        return 0
    try:
        with safe_open(checkpoint, framework="pt") as file:
            [header] = file.metadata().values()
            return json.loads(header)["step"]
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"its {CHECKPOINT} is cut, or no checkpoint ({error}): copy it again") from None


def _bring(path: Path, to: Path) -> None:
    if path.resolve() == to.resolve():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, part := to.with_suffix(".brought"))
    os.replace(part, to)
