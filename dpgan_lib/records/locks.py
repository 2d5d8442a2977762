"""One process at a time at one place: locks that the operating system holds, and lets go of with their process."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

POLL_SECONDS = 0.5
TELL_SECONDS = 0.1  # within these, who has just taken a lock has written its name


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is absent. While another process or thread has it, wait: one line
    on stderr says which.

    What a process has left when it ended, however it ended, is no obstacle. The file stays: were it deleted, one
    process could hold the deleted file and another a new one of that name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=POLL_SECONDS)
    try:
        lock.acquire(timeout=TELL_SECONDS, poll_interval=TELL_SECONDS)
    except Timeout:
        tqdm.write(f"waiting for {_holder(path)}, which is at work on the same: {path}", file=sys.stderr)
        lock.acquire()
    try:
        with suppress(OSError):  # on Windows a locked file takes no writing
            path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
