"""Data sets as NumPy arrays behind one interface, each checked against its card before use.

Files are read from $DPGAN_DATA/<name>/, from raw/ in it (where torchvision puts them), or else from the user's cache,
the one place that downloads are written to.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpgan_lib.data import places
from dpgan_lib.data.cards import DataCard, DataFile, card

CONNECT_SECONDS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images (N, 1, side, side) float32 in [-1, 1] and labels (N,) int64 in 0..classes-1."""

    card: DataCard
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str, *, progress: bool = True) -> Dataset:
    """Open a data set, checked against its card; absent files are downloaded first.

    The scaling is fixed and public: a byte p becomes p / 127.5 - 1.
    Raises ValueError if a file is not what the card says, or is absent and cannot be fetched.
    """
    wanted = card(name)
    if not wanted.files:
        arrays = _produce(wanted)
    else:
        fetch(name, progress=progress)
        arrays = _read_files(wanted, check(name))
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        card=wanted,
        train_images=_scaled(train_images),
        train_labels=train_labels.astype(np.int64),
        test_images=_scaled(test_images),
        test_labels=test_labels.astype(np.int64),
    )


def check(name: str) -> list[Path]:
    """Check a data set's files, or an embedded set's pixels, against its card; returns the files' paths.

    Raises ValueError on the first that is absent or differs.
    """
    wanted = card(name)
    if not wanted.files:
        _produce(wanted)
    found = []
    for file in wanted.files:
        path = _find(wanted, file)
        if path is None:
            raise ValueError(f"{file.name} of {name} is absent. {_remedy(wanted)}")
        _check_file(path, file, name)
        found.append(path)
    return found


def fetch(name: str, *, progress: bool = True) -> list[Path]:
    """Download a data set's absent files into the user's cache, each checked while it arrives; returns their paths.

    Raises ValueError if no mirror gives the file that the card describes; nothing is then left of it.
    """
    wanted = card(name)
    fetched = []
    for file in wanted.files:
        if _find(wanted, file) is None:
            fetched.append(_fetch_file(wanted, file, progress))
    return fetched


# Where files are

def _folders(wanted: DataCard) -> Iterator[Path]:
    """Where files may be, one at a time: whoever has them in the first needs no home directory."""
    if given := places.given(wanted.name):
        yield from (given, given / "raw")
    yield places.cache(wanted.name)


def _find(wanted: DataCard, file: DataFile) -> Path | None:
    return next((path for folder in _folders(wanted) if (path := folder / file.name).is_file()), None)


def _remedy(wanted: DataCard) -> str:
    missing = ", ".join(file.name for file in wanted.files if _find(wanted, file) is None)
    folder = next(_folders(wanted))
    return (f"Run `dpgan data fetch {wanted.name}` where there is a network, or put {missing} into {folder} "
            f"({places.holding(folder)}).")


def _check_file(path: Path, file: DataFile, name: str) -> None:
    repair = f"Delete it and run `dpgan data fetch {name}`."
    size = path.stat().st_size
    if size != file.bytes:
        raise ValueError(f"{path} has {size} bytes, not the published {file.bytes}: cut, or another file. {repair}")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise ValueError(f"{path} has sha256 {found}, not the published {file.sha256}. {repair}")


# Downloads

def _fetch_file(wanted: DataCard, file: DataFile, progress: bool) -> Path:
    import pooch  # here, so that reading data needs NumPy alone

    pooch.get_logger().setLevel("WARNING")  # a progress bar says the rest
    download, failures = pooch.HTTPDownloader(progressbar=progress, timeout=CONNECT_SECONDS), []
    for mirror in wanted.mirrors:
        try:  # what comes is checked under a temporary name, and renamed once it is proved right
            return Path(pooch.retrieve(mirror + file.name, f"sha256:{file.sha256}", file.name,
                                       places.cache(wanted.name), downloader=download))
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {' '.join(str(error).split())}")
    raise ValueError(f"{file.name} could not be fetched ({'; '.join(failures)}). {_remedy(wanted)}")


# Bytes to arrays

def _read_files(wanted: DataCard, paths: list[Path]) -> list[np.ndarray]:
    counts = (wanted.records, wanted.records, wanted.test_records, wanted.test_records)
    pixels = (wanted.side, wanted.side)
    arrays = []
    for path, count, is_images in zip(paths, counts, (True, False, True, False), strict=True):
        values = read_idx(path, (count, *pixels) if is_images else (count,))
        if not is_images and values.max(initial=0) >= wanted.classes:
            raise ValueError(f"{path} has label {values.max()}: {wanted.name} has labels 0 to {wanted.classes - 1}.")
        arrays.append(values)
    return arrays


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a gzip'd IDX file of unsigned bytes (LeCun, Cortes and Burges: big-endian magic, sizes, then the bytes).

    Decompresses at most one byte more than shape needs. Raises ValueError if the file holds anything else than shape.
    """
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    expected = len(header) + int(np.prod(shape))
    try:
        with gzip.open(path) as stream:
            content = stream.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is no whole gzip file ({error}): fetch it again.") from error
    if content[: len(header)] != header:
        start = content[: len(header)].hex()
        raise ValueError(f"{path} starts with {start}, not {header.hex()}: it is no IDX file of {shape} bytes.")
    if len(content) != expected:
        amount = "more" if len(content) > expected else len(content)
        raise ValueError(f"{path} unpacks to {amount} bytes where {shape} takes {expected}: fetch it again.")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _produce(wanted: DataCard) -> tuple[np.ndarray, ...]:
    """An embedded set: what the function of its name makes."""
    from dpgan_lib.data import stand_ins  # here, so that the official files need no scikit-learn

    arrays = getattr(stand_ins, wanted.name)()
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values))
    if digest.hexdigest() != wanted.pixels_sha256:
        raise ValueError(
            f"{wanted.name} has pixels of sha256 {digest.hexdigest()}, not {wanted.pixels_sha256}: this scikit-learn "
            "or NumPy makes other ones. Install the versions in constraints.txt."
        )
    return arrays


def _scaled(images: np.ndarray) -> np.ndarray:
    """(N, side, side) bytes to (N, 1, side, side) float32 in [-1, 1]."""
    scaled = images[:, None].astype(np.float32)
    scaled /= np.float32(127.5)
    scaled -= np.float32(1)
    return scaled
