"""Images of one's own: every form reads to the same arrays, and no record changes another or what is said."""

import csv
import gzip
import io
import os
import re
import shlex
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet

from dpgan_lib import data, profiles, release
from dpgan_lib.cli import main
from dpgan_lib.data import labelled_images
from dpgan_lib.data.labelled_images import NO_CLASS, Declared
from dpgan_lib.records import checks, store, verify

NAMES = ("cat", "dog", "owl")  # in the order of their folders
SIDE, GROUND = 12, 40
GREY = Declared(classes=NAMES, side=SIDE, ground=GROUND)
COLOUR = replace(GREY, channels=3)
RNG = np.random.default_rng(3)
GREYS = RNG.integers(0, 256, (9, SIDE, SIDE), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (9, SIDE, SIDE, 3), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], 3)
FILES = [f"{number:02}.png" for number in range(9)]
BLANK = np.full((SIDE, SIDE), GROUND, np.uint8)


def encoded(image, form="PNG", **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


# The forms

def in_folders(place: Path, images, names) -> Path:
    for file, image, name in zip(FILES, images, names):
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / file).write_bytes(encoded(image))
    return place


def in_list(place: Path, images, names) -> Path:
    (place / "images").mkdir(parents=True)
    rows = [("file", "label")]
    for file, image, name in zip(FILES, images, names):
        (place / "images" / file).write_bytes(encoded(image))
        rows.append((f"images/{file}", name))
    with open(place / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


def in_list_itself(place: Path, images, names) -> Path:
    return in_list(place, images, names) / "labels.csv"


def in_parquet(path: Path, column, names) -> Path:
    path = path.with_suffix(".parquet")
    parquet.write_table(pyarrow.table({"image": column, "label": names}), path)
    return path


def in_structs(path: Path, images, names) -> Path:
    return in_parquet(path, [{"bytes": encoded(image), "path": file} for file, image in zip(FILES, images)], names)


def in_bytes(path: Path, images, names) -> Path:
    return in_parquet(path, [encoded(image) for image in images], names)


def in_lists(path: Path, images, names) -> Path:
    return in_parquet(path, images.tolist(), names)


def in_wide_lists(path: Path, images, names) -> Path:
    kind = pyarrow.uint16()
    for _ in range(images.ndim - 1):
        kind = pyarrow.list_(kind)
    return in_parquet(path, pyarrow.array((images.astype(np.uint16) * 257).tolist(), kind), names)


def in_npz(path: Path, images, names) -> Path:
    path = path.with_suffix(".npz")
    np.savez(path, images=images, labels=names)
    return path


def in_wide_npz(path: Path, images, names) -> Path:
    return in_npz(path, images.astype(">u2") * 257, names)


@pytest.mark.parametrize("form", [in_folders, in_list, in_list_itself, in_structs, in_bytes, in_lists, in_wide_lists,
                                  in_npz, in_wide_npz])
@pytest.mark.parametrize("declared, images", [(GREY, GREYS), (COLOUR, COLOURS)], ids=["grey", "colour"])
def test_every_form_reads_to_the_same_arrays_bit_for_bit(tmp_path, form, declared, images):
    found = labelled_images.read(form(tmp_path / "x", images, [NAMES[label] for label in LABELS]), declared)
    assert found[0].dtype == np.uint8 and found[1].dtype == np.int64
    assert np.array_equal(found[0], images) and np.array_equal(found[1], LABELS)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("name, pack", [("train-images-idx3-ubyte", bytes), ("train-images.idx3-ubyte", bytes),
                                        ("t10k-images-idx3-ubyte.gz", gzip.compress)])
def test_idx_files_read_to_the_same_arrays(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(idx(GREYS)))
    (tmp_path / name.replace("images", "labels").replace("idx3", "idx1")).write_bytes(pack(idx(LABELS.astype("u1"))))
    found = labelled_images.read(tmp_path / name, replace(GREY, classes=("0", "1", "2")))
    assert np.array_equal(found[0], GREYS) and np.array_equal(found[1], LABELS)


def test_idx_files_as_mnist_comes_are_read_as_the_library_reads_them():
    folder = Path(os.environ.get("DPGAN_DATA", "/nowhere")) / "mnist"
    if not (folder / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip("MNIST is not at hand")
    declared = Declared(classes=tuple("0123456789"), side=28)
    images, labels = labelled_images.read(folder / "t10k-images-idx3-ubyte.gz", declared)
    assert np.array_equal(images, data.read_idx(folder / "t10k-images-idx3-ubyte.gz", (10_000, 28, 28)))
    assert np.array_equal(labels, data.read_idx(folder / "t10k-labels-idx1-ubyte.gz", (10_000,)))


@pytest.mark.parametrize("declared, labels", [
    (("3", "5", "7"), [3, 5, 7]), (("3", "5", "7"), [3.0, 5.0, float("nan")]),
    (("a", "é", "c"), ["a", "e\u0301", "c "]), (("0", "1", "2"), [0, 1, None])])
def test_labels_of_any_kind_are_places_among_the_declared_classes(tmp_path, declared, labels):
    wanted = [NO_CLASS if label is None or label != label else place for place, label in enumerate(labels)]
    path = in_parquet(tmp_path / "x", GREYS[:3].tolist(), labels)
    assert labelled_images.read(path, replace(GREY, classes=declared))[1].tolist() == wanted


def test_numbers_in_an_npz_are_names_too(tmp_path):
    path = in_npz(tmp_path / "x", GREYS, np.array([7, 5, 3] * 3, ">i4"))
    assert labelled_images.read(path, replace(GREY, classes=("3", "5", "7")))[1].tolist() == [2, 1, 0] * 3


def test_classes_are_a_number_or_names():
    assert labelled_images.class_names("3") == ("0", "1", "2")
    assert labelled_images.class_names(' cat,"a, b",3.0') == ("cat", "a, b", "3")
    for wrong in ("a,,b", "a,b,a", "3,3.0", ""):
        with pytest.raises(ValueError, match="an empty name, or one twice"):
            labelled_images.class_names(wrong)


# The size

def test_padding_keeps_the_pixels_and_cuts_what_stands_out(tmp_path):
    images = RNG.integers(0, 256, (1, 8, 20), dtype=np.uint8)
    (found,), _ = labelled_images.read(in_npz(tmp_path / "x", images, ["dog"]), GREY)
    assert np.array_equal(found[2:10], images[0, :, 4:16])
    assert (found[:2] == GROUND).all() and (found[10:] == GROUND).all()


def test_resizing_keeps_the_proportions(tmp_path):
    images = np.full((1, 12, 48), 200, np.uint8)
    (found,), _ = labelled_images.read(in_npz(tmp_path / "x", images, ["dog"]), replace(GREY, fit="resize"))
    assert (found == [[GROUND]] * 4 + [[200]] * 3 + [[GROUND]] * 5).all()


@pytest.mark.parametrize("fit", labelled_images.FITS)
def test_all_forms_fit_alike(tmp_path, fit):
    images, names = RNG.integers(0, 256, (9, 17, 10, 3), dtype=np.uint8), [NAMES[label] for label in LABELS]
    first, *others = (labelled_images.read(form(tmp_path / form.__name__, images, names), replace(COLOUR, fit=fit))[0]
                      for form in (in_npz, in_folders, in_list, in_structs, in_lists))
    assert len(np.unique(first)) > 50 and all(np.array_equal(first, other) for other in others)


# One odd record

def palette(**options) -> bytes:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    return encoded(image, **options)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png(width: int, height: int) -> bytes:
    """Black, one bit a pixel: some kilobytes that unpack to width * height pixels."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + -(-width // 8))) for _ in range(height)) + rows.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
            + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def turned() -> tuple[bytes, np.ndarray]:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    return encoded(GREYS[0], exif=exif), np.rot90(GREYS[0], -1)


def flat(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE), value, np.uint8)


HALF = Image.new("RGBA", (SIDE, SIDE), (200, 200, 200, 0))
WHOLE = encoded(GREYS[0])
FITTING = {  # what an image becomes
    "16 bits": (encoded(GREYS[0].astype(np.uint16) * 257), GREYS[0]),
    "16 bits, big-endian": (encoded(Image.frombytes("I;16B", (SIDE, SIDE), (GREYS[0].astype(">u2") * 257).tobytes()),
                                    "TIFF"), GREYS[0]),
    "palette": (palette(), flat(90)), "palette with a transparent colour": (palette(transparency=1), BLANK),
    "transparent": (encoded(HALF), BLANK), "grey and alpha": (encoded(HALF.convert("LA")), BLANK),
    "one bit": (encoded(Image.new("1", (SIDE, SIDE), 1)), flat(255)),
    "CMYK JPEG": (encoded(Image.new("CMYK", (SIDE, SIDE), (0, 0, 0, 0)), "JPEG"), flat(255)),
    "EXIF-rotated": turned(), "GIF": (encoded(GREYS[0] // 2, "GIF"), GREYS[0] // 2),
    "GIF of two frames": (encoded(Image.fromarray(flat(7)), "GIF", save_all=True,
                                  append_images=[Image.fromarray(flat(9))]), flat(7)),
    "BMP": (encoded(GREYS[0], "BMP"), GREYS[0]),
    "WebP": (encoded(COLOURS[0] * 0 + 80, "WEBP", lossless=True), flat(80)),
    "PGM": (encoded(GREYS[0], "PPM"), GREYS[0])}
BROKEN_EXIF = chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + bytes(9))
BROKEN = {
    "cut": WHOLE[: len(WHOLE) // 2], "of zero bytes": b"", "a web page": b"<!doctype html>",
    "floats": encoded(Image.new("F", (SIDE, SIDE), 7.0), "TIFF"),
    "32 bits": encoded(Image.new("I", (SIDE, SIDE), 7), "TIFF"), "Lab": encoded(Image.new("LAB", (SIDE, SIDE)), "TIFF"),
    "PCX, which is not read": encoded(GREYS[0], "PCX"),
    "broken EXIF": WHOLE[:33] + BROKEN_EXIF + chunk(b"IDAT", b"x") + WHOLE[33:],
    "huge": huge_png(8_200, 8_200), "huge, and Pillow warns": huge_png(100_000, 1_000),
    "huge, and Pillow refuses": huge_png(200_000, 1_000),
    "huge by its own account": WHOLE[:16] + struct.pack(">II", 9**9, 9**9) + WHOLE[24:],
    "a wrong checksum": WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:]}


def one_odd(place: Path, content: bytes, form) -> Path:
    """Three records; the second one's image is a file with this content."""
    if form is in_structs:
        images = [{"bytes": each, "path": None} for each in (WHOLE, content, encoded(GREYS[2]))]
        return in_parquet(place, images, list(NAMES))
    path = form(place, GREYS[:3], list(NAMES))
    (odd,) = path.rglob("01.png")
    odd.write_bytes(content)
    return path


@pytest.mark.parametrize("form", [in_folders, in_list, in_structs])
@pytest.mark.parametrize("name", FITTING)
def test_an_image_that_is_stored_otherwise_is_read(tmp_path, form, name):
    content, wanted = FITTING[name]
    found, labels = labelled_images.read(one_odd(tmp_path / "x", content, form), GREY)
    assert np.array_equal(found[1], wanted) and labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("form", [in_folders, in_list, in_structs])
@pytest.mark.parametrize("name", BROKEN)
def test_an_image_that_does_not_fit_is_blank_and_of_no_class_in_silence(tmp_path, form, name, capfd):
    path = one_odd(tmp_path / "x", BROKEN[name], form)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found, labels = labelled_images.read(path, GREY)
    assert np.array_equal(found, [GREYS[0], BLANK, GREYS[2]]) and labels.tolist() == [0, NO_CLASS, 2]
    assert not warned and capfd.readouterr() == ("", "")


def by_record(path: Path, declared: Declared = GREY) -> list[tuple[bytes, int]]:
    """Of each record that can train anything, its pixels and its label."""
    images, labels = labelled_images.read(path, declared)
    return [(image.tobytes(), label) for image, label in zip(images, labels.tolist()) if label != NO_CLASS]


def put(name: str, content: bytes = WHOLE):
    def act(folder: Path):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return act


ODD_ENTRIES = {
    "an unknown class": put("emu/1.png"), "a file beside the folders": put("1.png"),
    "a text": put("cat/notes.txt", b"x"), ".DS_Store": put("cat/.DS_Store"),
    "Thumbs.db": put("cat/Thumbs.db", b"\xd0\xcf\x11\xe0"), "a resource fork": put("cat/._00.png"),
    "__MACOSX": put("__MACOSX/cat/00.png"), "__MACOSX within": put("cat/__MACOSX/00.png"),
    "a loop": lambda folder: (folder / "cat" / "loop.png").symlink_to("loop.png"),
    "a loop of folders": lambda folder: (folder / "cat" / "loop").symlink_to(".."),
    "a loop for a class": lambda folder: (folder / "emu").symlink_to("emu"),
    "a link to nothing": lambda folder: (folder / "cat" / "gone.png").symlink_to("/nowhere/x.png"),
    "a pipe": lambda folder: os.mkfifo(folder / "cat" / "pipe.png"),
    "a folder named as an image": lambda folder: (folder / "cat" / "x.png").mkdir(),
    "a name that is no UTF-8": lambda folder: put(b"cat/\xff.png".decode("utf-8", "surrogateescape"), b"")(folder)}


@pytest.mark.parametrize("name", ODD_ENTRIES)
def test_an_odd_entry_of_a_folder_changes_no_other_record(tmp_path, name, capfd):
    path = in_folders(tmp_path / "x", GREYS, [NAMES[label] for label in LABELS])
    before = by_record(path)
    ODD_ENTRIES[name](path)
    assert len(before) == len(GREYS) and by_record(path) == before and capfd.readouterr() == ("", "")


def test_an_image_of_a_folder_may_lie_deeper_and_the_folder_of_a_class_may_be_a_link(tmp_path):
    path = in_folders(tmp_path / "x", GREYS, [NAMES[label] for label in LABELS])
    before = by_record(path)
    (path / "owl").rename(tmp_path / "elsewhere")
    (path / "owl").symlink_to(tmp_path / "elsewhere")
    (path / "cat" / "a").mkdir()
    (path / "cat" / "00.png").rename(path / "cat" / "a" / "00.png")
    assert sorted(by_record(path)) == sorted(before)


def test_an_image_is_known_by_its_content_and_not_by_its_name(tmp_path):
    path = in_folders(tmp_path / "x", GREYS[:3], NAMES)
    before = by_record(path)
    for name, other in zip(FILES, ("00", "01.JPG", "02.txt")):
        (found,) = path.rglob(name)
        found.rename(found.with_name(other))
    assert len(before) == 3 and by_record(path) == before


LINES = {  # added to a list: what trains more than before, by the number of an image and its label
    "an unknown class": ("x.png,emu", []), "no label": ("x.png", []), "no file": (",cat", []),
    "absent": ("y.png,cat", []), "a blank line": ("", []), "an open quote": ('"x.png,cat', []),
    "an open quote in the label": ('x.png,"cat', [(8, 0)]),
    "Latin-1": (b"x.png,ch\xe2t", []), "a file in Latin-1": (b"\xe2.png,cat", []), "NUL": (b"x.png,c\0at", []),
    "UTF-16 in the midst": ("x.png,cat".encode("utf-16"), []), "a line separator": ("x.png,cat\u2028", [(8, 0)]),
    "a form feed within": ("x.png\f,cat\x0b", [(8, 0)]), "one cell more": ("x.png,cat,1", [(8, 0)]),
    "quotes": ('"x.png","cat"', [(8, 0)]), "blanks": (" x.png , cat ", [(8, 0)]), "a path": ("./x.png,cat", [(8, 0)]),
    "Windows": ("x.png,cat\r", [(8, 0)]), "a long cell": ("x.png," + "c" * 200_000, []), "a folder": ("images,cat", []),
    "the same row twice": ("x.png,cat\nx.png,cat", [(8, 0)]),
    "spelt in two ways": ("x.png,cat\nimages/../x.png,cat", [(8, 0)]), "two labels": ("x.png,cat\nx.png,dog", [])}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("place", [1, 5, 9], ids=["first", "amid", "last"])
def test_an_odd_line_of_a_list_changes_no_other_record(tmp_path, name, place, capfd):
    path = in_list(tmp_path / "x", GREYS, [NAMES[label] for label in LABELS])
    line, more = LINES[name]
    (path / "x.png").write_bytes(encoded(GREYS[8]))
    before = by_record(path)
    lines = (path / "labels.csv").read_bytes().replace(b"\r", b"").rstrip(b"\n").split(b"\n")
    lines.insert(place, line if isinstance(line, bytes) else line.encode())
    (path / "labels.csv").write_bytes(b"\n".join(lines))
    assert by_record(path) == before + [(GREYS[image].tobytes(), label) for image, label in more]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("header", [
    b"file,label\n", b"\xef\xbb\xbffile,label\r\n", b"n;file;label\n", b'"label"\t"file"\n', b" file , label ,\n"])
def test_headers_that_go_about_are_read(tmp_path, header):
    path = in_list(tmp_path / "x", GREYS[:1], ["dog"])
    row = {name: value for name, value in (("file", "images/00.png"), ("label", "dog"), ("n", "3"), ("", ""))}
    separator = next(each for each in ",;\t" if each.encode() in header)
    names = header.removeprefix(b"\xef\xbb\xbf").decode().replace('"', "").split(separator)
    (path / "labels.csv").write_bytes(header + separator.join(row[name.strip()] for name in names).encode())
    assert by_record(path) == [(GREYS[0].tobytes(), 1)]


ROWS = {"no image": None, "no bytes": {"bytes": None, "path": "x.png"}, "broken": {"bytes": b"x", "path": None}}


@pytest.mark.parametrize("name", ROWS)
def test_an_odd_row_of_structs_changes_no_other_record(tmp_path, name):
    images = [{"bytes": encoded(image), "path": None} for image in GREYS]
    before = by_record(in_parquet(tmp_path / "x", images, [NAMES[label] for label in LABELS]))
    images.insert(4, ROWS[name])
    assert by_record(in_parquet(tmp_path / "x", images, [*"abcd", *"abcdef"])) == []
    assert by_record(in_parquet(tmp_path / "x", images, [NAMES[label] for label in np.insert(LABELS, 4, 0)])) == before


@pytest.mark.parametrize("odd", [None, [[1, 2], [3]], [[300] * SIDE] * SIDE, [[-1] * SIDE] * SIDE, [[None] * SIDE], []])
def test_an_odd_row_of_lists_changes_no_other_record(tmp_path, odd):
    images, names = GREYS.tolist(), [NAMES[label] for label in LABELS]
    before = by_record(in_parquet(tmp_path / "x", images, names))
    assert len(before) == 9 and by_record(in_parquet(tmp_path / "x", [*images, odd], [*names, "cat"])) == before


# What is refused, without a word of what is inside

SECRET = "Jane-Doe-7"


def no_class(place: Path) -> Path:
    put(f"{SECRET}/{SECRET}.png")(place)
    return place


def a_file(name: str, content: bytes):
    def make(place: Path) -> Path:
        put(name, content)(place)
        return place / name

    return make


def idx_pair(images: bytes, labels: bytes | None):
    def make(place: Path) -> Path:
        place.mkdir()
        (place / "a-idx3-ubyte").write_bytes(images)
        if labels is not None:
            (place / "a-idx1-ubyte").write_bytes(labels)
        return place / "a-idx3-ubyte"

    return make


def table(**columns) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def archive(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


ROW = f"{SECRET}.png,cat\n".encode()
LISTS = table(image=[[[1.5]]], label=[SECRET])
REFUSED = {
    "absent": (lambda place: place / "absent", "is absent: name a folder"),
    "another form": (a_file("x.docx", SECRET.encode()), "is in no form that is read here"),
    "no class": (no_class, "neither labels.csv nor a folder named as one of the declared classes"),
    "an empty list": (a_file("labels.csv", b""), "must begin with a line, in UTF-8, that names"),
    "no header": (a_file("labels.csv", ROW + ROW), "must begin with a line, in UTF-8, that names"),
    "half a header": (a_file("labels.csv", b"file,class\n" + ROW), "must begin with a line, in UTF-8, that names"),
    "UTF-16": (a_file("labels.csv", "file,label\n".encode("utf-16") + ROW), "must begin with a line, in UTF-8, that"),
    "no Parquet": (a_file("x.parquet", SECRET.encode()), "is cut, or no Parquet file"),
    "cut Parquet": (a_file("x.parquet", LISTS[:-20]), "is cut, or no Parquet file"),
    "other columns": (a_file("x.parquet", table(img=[1], label=[SECRET])), "or no Parquet file with the columns"),
    "floats in lists": (a_file("x.parquet", LISTS), "neither encoded files nor whole numbers in lists of rows"),
    "flat lists": (a_file("x.parquet", table(image=[[1, 2]], label=[SECRET])), "neither encoded files nor whole"),
    "texts": (a_file("x.parquet", table(image=[SECRET], label=[SECRET])), "neither encoded files nor whole numbers"),
    "no .npz": (a_file("x.npz", SECRET.encode()), "is cut, or no .npz file"),
    "other arrays": (a_file("x.npz", archive(x=GREYS, label=LABELS)), "is cut, or no .npz file with the plain arrays"),
    "floats": (a_file("x.npz", archive(images=GREYS / 255, labels=LABELS)), "images are float64, 3-dimensional"),
    "channels first": (a_file("x.npz", archive(images=GREYS[:, None], labels=LABELS)), "images are uint8, 4-dim"),
    "one-hot": (a_file("x.npz", archive(images=GREYS, labels=np.eye(3)[LABELS])), "labels are float64, 2-dim"),
    "fewer labels": (a_file("x.npz", archive(images=GREYS, labels=LABELS[1:])), "not as many labels as images"),
    "no labels": (idx_pair(idx(GREYS), None), "a-idx1-ubyte, with the labels of a-idx3-ubyte, is absent"),
    "cut IDX": (idx_pair(idx(GREYS)[:-1], idx(LABELS.astype("u1"))), "is cut, or no IDX file of bytes"),
    "other IDX": (idx_pair(idx(GREYS), b"\0\0\x0d\1\0\0\0\x09" + bytes(9)), "is cut, or no IDX file of bytes"),
    "cut gzip": (idx_pair(gzip.compress(idx(GREYS))[:-9], idx(LABELS.astype("u1"))), "is cut, or no IDX file of bytes"),
    "fewer IDX labels": (idx_pair(idx(GREYS), idx(LABELS[1:].astype("u1"))), "not as many labels as images")}


@pytest.mark.parametrize("name", REFUSED)
def test_another_layout_is_refused_in_one_line_that_quotes_nothing(tmp_path, name):
    make, says = REFUSED[name]
    with pytest.raises(ValueError) as refusal:
        labelled_images.read(make(tmp_path / "x"), GREY)
    said = str(refusal.value).replace(str(tmp_path), "")
    assert says in said and "\n" not in said and SECRET not in said
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
    assert not {"9", str(SIDE), str(GREYS.size)} & set(re.findall(r"[0-9]+", said))  # counts and sizes


def test_what_does_not_fit_into_memory_is_said_without_its_size(tmp_path, monkeypatch):
    def fail(*given):
        raise MemoryError("Unable to allocate an array with shape (60000, 28, 28)")

    monkeypatch.setattr(labelled_images, "_records", fail)
    with pytest.raises(ValueError, match="^x does not fit into memory: give this process more of it.$") as refusal:
        labelled_images.read("x", GREY)
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("change", [{"channels": 2}, {"fit": "crop"}, {"ground": 256}])
def test_a_declaration_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}=.* is none of"):
        replace(GREY, **change)


# The command

@pytest.fixture
def short(monkeypatch):
    """The smoke profile with fewer steps."""
    monkeypatch.setitem(profiles.PROFILES, "smoke", replace(profiles.PROFILES["smoke"], steps=12))


def released(path: Path, out: Path, *more: str):
    arguments = ["--quiet", "release", str(path), "--name", "zoo", "--kind", "plain", "--records", "1500",
                 "--epsilon", "3", "--delta", "1e-5", "--profile", "smoke", "--out", str(out), *more]
    return CliRunner().invoke(main, arguments)


def test_colours_are_scaled_as_greys_are_and_channels_come_first():
    pixels = release.scaled(COLOURS)
    assert pixels.dtype == np.float32 and pixels.flags.c_contiguous
    for channel in range(3):
        assert np.array_equal(pixels[:, channel], release.scaled(COLOURS[..., channel])[:, 0])


DECLARED = ["--classes", ",".join(NAMES), "--side", "12"]


@pytest.mark.parametrize("form", [in_folders, in_list, in_structs, in_npz])
def test_a_release_says_what_was_declared_and_how_images_were_fitted(short, tmp_path, form):
    path = form(tmp_path / SECRET, COLOURS, [NAMES[label] for label in LABELS])
    done = released(path, tmp_path / "out", *DECLARED, "--channels", "3", "--fit", "resize", "--ground", "9")
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "out" / "release").iterdir()
    record = store.read(folder)
    fitted = {"class_names": list(NAMES), "classes": 3, "side": 12, "channels": 3, "fit": "resize", "ground": 9}
    assert record.content["card"].items() >= fitted.items() and record.config.model.channels == 3
    with Image.open(folder / "samples.png") as samples:
        assert (samples.size, samples.mode) == ((120, 36), "RGB")
    assert not [check for check in verify.check(record) if check.outcome == checks.FAILED]
    assert not [file for file in folder.iterdir() if SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize("form", [in_folders, in_list, in_structs])
def test_two_inputs_that_differ_in_one_record_are_spoken_of_alike(short, tmp_path, monkeypatch, capfd, form):
    """One has the record, the others have it broken in some way, or not at all."""
    said = set()
    for number, content in enumerate([WHOLE, *(BROKEN[name] for name in ("cut", "huge", "broken EXIF")), None]):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        path = one_odd(Path("x"), content or WHOLE, form)
        if content is None and path.is_dir():
            (odd,) = path.rglob("01.png")
            odd.unlink()
        done = released(path, Path("out"), *DECLARED)
        said.add((done.exit_code, done.stdout, done.stderr, *capfd.readouterr()))
    ((status, *_, noise, noises),) = said
    assert status == 0 and noise == noises == ""


@pytest.mark.parametrize("more, says", [
    (["--classes", "cat,dog,owl"], "side=None must be declared"), (["--classes", "3"], "side=None must be declared"),
    (["--classes", "cat,cat", "--side", "12"], "an empty name, or one twice"),
    (["--classes", "cat,dog", "--side", "13"], "side=13 must be a multiple of 4"),
    (["--classes", "cat,dog", "--side", "12", "--channels", "2"], "channels=2 must be 1 for grey or 3"),
    (["--classes", "cat,dog", "--side", "12", "--epsilon", "inf"], "must be finite")])
def test_a_wrong_declaration_is_refused_before_anything_is_read(tmp_path, monkeypatch, more, says):
    path = in_folders(tmp_path / "x", GREYS, [NAMES[label] for label in LABELS])
    monkeypatch.setattr(labelled_images, "read", lambda *given: pytest.fail("the data was read"))
    done = released(path, tmp_path / "out", *more)
    assert done.exit_code == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.output


def test_accuracies_on_public_images_are_of_grey_ones(short, tmp_path):
    path = in_npz(tmp_path / "x", COLOURS, [NAMES[label] for label in LABELS])
    done = released(path, tmp_path / "out", *DECLARED, "--channels", "3", "--public-test", str(path))
    assert done.exit_code == 2 and "channels=3 must be 1 for accuracies" in done.stderr


# The page

PAGE = (Path(__file__).parents[1] / "book" / "rerun.md").read_text(encoding="utf-8")


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"(?sm)^```{language}\n(.*?)^```$", text)


@pytest.mark.full
def test_the_example_of_the_page_says_what_the_page_says_that_it_says(tmp_path, monkeypatch):
    example = PAGE.partition("(own-example)=")[2].partition("\n## ")[0]
    (code,), commands, outputs = (blocks(language, example) for language in ("python", "bash", "text"))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    for command, output in zip(commands, outputs, strict=True):
        done = CliRunner().invoke(main, shlex.split(command)[1:])
        assert (done.exit_code, done.stdout) == (0, output), done.output
    drawn = {path.name for path in (tmp_path / output.strip()).iterdir()}
    assert drawn >= {"000.png", "999.png", "labels.csv", "README.md", "croissant.json", "SHA256SUMS"}
    assert len(drawn) == 1004


def test_the_page_shows_how_to_look_at_what_was_read(tmp_path, monkeypatch, capsys):
    in_folders(tmp_path / "scans", GREYS[:3], ["healthy", "ill", "healed"]).joinpath("ill", "cut.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python", PAGE.partition("(own-line)=")[2].partition("(own-example)=")[0])
    exec(code, {})
    assert capsys.readouterr().out == "4 records, 2 of no class\n"
    bounds = map(int, re.findall(r"2<sup>([0-9]+)</sup>", PAGE))
    assert [2**power for power in bounds] == [labelled_images.LARGEST_IMAGE, labelled_images.LARGEST_FILE]
