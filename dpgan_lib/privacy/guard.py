"""While private data is in memory: what could carry it out beside the outputs, and is kept from doing so."""

import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpgan_lib.paths import PACKAGE

try:
    import resource
except ImportError:  # Windows has none, and writes no core file
    resource = None  # type: ignore[assignment]


@contextmanager
def guarded() -> Iterator[None]:
    """Within: no core file is written, and an error that this library did not raise itself loses its message, which
    could hold the size of a batch or a number from the data.

    Raises RuntimeError in its place, in one line with its kind and the line of this library that met it.
    """
    limits = resource and resource.getrlimit(resource.RLIMIT_CORE)
    if limits:
        resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    try:
        yield
    except Exception as error:
        if _is_of_this_library(error):
            raise
        raise RuntimeError(f"{type(error).__name__} at {_place(error)}. Its message is not shown: it could hold what "
                           "is private. Run the same on public data of this shape to see it.") from None
    finally:
        if limits:
            resource.setrlimit(resource.RLIMIT_CORE, limits)


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone can enter, or make it so; those above it are made as usual."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _is_of_this_library(error: Exception) -> bool:
    """Whether a raise statement of this library raised it. What C code raises shows the line that called it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return _is_here(frame) and linecache.getline(frame.filename, frame.lineno or 0).lstrip().startswith("raise ")


def _place(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_here(frame)]
    last = frames[-1]  # guarded() itself is one
    return f"{Path(last.filename).name}:{last.lineno}"


def _is_here(frame) -> bool:
    return PACKAGE in Path(frame.filename).resolve().parents
