"""While private data is in memory: what could carry it out beside the outputs, and is kept from doing so."""

import ctypes
import dis
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpgan_lib.paths import PACKAGE

try:
    import resource
except ImportError:  # Windows has none, and writes no core file
    resource = None  # type: ignore[assignment]

DUMPABLE, GET_DUMPABLE = 4, 3  # names of Linux's settings of a process, from its prctl.h


@contextmanager
def guarded() -> Iterator[None]:
    """Within: a crash writes no core file, no warning is shown, and an error that this library did not raise itself
    loses its message, which could hold the size of a batch or a number from the data.

    Raises RuntimeError in its place, in one line with its kind and the line of this library that met it.
    """
    with _without_core_file(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            if _is_of_this_library(error):
                raise error from None
            place, error.args = _place(error), ()
            error.__traceback__ = None  # its frames hold the data
            raise RuntimeError(f"{type(error).__name__} at {place}. Its message is not shown: it could hold what is "
                               "private. Run the same on public data of this shape to see it.") from None
        except BaseException as error:  # an interruption, perhaps while an error was on its way
            error.__context__ = None
            raise


@contextmanager
def _without_core_file() -> Iterator[None]:
    """By the limit on its size; and on Linux, where a program may be handed the core in place of a file, by having the
    process count as one whose memory is not to be shown.
    """
    limits = resource and resource.getrlimit(resource.RLIMIT_CORE)
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    was_dumpable = prctl and prctl(GET_DUMPABLE, 0, 0, 0, 0)
    if limits:
        resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    if prctl:
        prctl(DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        if prctl:
            prctl(DUMPABLE, was_dumpable, 0, 0, 0)
        if limits:
            resource.setrlimit(resource.RLIMIT_CORE, limits)


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone can enter, or make it so; those above it are made as usual."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _is_of_this_library(error: Exception) -> bool:
    """Whether a raise statement of this library raised it, by the instruction that was being executed."""
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    if last is None or not _is_here(last.tb_frame.f_code.co_filename):
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _place(error: Exception) -> str:
    last = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_here(frame.filename)][-1]
    return f"{Path(last.filename).name}:{last.lineno}"  # guarded() itself is one


def _is_here(file: str) -> bool:
    return PACKAGE in Path(file).resolve().parents
