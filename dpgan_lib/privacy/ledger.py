"""What a release has been charged for, on disk: before it is computed, and never given back.

The steps of the critic (gan.loop) and, in folders of their own, a warm start's rounds of sums (warm_start.training)
and the steps of a reader (warm_start.reader). Below, a step is any of these.

A demonstration that was killed repeats its last steps with the same noise: one release, not two. A release draws fresh
noise, so steps that were computed and lost stay charged, and the run goes on behind them.

Where a release draws on a budget that it shares with others, the budget alone says what is charged, and the folder only
says which budget: were there a number in either, deleting the folder would let the same steps be taken again.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

from dpgan_lib.privacy import budget

FILE, BUDGET = "charged", "budget.json"


def charge(folder: Path, steps: int) -> None:
    """Write down, so that not even a power cut loses it, that steps up to this one are charged.

    Raises ValueError or RuntimeError where the release draws on a budget that does not allow it.
    """
    if reservation := reserved_from(folder):
        budget.charge(reservation, steps)
        return
    _write(folder, FILE, str(steps))


def _write(folder: Path, name: str, text: str) -> None:
    for missing in [each for each in (folder, *folder.parents) if not each.exists()][::-1]:
        missing.mkdir(exist_ok=True)
        _sync(missing.parent)
    temporary = folder / f"{name}.{os.getpid()}.part"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / name)
    _sync(folder)  # the file's new name


def _sync(folder: Path) -> None:
    """Wait until a folder's entries are on disk. Windows opens no folders, and has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def charged(folder: Path) -> int:
    """The number of steps charged so far. Raises ValueError if the file does not say."""
    if reservation := reserved_from(folder):
        return budget.charged(reservation)
    path = folder / FILE
    if not path.exists():
        return 0
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.isdecimal():
        raise ValueError(f"{path} is damaged and does not say how much is charged: take the whole epsilon for spent. "
                         f"Delete {folder} to begin another release, which spends epsilon anew.")
    return int(text)


def draw_on(folder: Path, reservation: budget.Reservation | None) -> None:
    """Have the steps of a run, or of the part that has this folder, charged to what it has reserved of a budget, or to
    the folder for None.

    Raises ValueError if the run was begun otherwise.
    """
    before = reserved_from(folder)
    if reservation is None:
        if before:
            raise ValueError(f"{folder} was begun with the budget {before.path}: name it again with --budget.")
        return
    if (folder / FILE).exists():
        raise ValueError(f"{folder} was begun without a budget, so that no budget knows of its charged steps: go on "
                         "without, or name another folder for a release that draws on the budget.")
    if before:
        here = replace(before, path=reservation.path)  # the file may have been moved
        if here != reservation and (here.first != reservation.first or budget.charged(here)):
            raise ValueError(f"{folder} was begun as release {before.name} of the budget {before.path}, and that is at "
                             "its end, or this is another budget. Name that budget, or another folder for another "
                             "release.")
    _write(folder, BUDGET, json.dumps({"path": str(reservation.path), "first": reservation.first,
                                       "name": reservation.name, "part": reservation.part}))


def reserved_from(folder: Path) -> budget.Reservation | None:
    """What a run's steps are charged to, if that is a budget. Raises ValueError if the file does not say."""
    path = folder / BUDGET
    if not path.exists():
        return None
    try:
        place = json.loads(path.read_text(encoding="utf-8"))
        return budget.Reservation(Path(place["path"]), place["first"], place["name"], place["part"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged and does not say which budget it is: give the command with --budget after "
                         f"deleting {path.name}.") from error
