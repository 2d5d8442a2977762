"""Labelled images of your own: folders, lists, Parquet, .npz and IDX files, each read to the same two arrays.

All that decides how an image is read is declared in public: the classes, the side, the channels, how it is fitted and
the ground. Each record is read on its own. One that does not fit, for whatever reason, belongs to no class, and an
image that cannot be read is blank: such a record trains nothing, changes no other one, and is neither named nor
counted. What is refused, in one line that quotes nothing from inside, is an input that is laid out in another way: no
such file, no header, arrays of another kind.

Records stand in the order of their files' names, or in that of the file that holds them all.
"""

import csv
import gzip
import io
import os
import re
import struct
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dpgan_lib.data.reading import is_hidden

NO_CLASS = -1
LIST = "labels.csv"
FITS = ("pad", "resize")
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's, of 8 bits at most
LARGEST_IMAGE, LARGEST_FILE = 2**26, 2**28  # pixels and bytes: what is larger is not decoded
SEPARATORS = ",;\t"
COLUMNS, ROWS = ["image", "label"], 256  # of a Parquet file, read at a time
BYTE, IDX_BYTES = 255, 0x08
FORMS = "a folder, a .csv, .parquet or .npz file, or the IDX file of images (idx3 in its name)"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is declared of the images. classes: names, in the order of the labels 0, 1, ...  side: of squares, pixels.

    channels: 1 for grey (ITU-R 601 luma of colours), 3 for red, green and blue.
    fit: "pad" keeps the pixels, centred, and cuts what stands out; "resize" makes the longer side fit.
    ground: 0..255, the grey beside and behind an image, and that of a blank one.
    """

    classes: tuple[str, ...]
    side: int
    channels: int = 1
    fit: str = "pad"
    ground: int = 0

    def __post_init__(self):
        for name, known in (("channels", (1, 3)), ("fit", FITS), ("ground", range(BYTE + 1))):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}={value!r} is none of {known}.")

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.side, self.side) if self.channels == 1 else (self.side, self.side, self.channels)


def class_names(text: str) -> tuple[str, ...]:
    """The classes that a text declares: names with commas between, or a number K for 0 to K - 1.

    Raises ValueError for a name that is empty or there twice.
    """
    if re.fullmatch(r"\s*[0-9]+\s*", text):
        return tuple(map(str, range(int(text))))
    names = tuple(_plain(name) for name in next(csv.reader([text]), []))
    if not names or "" in names or len(set(names)) < len(names):
        raise ValueError(f"classes={text!r} has an empty name, or one twice: give each class its name, as in "
                         "zero,one,two.")
    return names


def read(path: str | Path, declared: Declared) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, side, side) or, with 3 channels, (n, side, side, 3) uint8, and labels (n,) int64.

    A label is a class's place among those declared, or -1 for none of them. Raises ValueError, one line, for an input
    that is laid out in another way.
    """
    blank = np.full(declared.image_shape, declared.ground, np.uint8)
    numbers = {_plain(name): number for number, name in enumerate(declared.classes)}
    images, labels = [], []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of single images
            for content, label in _records(Path(path), numbers):
                pixels = _pixels(content, declared)
                images.append(blank if pixels is None else pixels)
                labels.append(NO_CLASS if pixels is None or label is None else numbers.get(_plain(label), NO_CLASS))
        return np.array(images, np.uint8).reshape(-1, *declared.image_shape), np.array(labels, np.int64)
    except MemoryError:  # NumPy's own words have the number of records
        raise ValueError(f"{path} does not fit into memory: give this process more of it.") from None


def _plain(label: Any) -> str:
    """A label as text: 3, 3.0, " 3 " and b"3" are one, and so are the two spellings that Unicode has for an accent."""
    text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
    text = unicodedata.normalize("NFC", text).strip()
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text)


def _records(path: Path, numbers: dict[str, int]) -> Iterator[tuple[Any, Any]]:
    """Of each record what holds its image (a path, an encoded file's bytes, an array, or None), and its label."""
    if path.is_dir():
        return _of_list(path / LIST) if (path / LIST).is_file() else _of_folders(path, numbers)
    if not path.is_file():
        raise ValueError(f"{path} is absent: name {FORMS}.")
    if "idx3" in path.name:
        return _of_idx(path)
    forms = {".csv": _of_list, ".parquet": _of_parquet, ".npz": _of_npz}
    if (form := forms.get(path.suffix.lower())) is None:
        raise ValueError(f"{path} is in no form that is read here: name {FORMS}.")
    return form(path)


# One image

def _pixels(content: Any, declared: Declared) -> np.ndarray | None:
    """What a record's image becomes, of the declared shape; None if it does not fit.

    Pillow promises no set of errors, and which one a private image causes is private too.
    """
    try:
        with _opened(content) as image:
            if not 0 < image.width * image.height <= LARGEST_IMAGE:
                return None
            return _fitted(_plain_image(image, declared), declared)
    except Exception:
        return None


def _opened(content: Any) -> Image.Image:
    if isinstance(content, np.ndarray):
        values = content[..., 0] if content.ndim == 3 and content.shape[-1] == 1 else content
        return Image.fromarray(_bytes(np.ascontiguousarray(values)))
    if isinstance(content, Path):
        if not content.is_file() or content.stat().st_size > LARGEST_FILE:  # a pipe would never end
            raise ValueError("no file of a size that is read")
        content = content.read_bytes()
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _bytes(values: np.ndarray) -> np.ndarray:
    """uint8 as it is, and of uint16 the higher byte."""
    return (values >> 8).astype(np.uint8) if values.dtype.itemsize == 2 else values


def _plain_image(image: Image.Image, declared: Declared) -> Image.Image:
    """Turned as its EXIF data say, in 8 bits, without transparency, grey or colour. Raises ValueError for other modes,
    such as floats, whose range nobody declared.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_bytes(np.asarray(image)))
    if image.mode not in MODES:
        raise ValueError("a mode that has no fixed range")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*3 * (declared.ground,), BYTE))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("L" if declared.channels == 1 else "RGB")


def _fitted(image: Image.Image, declared: Declared) -> np.ndarray:
    ground = declared.ground if declared.channels == 1 else 3 * (declared.ground,)
    square = (declared.side, declared.side)
    if declared.fit == "resize":
        return np.asarray(ImageOps.pad(image, square, color=ground))
    canvas = Image.new(image.mode, square, ground)
    canvas.paste(image, ((declared.side - image.width) // 2, (declared.side - image.height) // 2))
    return np.asarray(canvas)


# A folder of folders, and a list

def _of_folders(folder: Path, numbers: dict[str, int]) -> Iterator[tuple[Path, str]]:
    """Every file below a class's folder, at any depth, but for what an operating system put there."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not any(_plain(name) in numbers for name in classes):
        raise ValueError(f"{folder} has neither {LIST} nor a folder named as one of the declared classes: make one of "
                         "them, or declare the classes as the folders are named.")

    def fail(error):
        raise ValueError(f"{folder} has a folder that may not be read: allow this user to.") from None

    found = [(name, (PurePath(place) / file).relative_to(folder)) for name in classes
             for place, _, files in os.walk(folder / name, onerror=fail) for file in files]
    return ((folder / file, name) for name, file in sorted(found) if not is_hidden(str(file)))


def _of_list(path: Path) -> Iterator[tuple[Path, str | None]]:
    """A header, then a line for each image: its file, from the list's folder, and its label.

    Each line is read on its own, so an open quote ends with its line. All lines of a file are one record; if their
    labels differ, it has none.
    """
    if not path.is_file():
        raise ValueError(f"{path} is absent: name {FORMS}.")
    header, *lines = path.read_bytes().split(b"\n")
    names = _cells(header.removeprefix(b"\xef\xbb\xbf"))
    if not {"file", "label"} <= set(names):
        raise ValueError(f"{path} must begin with a line, in UTF-8, that names the columns file and label: add it.")
    separator = next(each for each in SEPARATORS if each.encode() in header)
    labels: dict[str, set[str]] = {}
    for line in lines:
        row = dict(zip(names, _cells(line, separator)))
        if row.get("file"):
            labels.setdefault(os.path.normpath(row["file"]), set()).add(_plain(row.get("label", "")))
    return ((path.parent / file, of_file.pop() if len(of_file) == 1 else None)
            for file, of_file in sorted(labels.items()))


def _cells(line: bytes, separators: str = SEPARATORS) -> list[str]:
    """The cells of a line; of separators the first that is in it counts. A line that is no row of a CSV has none."""
    text = line.decode("utf-8", "replace").rstrip("\r")
    separator = next((each for each in separators if each in text), ",")
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator), [])]
    except csv.Error:
        return []


# Files that hold all records

def _of_parquet(path: Path) -> Iterator[tuple[Any, Any]]:
    """Columns image and label. An image is an encoded file, alone or in a struct as `datasets` writes it, or whole
    numbers in lists: of 16 bits where the column's type is uint16, else 0..255.
    """
    from pyarrow import ArrowException, parquet, types, uint16  # here, so that nothing else needs it

    broken = f"{path} is cut, or no Parquet file with the columns image and label: write it again."
    try:
        content = parquet.ParquetFile(path)
        column, _ = (content.schema_arrow.field(name).type for name in COLUMNS)
    except Exception:  # whose words may quote a value
        raise ValueError(broken) from None
    depth = 0
    if types.is_struct(column):
        place = column.get_field_index("bytes")
        column = column.field(place).type if place >= 0 else column
    while types.is_list(column) or types.is_large_list(column) or types.is_fixed_size_list(column):
        column, depth = column.value_type, depth + 1
    is_encoded = depth == 0 and (types.is_binary(column) or types.is_large_binary(column))
    if not (is_encoded or depth in (2, 3) and types.is_integer(column)):
        raise ValueError(f"{path} has images that are neither encoded files nor whole numbers in lists of rows: write "
                         "one of these.")
    dtype = np.uint16 if column == uint16() else np.uint8

    def rows():
        try:
            for batch in content.iter_batches(ROWS, columns=COLUMNS):
                for image, label in zip(*(batch.column(name).to_pylist() for name in COLUMNS)):
                    image = image.get("bytes") if isinstance(image, dict) else image
                    yield image if is_encoded else _listed(image, dtype), label
        except (ArrowException, OSError):
            raise ValueError(broken) from None

    return rows()


def _listed(rows: Any, dtype: type) -> np.ndarray | None:
    """An image's rows as an array; None if they differ in length or hold what is no such number."""
    try:
        return np.array(rows, dtype)
    except (ValueError, TypeError, OverflowError):
        return None


def _of_npz(path: Path) -> Iterator[tuple[np.ndarray, Any]]:
    """Arrays images, uint8 or uint16 (n, height, width) or (n, height, width, channels), and labels (n,)."""
    repair = "np.savez(FILE, images=..., labels=...) writes such a file"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except Exception:  # zipfile and NumPy promise no set of errors, and their words may hold a shape
        raise ValueError(f"{path} is cut, or no .npz file with the plain arrays images and labels: {repair}.") from None
    return _of_arrays(path, images, labels)


def _of_idx(path: Path) -> Iterator[tuple[np.ndarray, Any]]:
    """Images, and beside them the labels in a file of the same name, with labels-idx1 for images-idx3."""
    beside = path.with_name(path.name.replace("idx3", "idx1").replace("images", "labels"))
    if not beside.is_file():
        raise ValueError(f"{beside}, with the labels of {path.name}, is absent: put it there.")
    return _of_arrays(path, _idx(path), _idx(beside))


def _idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, packed with gzip or not (LeCun, Cortes and Burges)."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        zeros, kind, dimensions = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        if (zeros, kind) != (0, IDX_BYTES):
            raise ValueError
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except Exception:  # gzip promises no set of errors, and NumPy's words hold a shape
        raise ValueError(f"{path} is cut, or no IDX file of bytes: get it again.") from None


def _of_arrays(path: Path, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    is_grey, is_colour = images.ndim == 3, images.ndim == 4 and images.shape[-1] in (1, 2, 3, 4)
    if images.dtype.kind != "u" or images.dtype.itemsize > 2 or not (is_grey or is_colour):
        raise ValueError(f"{path}: images are {images.dtype}, {images.ndim}-dimensional, and must be uint8 or uint16 "
                         "of shape (n, height, width) or (n, height, width, channels). Bring them to that first.")
    if labels.dtype.kind not in "iuUS" or labels.ndim != 1:
        raise ValueError(f"{path}: labels are {labels.dtype.name}, {labels.ndim}-dimensional, and must be integers or "
                         "texts of shape (n,), one for each image.")
    if len(images) != len(labels):
        raise ValueError(f"{path}: there are not as many labels as images. Give each image its label.")
    return zip(images, labels)
