"""Where the files of data sets lie: below $DPGAN_DATA, and in the user's cache."""

import os
from pathlib import Path

from dpgan_lib import paths

SHOWN = 6  # names of what was found instead, in a message


def given(name: str) -> Path | None:
    """$DPGAN_DATA/<name>, the variable relative to the project's root; None if it is unset.

    Where that folder is absent, one of the same letters stands in: MNIST for mnist, FashionMNIST for fashion_mnist.
    Raises ValueError if $DPGAN_DATA is no folder.
    """
    variable = os.environ.get("DPGAN_DATA")
    if not variable:
        return None
    base = (paths.ROOT / Path(variable).expanduser()).resolve()
    if not base.is_dir():
        raise ValueError(f"DPGAN_DATA={variable!r} is no folder (looked at {base}): mend the path or unset it.")
    folders = [base / name, *sorted(path for path in base.iterdir() if _letters(path.name) == _letters(name))]
    return next((folder for folder in folders if folder.is_dir()), base / name)


def cache(name: str) -> Path:
    """The folder of a data set in the user's cache. Raises ValueError for a user without a home and without a cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: a relative path is invalid and ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # of a user whom the system does not know
            raise ValueError(f"{name} is in no folder of $DPGAN_DATA, and this user has no home directory to cache it "
                             "in: set XDG_CACHE_HOME, or put the files there.") from None
    return base / "dpgan" / name


def holding(folder: Path) -> str:
    """What is in a folder, or beside it where it is absent, in words for a message."""
    there = folder if folder.is_dir() else folder.parent
    if not there.is_dir():
        return "which is absent"
    names = sorted(path.name + ("/" if path.is_dir() else "" if path.exists() else " (a link to nothing)")
                   for path in there.iterdir())
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return f"{there} holds {', '.join(names[:SHOWN] + more) or 'nothing'}"


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
