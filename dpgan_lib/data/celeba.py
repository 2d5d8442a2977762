"""CelebA from the official layout, whole or in part: aligned faces with 40 binary attributes, and whose face each is.

Liu, Luo, Wang, Tang 2015, "Deep Learning Face Attributes in the Wild". For non-commercial research, and not to be
redistributed: no image of it, and nothing that a model without privacy made of it, may be shown.

Below $DPGAN_DATA/celeba/, at any depth, lie three lists, as .txt or as .csv: list_attr_celeba, list_eval_partition and
identity_CelebA; and images in a folder img_align_celeba/ or in zip files img_align_celeba*.zip, in any format that
Pillow reads: originals of 178x218 pixels, whose central 148x148 are taken, or squares. So the official download is read
as it comes, with its folders Anno, Eval and Img. Images that are not there are left out.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dpgan_lib.data import places
from dpgan_lib.data.reading import RESTORE, is_hidden, is_image, naming, read_list

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
DECODING = 2  # raise it when _square makes other pixels, and none that were kept before are read
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's, of 8 bits at most
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
    taken = np.arange(len(listed.names)) if only is None else _among(listed, only)
    parts = {}
    for number, part in enumerate(PARTS):
        rows = taken[listed.parts[taken] == number]
        parts[part] = Faces(pixels[rows], listed.attributes[rows][:, columns], listed.people[rows])
    return parts


def summary() -> dict:
    """What is at hand, without decoding an image: how many of each part, people in training, and the source's hash.

    found: lines that say what was read from where, and how many other files were passed over.
    Raises ValueError, one line with the repair, for what is absent, broken, or without a row in a list.
    """
    listed = _listing()
    counts = {part: int((listed.parts == number).sum()) for number, part in enumerate(PARTS)}
    people = len(np.unique(listed.people[listed.parts == PARTS.index("train")]))
    return counts | {"people": people, "source_sha256": listed.digest, "found": listed.found}


# What is there

@dataclass(frozen=True)
class _Listing:
    """names: stems of the images at hand, in order, n of them; found: as in summary().

    attributes (n, A) bool, parts (n,) and people (n,) int64.
    """

    names: list[str]
    sources: dict[str, tuple[Path, str]]  # a folder or a zip file, and the name in it
    attribute_names: list[str]
    attributes: np.ndarray
    parts: np.ndarray
    people: np.ndarray
    digest: str
    found: list[str]


def _listing() -> _Listing:
    folder = _folder()
    tree = _tree(folder)
    sources = _sources(tree, folder)
    where = _by_stem(sources)
    images = sorted(where)
    lists = [_find(tree, folder, name) for name in (ATTRIBUTES, PARTITION, IDENTITY)]
    attribute_names, attributes = _attributes(lists[0], images)
    parts = _one_each(lists[1], images, lambda values: values.isin(range(len(PARTS))), "0, 1 or 2 (train, valid, test)")
    people = _one_each(lists[2], images, lambda values: (values % 1 == 0) & (values.abs() < 2**53), "a whole number")
    digest = hashlib.sha256()
    for source in sources:
        digest.update(json.dumps(source.marks).encode() if source.images else b"")
    for path in lists:
        digest.update(path.read_bytes())
    return _Listing(images, where, attribute_names, attributes, parts, people, digest.hexdigest(),
                    _found(sources, lists))


def _folder() -> Path:
    folder = places.given(NAME)
    if folder is None:
        remedy = REMEDY.format(folder="$DPGAN_DATA/celeba")
        raise ValueError(f"DPGAN_DATA is unset, and CelebA cannot be downloaded here. {remedy}")
    if not folder.is_dir():
        raise _absent("the folder", folder)
    return folder


def _absent(what: str, folder: Path) -> ValueError:
    return ValueError(f"{what} of CelebA is absent ({places.holding(folder)}). {REMEDY.format(folder=folder)}")


# Where images are

def _tree(folder: Path) -> dict[Path, list[str]]:
    """The names of the files in each folder, from this one down, in order."""
    def fail(error):
        raise error  # a folder that may not be read is not an empty one

    tree = {}
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        tree[Path(place)] = sorted(name for name in names if os.path.isfile(os.path.join(place, name)))
    return tree


@dataclass(frozen=True)
class _Source:
    """A folder or a zip file of aligned images. images: their names in it.  others: names of what is no image.

    marks: of each image its name and what changes with it.
    """

    place: Path
    images: list[str]
    others: list[str]
    marks: list[list]


def _sources(tree: dict[Path, list[str]], folder: Path) -> list[_Source]:
    folders = [place for place in tree if any(map(_is_named, place.relative_to(folder).parts))]
    archives = sorted(place / name for place, names in tree.items() for name in names if _is_archive(name))
    sources = [*(_source_of_folder(place, tree[place]) for place in folders), *map(_source_of_archive, archives)]
    if not any(source.images for source in sources):
        raise _absent(f"{FOLDER}, with images,", folder)
    return sources


def _is_named(name: str) -> bool:
    return name.casefold().startswith(FOLDER)


def _is_archive(name: str) -> bool:
    return _is_named(name) and name.casefold().endswith(".zip")


def _source_of_folder(place: Path, names: list[str]) -> _Source:
    images = [name for name in names if is_image(name)]
    stats = [(place / name).stat() for name in images]
    return _Source(place, images, [name for name in names if not (is_image(name) or _is_archive(name))],
                   [[name, stat.st_size, stat.st_mtime_ns] for name, stat in zip(images, stats)])


def _source_of_archive(path: Path) -> _Source:
    with naming(f"{path} is no whole zip file"), zipfile.ZipFile(path) as content:
        entries = [entry for entry in content.infolist() if not entry.is_dir()]
    images = [entry for entry in entries if is_image(entry.filename)]
    return _Source(path, [entry.filename for entry in images],
                   [entry.filename for entry in entries if not is_image(entry.filename)],
                   [[entry.filename, entry.CRC] for entry in images])


def _by_stem(sources: list[_Source]) -> dict[str, tuple[Path, str]]:
    """Where each image is, by its stem: in the fullest source that has it."""
    where: dict[str, tuple[Path, str]] = {}
    for source in sorted(sources, key=lambda source: len(source.images)):
        where |= {Path(name).stem: (source.place, name) for name in source.images}
    return where


def _found(sources: list[_Source], lists: list[Path]) -> list[str]:
    """Lines that say what is read from where, and what is not."""
    others = [source.place / name for source in sources for name in source.others]
    passed_over = [f"{len(others)} other files passed over, the first of them {others[0]}"] if others else []
    return [*(f"{len(source.images)} images in {source.place}" for source in sources if source.images),
            *(f"list {path}" for path in lists), *passed_over]


# Lists

def _find(tree: dict[Path, list[str]], folder: Path, name: str) -> Path:
    """A list: the one that lies least deep, and a .txt before a .csv."""
    spelt = (name.casefold(), Path(name).stem.casefold() + ".csv")
    found = [place / file for place, files in tree.items() for file in files if file.casefold() in spelt]
    if not found:
        raise _absent(name, folder)
    return min(found, key=lambda path: (len(path.parts), path.suffix.lower() != ".txt", path))


def _attributes(path: Path, images: list[str]) -> tuple[list[str], np.ndarray]:
    """The attributes' names, A of them, and (n, A) bool of the images."""
    listed = read_list(path)
    names = listed.header if set(listed.header[:1]) <= set(NAMES) else listed.header[1:]  # after "image_id"
    if len(names) != listed.values.shape[1]:
        raise ValueError(f"{path} has {listed.values.shape[1]} values a row and {len(names)} attributes above them: "
                         f"{RESTORE}.")
    return names, listed.numbers(images, lambda values: values.isin([-1, 0, 1]), "1, or else -1 or 0") == 1


def _one_each(path: Path, images: list[str], is_right: Callable, words: str) -> np.ndarray:
    """(n,) the images' numbers in a list that has one of each."""
    listed = read_list(path)
    if listed.values.shape[1] != 1:
        raise ValueError(f"{path} has {listed.values.shape[1]} values a row, where one must stand: {RESTORE}.")
    return listed.numbers(images, is_right, words)[:, 0]


def _among(listed: _Listing, only: str) -> np.ndarray:
    """Rows of the images that a file names."""
    path = Path(__file__).parent / only
    with naming(f"{path} is no whole list of images", "install dpgan_lib again"):
        is_taken = np.unpackbits(np.load(path))[:IMAGES]
    numbers = (np.flatnonzero(is_taken) + 1).tolist()
    row_of = {int(name): row for row, name in enumerate(listed.names) if name.isdecimal()}
    if missing := [number for number in numbers if number not in row_of]:
        raise ValueError(f"{len(missing)} of the {len(numbers)} images that {only} names are absent, the first of them "
                         f"{missing[0]:06d}. {REMEDY.format(folder=_folder())}")
    return np.array([row_of[number] for number in numbers])


def _column(listed: _Listing, name: str) -> int:
    if name not in listed.attribute_names:
        raise ValueError(f"attribute={name!r} must be one of {', '.join(listed.attribute_names)}")
    return listed.attribute_names.index(name)


# Pixels

def _cached(listed: _Listing, side: int, progress: bool) -> np.ndarray:
    """(n, 3, side, side) uint8, in the order of names."""
    path = places.cache(NAME) / f"{side}-{listed.digest[:16]}-{DECODING}.npy"
    if (kept := _kept(path, (len(listed.names), 3, side, side))) is not None:
        return kept
    pixels = _decoded(listed, side, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, pixels)
    os.replace(temporary, path)
    return pixels


def _kept(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file of the cache; None if there is none, or not the whole of it."""
    try:
        kept = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape else None


def _decoded(listed: _Listing, side: int, progress: bool) -> np.ndarray:
    archives = {place for place in {place for place, _ in listed.sources.values()} if place.is_file()}
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
    with naming(f"{name} in {place} cannot be read", "get the zip file again, or unpack it"):
        return f"{place}/{name}", opened[place].read(name)


def _square(named: tuple[str, bytes], side: int) -> np.ndarray:
    """(3, side, side) uint8 of an encoded image: the centre of an original, or a square as it is, resized."""
    path, content = named
    with naming(f"{path} cannot be read as an image", "get it again, in its original size"):
        image = Image.open(io.BytesIO(content))
        image.load()
    image = _rgb(image, path)
    if image.size == ORIGINAL:
        left, top = ((length - CROP) // 2 for length in ORIGINAL)
        image = image.crop((left, top, left + CROP, top + CROP))
    elif image.width != image.height or image.width < side:
        raise ValueError(f"{path} has {image.width}x{image.height} pixels and must be an original of "
                         f"{ORIGINAL[0]}x{ORIGINAL[1]}, or square and at least {side}x{side}: align it first.")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)  # antialiased when it shrinks
    return np.asarray(image).transpose(2, 0, 1)


def _rgb(image: Image.Image, path: str) -> Image.Image:
    """In 8 bits a colour, whatever of MODES it is in. Raises ValueError for another, or if it can be looked through."""
    if image.mode.startswith("I;16"):  # 16 bits of grey: convert() would clip them at 255
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode not in MODES:
        raise ValueError(f"{path} has pixels of the mode {image.mode}, of which no range is known: save it with 8 bits "
                         "a colour.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise ValueError(f"{path} has transparent pixels, and what is behind them is unknown: save it without.")
    return image.convert("RGB")
