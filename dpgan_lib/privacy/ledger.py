"""What a release has been charged for, on disk: before it is computed, and never given back.

The steps of the critic (gan.loop) and, in folders of their own, a warm start's rounds of sums (warm_start.training)
and the steps of a reader (warm_start.reader).

A demonstration that was killed repeats its last steps with the same noise: one release, not two. A release draws fresh
noise, so steps that were computed and lost stay charged, and the run goes on behind them.
"""

import os
from pathlib import Path

FILE = "charged"


def charge(folder: Path, steps: int) -> None:
    """Write down, so that not even a power cut loses it, that critic steps up to this one are charged."""
    for missing in [each for each in (folder, *folder.parents) if not each.exists()][::-1]:
        missing.mkdir(exist_ok=True)
        _sync(missing.parent)
    temporary = folder / f"{FILE}.{os.getpid()}.part"
    with temporary.open("w") as file:
        file.write(str(steps))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)
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
    """The number of critic steps charged so far. Raises ValueError if the file does not say."""
    path = folder / FILE
    if not path.exists():
        return 0
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.isdecimal():
        raise ValueError(f"{path} is damaged and does not say how much is charged: take the whole epsilon for spent. "
                         f"Delete {folder} to begin another release, which spends epsilon anew.")
    return int(text)
