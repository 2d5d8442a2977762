"""The published store as one file, for an archive that gives it a DOI, and read back from that file alone."""

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dpgan_lib import paths
from dpgan_lib.records import store

RESULTS = "results"
ENVIRONMENT = ("pyproject.toml", "constraints.txt", "environment.yml", "LICENSE", "CITATION.cff")


def write(path: Path) -> int:
    """A plain tar of the records with their weights and samples, their manifest, and the lists of the environment.

    The same store gives the same bytes: names in order, and no times or owners. Returns the number of records. The
    file appears whole or not at all.
    Raises ValueError if the store is not what its manifest lists, for no reader could mend that.
    """
    if found := store.check_manifest():
        raise ValueError(f"the published store is not what its manifest lists ({'; '.join(found)}): publish anew, or "
                         "restore it with git.")
    published = paths.published()
    files = {f"{RESULTS}/{each.relative_to(published).as_posix()}": each for each in _files(published)}
    files |= {name: paths.project() / name for name in ENVIRONMENT}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tarfile.open(part, "x", format=tarfile.USTAR_FORMAT) as tar:
            for name, file in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size = file.stat().st_size
                with open(file, "rb") as content:
                    tar.addfile(entry, content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return sum(name.endswith(f"/{store.RECORD}") for name in files)


def _files(published: Path) -> Iterator[Path]:
    """The manifest, and what lies in the records' folders; not what a writer that was killed has left."""
    for path in published.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(published).parts):
            yield path


def is_archive(path: Path) -> bool:
    return path.is_file() and tarfile.is_tarfile(path)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The store that an archive holds, in a temporary folder; meanwhile it is the published one.

    Raises ValueError, one line with the path, if the file is cut, is no such archive, or names a place outside it.
    """
    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(path, "r:") as tar:
                tar.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(f"{path} cannot be unpacked ({' '.join(str(error).split())}): fetch it again.") from None
        results = Path(folder) / RESULTS
        if not (results / store.MANIFEST).is_file():
            raise ValueError(f"{path} holds no {RESULTS}/{store.MANIFEST}: it must be what `dpgan archive` wrote.")
        before = os.environ.get("DPGAN_PUBLISHED")
        os.environ["DPGAN_PUBLISHED"] = str(results)
        try:
            yield results
        finally:
            if before is None:
                del os.environ["DPGAN_PUBLISHED"]
            else:
                os.environ["DPGAN_PUBLISHED"] = before
