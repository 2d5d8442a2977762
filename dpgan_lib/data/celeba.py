"""CelebA from the official layout, whole or in part: aligned faces with 40 binary attributes, and whose face each is.

Liu, Luo, Wang, Tang 2015, "Deep Learning Face Attributes in the Wild". For non-commercial research, and not to be
redistributed: no image of it, and nothing that a model without privacy made of it, may be shown.

$DPGAN_DATA/celeba/ holds list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt, and images as a folder
img_align_celeba/ or in zip files img_align_celeba*.zip, in any format that Pillow reads: originals of 178x218 pixels,
whose central 148x148 are taken, or squares. Images that are not there are left out.
"""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dpgan_lib.paths import ROOT

NAME = "celeba"
ORIGINAL, CROP = (178, 218), 148  # pixels: width and height of the aligned frame, a side of its centre
FOLDER, ATTRIBUTES, PARTITION, IDENTITY = ("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt",
                                           "identity_CelebA.txt")
NAMES = tuple("""
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair
    Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup
    High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose
    Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat
    Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young
""".split())  # of the attributes
IMAGES = 202_599  # in the full data set, numbered from 1
CHUNK = 2_000  # images read and decoded at a time
PARTS = ("train", "valid", "test")  # 0, 1, 2 in the partition
REMEDY = ("Get CelebA from its authors (mmlab.ie.cuhk.edu.hk/projects/CelebA.html), for non-commercial research alone "
          "and not to be passed on, and put it into {folder}.")


@dataclass(frozen=True)
class Faces:
    """One part of the data. images (n, 3, side, side) uint8, attributes (n, A) bool, people (n,) integers."""

    images: np.ndarray
    attributes: np.ndarray
    people: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def scaled(self) -> np.ndarray:
        """(n, 3, side, side) float32 in [-1, 1]: fixed and public."""
        return self.images.astype(np.float32) / 127.5 - 1


def load(attributes: tuple[str, ...], side: int = 32, *, only: str | None = None,
         progress: bool = True) -> dict[str, Faces]:
    """The parts "train", "valid" and "test" with the named attributes.

    only: a file beside this one with the numbers of the images to take, as bits; all that are at hand without it.
    Images are decoded once, in parallel, and kept as bytes in the user's cache, by side and by what they were read
    from.
    Raises ValueError, one line with the repair, for what is absent, broken, or without a row in a list.
    """
    listed = _listing()
    pixels = _cached(listed, side, progress)
    columns = [_column(listed, name) for name in attributes]
    taken = range(len(listed.names)) if only is None else _among(listed, only)
    chosen = {part: [row for row in taken if listed.parts[listed.names[row]] == number]
              for number, part in enumerate(PARTS)}
    values = np.array([listed.attributes[name] for name in listed.names], dtype=bool)[:, columns]
    people = np.array([listed.people[name] for name in listed.names], dtype=np.int64)
    return {part: Faces(pixels[rows], values[rows], people[rows]) for part, rows in chosen.items()}


def summary() -> dict:
    """What is at hand, without decoding an image: how many of each part, people in training, and the source's hash."""
    listed = _listing()
    train = [name for name in listed.names if listed.parts[name] == 0]
    counts = {part: sum(listed.parts[name] == number for name in listed.names) for number, part in enumerate(PARTS)}
    return counts | {"people": len({listed.people[name] for name in train}), "source_sha256": listed.digest}


# What is there

@dataclass(frozen=True)
class _Listing:
    """names: stems of the images at hand, in order, each with an entry in every dict."""

    names: list[str]
    sources: dict[str, tuple[Path, str]]  # a folder or a zip file, and the name in it
    attribute_names: list[str]
    attributes: dict[str, list[bool]]
    parts: dict[str, int]
    people: dict[str, int]
    digest: str


def _listing() -> _Listing:
    folder = _folder()
    sources, digest = _sources(folder)
    names = sorted(sources)
    attribute_names, attributes = _attributes(folder / ATTRIBUTES)
    parts = {name: int(values[0]) for name, values in _rows(folder / PARTITION, skip=0)}
    people = {name: int(values[0]) for name, values in _rows(folder / IDENTITY, skip=0)}
    for file, rows in ((ATTRIBUTES, attributes), (PARTITION, parts), (IDENTITY, people)):
        if missing := [name for name in names if name not in rows]:
            raise ValueError(f"{len(missing)} images have no row in {folder / file}, the first of them {missing[0]}: "
                             f"restore the list, or take the images away.")
    for file in (ATTRIBUTES, PARTITION, IDENTITY):
        digest.update((folder / file).read_bytes())
    return _Listing(names, sources, attribute_names, attributes, parts, people, digest.hexdigest())


def _folder() -> Path:
    given = os.environ.get("DPGAN_DATA")
    if not given:
        remedy = REMEDY.format(folder="$DPGAN_DATA/celeba")
        raise ValueError(f"DPGAN_DATA is unset, and CelebA cannot be downloaded here. {remedy}")
    folder = (ROOT / Path(given).expanduser()).resolve() / NAME
    for file in (ATTRIBUTES, PARTITION, IDENTITY):
        if not (folder / file).is_file():
            raise ValueError(f"{file} of CelebA is absent. {REMEDY.format(folder=folder)}")
    return folder


def _sources(folder: Path):
    """Where each image is, by its stem, and a hash of what would be read. The fullest source of an image wins."""
    found: list[dict[str, tuple[Path, str]]] = []
    digest = hashlib.sha256()
    if (folder / FOLDER).is_dir():
        files = sorted(path for path in (folder / FOLDER).iterdir() if path.is_file())
        digest.update(json.dumps([[path.name, path.stat().st_size, path.stat().st_mtime_ns]
                                  for path in files]).encode())
        found.append({path.stem: (folder / FOLDER, path.name) for path in files})
    for archive in sorted(folder.glob(f"{FOLDER}*.zip")):
        try:
            with zipfile.ZipFile(archive) as content:
                entries = [entry for entry in content.infolist() if not entry.is_dir()]
        except zipfile.BadZipFile:
            raise ValueError(f"{archive} is no whole zip file: get it again.") from None
        digest.update(json.dumps([[entry.filename, entry.CRC] for entry in entries]).encode())
        found.append({Path(entry.filename).stem: (archive, entry.filename) for entry in entries})
    sources = {}
    for images in sorted(found, key=len):
        sources |= images
    if not sources:
        raise ValueError(f"there is no image of CelebA. {REMEDY.format(folder=folder / FOLDER)}")
    return sources, digest


def _attributes(path: Path) -> tuple[list[str], dict[str, list[bool]]]:
    names = path.read_text().splitlines()[1].split()
    rows = {}
    for name, values in _rows(path, skip=2):
        if len(values) != len(names):
            raise ValueError(f"{path} has {len(values)} values for {name} and {len(names)} attributes: restore the "
                             "list.")
        rows[name] = [value == "1" for value in values]
    return names, rows


def _rows(path: Path, skip: int) -> Iterator[tuple[str, list[str]]]:
    """(stem of the image, the row's other words) of each line."""
    for line in path.read_text().splitlines()[skip:]:
        if line.strip():
            name, *values = line.split()
            yield name.rpartition(".")[0], values


def _among(listed, only) -> list[int]:
    """Rows of the images that a file names."""
    is_taken = np.unpackbits(np.load(Path(__file__).parent / only), count=IMAGES)
    numbers = (np.flatnonzero(is_taken) + 1).tolist()
    row_of = {int(name): row for row, name in enumerate(listed.names) if name.isdecimal()}
    if missing := [number for number in numbers if number not in row_of]:
        raise ValueError(f"{len(missing)} of the {len(numbers)} images that {only} names are absent, the first of them "
                         f"{missing[0]:06d}. {REMEDY.format(folder=_folder())}")
    return [row_of[number] for number in numbers]


def _column(listed, name):
    if name not in listed.attribute_names:
        raise ValueError(f"attribute={name!r} must be one of {', '.join(listed.attribute_names)}")
    return listed.attribute_names.index(name)


# Pixels

def _cached(listed: _Listing, side: int, progress: bool) -> np.ndarray:
    """(n, 3, side, side) uint8, in the order of names."""
    path = _cache() / f"{side}-{listed.digest[:16]}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    pixels = _decoded(listed, side, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, pixels)
    os.replace(temporary, path)
    return pixels


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "dpgan" / NAME


def _decoded(listed: _Listing, side: int, progress: bool) -> np.ndarray:
    archives = {place for place, _ in listed.sources.values() if place.suffix == ".zip"}
    pixels = np.empty((len(listed.names), 3, side, side), dtype=np.uint8)
    opened = {place: zipfile.ZipFile(place) for place in archives}
    try:
        with (ThreadPoolExecutor() as pool,
              tqdm(total=len(pixels), desc=f"decoding {NAME}", unit=" images", disable=not progress) as bar):
            for start in range(0, len(pixels), CHUNK):  # a pool takes all that it is given into memory at once
                names = listed.names[start : start + CHUNK]
                encoded = [_read(opened, *listed.sources[name]) for name in names]
                pixels[start : start + CHUNK] = list(pool.map(partial(_square, side=side), encoded))
                bar.update(len(names))
    finally:
        for archive in opened.values():
            archive.close()
    return pixels


def _read(opened, place, name) -> tuple[str, bytes]:
    if place not in opened:
        return str(place / name), (place / name).read_bytes()
    try:
        return f"{place}/{name}", opened[place].read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{name} in {place} is broken ({error}): get it again.") from None


def _square(named: tuple[str, bytes], side: int) -> np.ndarray:
    """(3, side, side) uint8 of an encoded image: the centre of an original, or a square as it is, resized."""
    path, content = named
    try:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    except OSError as error:
        raise ValueError(f"{path} is no whole image ({' '.join(str(error).split())[:100]}): get it again.") from None
    if image.size == ORIGINAL:
        left, top = ((length - CROP) // 2 for length in ORIGINAL)
        image = image.crop((left, top, left + CROP, top + CROP))
    elif image.width != image.height:
        raise ValueError(f"{path} has {image.width}x{image.height} pixels and must be square, or an original of "
                         f"{ORIGINAL[0]}x{ORIGINAL[1]}: align it first.")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)  # antialiased when it shrinks
    return np.asarray(image).transpose(2, 0, 1)
