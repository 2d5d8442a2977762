"""Where things are: the project, its published results, and what is written while it runs. Never imports torch."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent


def project() -> Path:
    """The project's folder. Raises RuntimeError when the package was installed without it."""
    if not (ROOT / "pyproject.toml").is_file():
        raise RuntimeError(f"{ROOT} has no pyproject.toml: the book is run from a clone. Use pip install -e .")
    return ROOT


def chapters() -> dict[str, Path]:
    """The hand-edited sources by name without number: {"mnist_tradeoff": .../notebooks/05_mnist_tradeoff.py}."""
    return {path.stem.split("_", 1)[1]: path for path in sorted((project() / "notebooks").glob("[0-9][0-9]_*.py"))}


def shown(path: Path) -> Path:
    """The path as messages show it: from the project's folder, if it lies there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def published() -> Path:
    """The published records. Publishing stages them elsewhere first, and names that folder in DPGAN_PUBLISHED."""
    return Path(os.environ.get("DPGAN_PUBLISHED") or ROOT / "book" / "results")


def runs() -> Path:
    """Records computed here, and checkpoints."""
    return _home() / "runs"


def build() -> Path:
    """Executed notebooks and the built book."""
    return _home() / "build"


def made(folder: Path) -> Path:
    """The folder, made if it is absent. Raises ValueError, with the setting that names another, if it is read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        reason = "Permission denied"
    except OSError as error:
        reason = error.strerror
    raise ValueError(f"nothing can be written into {folder} ({reason}): set DPGAN_HOME to a folder of yours, and runs/ "
                     "and build/ lie there.")


def lend_home() -> None:
    """Let what is called or started from here find a home directory, below build/, if the user has none to write into.

    Jupyter, IPython and Matplotlib each want one, and a container's user often has none.
    """
    if not os.access(os.path.expanduser("~"), os.W_OK):  # which stays "~" for a user whom the system does not know
        os.environ["HOME"] = str(build() / "home")


def _home() -> Path:
    """The folder of runs/ and build/: $DPGAN_HOME, relative to the project's folder; that folder itself unless set."""
    return ROOT / Path(os.environ.get("DPGAN_HOME") or ".").expanduser()
