"""CelebA's reader: originals, squares, a partial set, broken files, missing rows; and the drawn stand-in."""

import io
import re
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpgan_lib import data
from dpgan_lib.data import celeba, drawn_faces
from dpgan_lib.studies.celeba_specificity import study

NAMES = ("Male", "Smiling")
VALUES = {"000001": "1 -1", "000002": "-1 1", "000003": "1 1", "000004": "-1 -1"}
PARTS = {"000001": 0, "000002": 0, "000003": 1, "000004": 2}
PEOPLE = {"000001": 7, "000002": 7, "000003": 8, "000004": 9}


def picture(size=(32, 32), colour=(200, 100, 50), form="PNG"):
    return saved(Image.new("RGB", size, colour), form)


def saved(image, form="PNG", **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "data" / "celeba"
    place.mkdir(parents=True)
    lists(place)
    return place


def lists(place, *, names=tuple(VALUES), without=""):
    rows = [f"{name}.jpg {VALUES[name]}" for name in names if name != without]
    (place / celeba.ATTRIBUTES).write_text("\n".join([str(len(rows)), " ".join(NAMES), *rows]) + "\n")
    (place / celeba.PARTITION).write_text("".join(f"{name}.jpg {PARTS[name]}\n" for name in names))
    (place / celeba.IDENTITY).write_text("".join(f"{name}.jpg {PEOPLE[name]}\n" for name in names))


def archive(place, images, name="img_align_celeba.zip"):
    with zipfile.ZipFile(place / name, "w") as file:
        for stem, (content, form) in images.items():
            file.writestr(f"img_align_celeba/{stem}.{form}", content)


def squares(place, names=tuple(VALUES)):
    archive(place, {name: (picture(colour=(10 * row, 20, 30), form="WEBP"), "webp") for row, name in enumerate(names)})


def load(**how):
    return celeba.load(NAMES, progress=False, **how)


def only(path, *numbers):
    """A file that names these images."""
    is_taken = np.zeros(celeba.IMAGES, dtype=bool)
    is_taken[np.array(numbers) - 1] = True
    np.save(path, np.packbits(is_taken))
    return str(path)


def test_of_all_images_those_of_a_subset_are_taken(folder, tmp_path):
    squares(folder)
    whole, taken = load(), load(only=only(tmp_path / "few.npy", 2, 4))
    assert {part: len(of_part) for part, of_part in taken.items()} == {"train": 1, "valid": 0, "test": 1}
    assert (taken["train"].images[0] == whole["train"].images[1]).all() and taken["test"].people.tolist() == [9]


def test_a_subset_that_is_not_whole_is_refused(folder, tmp_path):
    squares(folder)
    with pytest.raises(ValueError, match=r"1 of the 2 images that .* names are absent, the first of them 202599. Get"):
        load(only=only(tmp_path / "few.npy", 2, celeba.IMAGES))


def test_the_published_subset_has_its_parts():
    """CelebA's partition: images to 162,770 train, the next to 182,637 validate."""
    is_taken = np.unpackbits(np.load(Path(celeba.__file__).with_name(study.SUBSET)), count=celeba.IMAGES)
    parts = [is_taken[:162_770].sum(), is_taken[162_770:182_637].sum(), is_taken[182_637:].sum()]
    assert parts == [data.FACES["celeba_50k"].records, 3_000, data.FACES["celeba_50k"].test_records]


def test_squares_in_a_zip_are_read_as_they_are_into_their_parts(folder):
    squares(folder)
    faces = load()
    assert {part: len(of_part) for part, of_part in faces.items()} == {"train": 2, "valid": 1, "test": 1}
    assert faces["train"].attributes.tolist() == [[True, False], [False, True]]
    assert faces["train"].people.tolist() == [7, 7] and faces["test"].people.tolist() == [9]
    assert faces["train"].images.shape == (2, 3, 32, 32) and faces["train"].images.dtype == np.uint8
    assert faces["train"].scaled().dtype == np.float32 and abs(faces["train"].scaled()).max() <= 1


def test_of_an_original_the_centre_is_taken_and_shrunk_without_aliasing(folder):
    frame = np.zeros((218, 178, 3), np.uint8)
    frame[35:183, 15:163] = 255  # the central 148x148
    frame[35:183:2, 15:163] = 0  # stripes of one pixel: aliasing would leave black or white
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    (folder / celeba.FOLDER).mkdir()
    (folder / celeba.FOLDER / "000001.png").write_bytes(file.getvalue())
    image = load()["train"].images[0]
    assert image.shape == (3, 32, 32) and abs(image[:, 2:-2, 2:-2].astype(int) - 127).max() < 20


def test_a_partial_set_is_what_it_is(folder):
    squares(folder, names=("000002", "000004"))
    assert {part: len(of_part) for part, of_part in load().items()} == {"train": 1, "valid": 0, "test": 1}
    summary = celeba.summary()
    assert [summary[name] for name in ("train", "valid", "test", "people")] == [1, 0, 1, 1]


def test_an_image_in_two_places_is_read_from_the_fuller_one(folder):
    squares(folder)
    archive(folder, {"000001": (picture((178, 218)), "png")}, "img_align_celeba_sample.zip")
    assert load()["train"].images[0, 0, 0, 0] < 10  # of the first archive


def test_a_second_call_decodes_nothing_and_other_images_are_read_anew(folder, monkeypatch):
    squares(folder)
    first = load()["train"].images.copy()
    with monkeypatch.context() as patch:
        patch.setattr(celeba, "_decoded", lambda *_: pytest.fail("decoded again"))
        assert (load()["train"].images == first).all()
    archive(folder, {name: (picture(), "png") for name in VALUES})
    assert load()["train"].images[0, 0, 0, 0] == 200
    assert load(side=16)["train"].images.shape == (2, 3, 16, 16)


def flip_a_byte(place):
    """Of an image within the archive, whose checksum then differs."""
    squares(place)
    path = place / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"WEBP") + 6] ^= 255
    path.write_bytes(content)


def encrypt(place):
    """Say of the first image that it is: the flag is all that a reader looks at before it asks for a password."""
    squares(place)
    path = place / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def point_before_the_start(place):
    """Say that the archive's directory, which is at its end, begins a byte later than it does."""
    squares(place)
    path = place / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x05\x06") + 16
    content[at : at + 4] = struct.pack("<I", struct.unpack("<I", content[at : at + 4])[0] + 1)
    path.write_bytes(content)


def huge():
    """The head of a PNG of 20,000x20,000 pixels."""
    size = struct.pack(">II", 20_000, 20_000)
    content = picture()
    kind = content[12:16] + size + content[24:29]  # of the chunk IHDR, with what its checksum covers
    return content[:12] + kind + struct.pack(">I", zlib.crc32(kind)) + content[33:]


def respell(place, name, what, by):
    path = place / name
    path.write_text(re.sub(what, by, path.read_text(), flags=re.MULTILINE))


def test_chunks_change_nothing(folder, monkeypatch):
    squares(folder)
    whole = load()
    monkeypatch.setattr(celeba, "CHUNK", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert all((load()[part].images == whole[part].images).all() for part in whole)


@pytest.mark.parametrize("change, words", [
    (flip_a_byte, "img_align_celeba/000001.webp in .* cannot be read .*: get the zip file again, or unpack it"),
    (lambda place: archive(place, {"000001": (picture()[:60], "png")}), "000001.png cannot be read as an image"),
    (lambda place: archive(place, {"000001": (b"", "png")}), r"\(cannot identify image file\): get it again"),
    (lambda place: archive(place, {"000001": (picture((178, 200)), "png")}), "178x200 pixels and must be an original"),
    (lambda place: archive(place, {"000001": (picture((16, 16)), "png")}), "16x16 .* at least 32x32: align it"),
    (lambda place: archive(place, {"000001": (huge(), "png")}),
     "000001.png cannot be read as an image .*exceeds limit.* in its original size"),
    (lambda place: archive(place, {"000001": (saved(Image.new("F", (32, 32)), "TIFF"), "tiff")}),
     "000001.tiff has pixels of the mode F, .* save it with 8 bits"),
    (lambda place: archive(place, {"000001": (saved(Image.new("RGBA", (32, 32), (9, 9, 9, 254))), "png")}),
     "000001.png has transparent pixels"),
    (point_before_the_start, "img_align_celeba/000001.webp in .*zip cannot be read .*get the zip file again"),
    (encrypt, "000001.webp in .*zip cannot be read .*encrypted.* unpack it"),
    (lambda place: (place / "img_align_celeba.zip").write_bytes(b"PK half"), "no whole zip file"),
    (lambda place: (squares(place), lists(place, without="000002")), "1 images have no row in .*list_attr.*000002"),
    (lambda place: (squares(place), (place / celeba.PARTITION).unlink()),
     "list_eval_partition.txt of CelebA is absent .*celeba holds .*img_align_celeba.zip.*non-commercial"),
    (lambda place: None, r"img_align_celeba, with images, of CelebA is absent \(.* holds identity_CelebA.txt.*mmlab"),
    (lambda place: (place / "img_align_celeba.7z.001").touch(), "with images.* holds .* img_align_celeba.7z.001"),
    (lambda place: shutil.rmtree(place), "the folder of CelebA is absent .*data holds nothing.*mmlab"),
])
def test_what_is_wrong_is_said_in_one_line(folder, change, words):
    change(folder)
    with pytest.raises(ValueError, match=words) as refusal:
        load()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name, what, by, words", [
    (celeba.IDENTITY, r"(?s).*", "", "has no row of an image: restore the list"),
    (celeba.IDENTITY, r" \d+", "", "has 0 values a row, where one must stand"),
    (celeba.IDENTITY, "8", "8.5", "has 8.5 for 000003, where a whole number must stand"),
    (celeba.IDENTITY, r"\Z", "000004.png 8\n", "has two rows of 000004"),
    (celeba.IDENTITY, r"9\n\Z", "9", "ends within a line, .* or end its last line if it is whole"),
    (celeba.PARTITION, "2$", "3", r"has 3 for 000004, where 0, 1 or 2 \(train, valid, test\) must stand"),
    (celeba.PARTITION, "jpg 0", "jpg train", "has train for 000001, where 0, 1 or 2"),
    (celeba.ATTRIBUTES, "g 1 1$", "g 1 yes", "has yes for 000003, where 1, or else -1 or 0 must stand"),
    (celeba.ATTRIBUTES, "g 1 1$", "g 1 2", "has 2 for 000003, where 1, or else -1 or 0 must stand"),
    (celeba.ATTRIBUTES, "g 1 1$", "g 1", "has nothing for 000003, where 1, or else -1 or 0 must stand"),
    (celeba.ATTRIBUTES, "g 1 1$", "g 1 1 1", "is no list of images .*: restore the list"),
    (celeba.ATTRIBUTES, "Male ", "", "has 2 values a row and 1 attributes above them"),
    (celeba.ATTRIBUTES, "Male Smiling\n", "", "has 2 values a row and 0 attributes above them"),
])
def test_a_list_with_a_wrong_value_is_refused_by_name_and_row(folder, name, what, by, words):
    squares(folder)
    respell(folder, name, what, by)
    with pytest.raises(ValueError, match=f"{name} {words}") as refusal:
        load()
    assert "\n" not in str(refusal.value)


def test_a_list_that_is_no_text_is_refused(folder):
    squares(folder)
    (folder / celeba.IDENTITY).write_bytes(b"000001.jpg \xe9\n")
    with pytest.raises(ValueError, match="identity_CelebA.txt is no text in UTF-8 or UTF-16"):
        load()


# What is understood

def csv(place):
    """Kaggle's lists; the identities are the authors'."""
    header = {celeba.ATTRIBUTES: ",".join(["image_id", *NAMES]), celeba.PARTITION: "image_id,partition"}
    for name in header:
        rows = [line.replace(" ", ",") for line in (place / name).read_text().splitlines() if ".jpg" in line]
        (place / name).unlink()
        (place / name).with_suffix(".csv").write_text("\n".join([header[name], *rows]) + "\n")


def recode(**how):
    def change(place):
        for name in (celeba.ATTRIBUTES, celeba.PARTITION, celeba.IDENTITY):
            (place / name).write_text((place / name).read_text(), **how)
    return change


@pytest.mark.parametrize("change", [
    lambda place: respell(place, celeba.ATTRIBUTES, r"(?<=[ ])1", "+1"),
    lambda place: respell(place, celeba.ATTRIBUTES, r"1(?=[ ]|$)", "1.0"),
    lambda place: respell(place, celeba.ATTRIBUTES, "-1", " 0"),
    lambda place: respell(place, celeba.ATTRIBUTES, " ", "\t"),
    lambda place: respell(place, celeba.ATTRIBUTES, r"\A4\n", ""),
    lambda place: respell(place, celeba.ATTRIBUTES, r"\.jpg", ""),
    lambda place: respell(place, celeba.PARTITION, r"\A", "image_id partition\n"),
    lambda place: respell(place, celeba.IDENTITY, r"\n\Z", "\n\n"),
    csv, recode(encoding="utf-8-sig"), recode(encoding="utf-16"), recode(newline="\r\n"),
], ids=["+1", "1.0", "0 and 1", "tabs", "no number of images", "no ending", "a header", "blank lines", "Kaggle's",
        "a byte-order mark", "UTF-16", "CRLF"])
def test_lists_are_read_in_the_spellings_that_go_about(folder, change):
    squares(folder)
    whole = load()
    change(folder)
    for part, faces in load().items():
        assert (faces.attributes == whole[part].attributes).all() and faces.attributes.shape == (len(faces), 2)
        assert (faces.people == whole[part].people).all() and len(faces) == len(whole[part])
    assert whole["train"].attributes.tolist() == [[True, False], [False, True]]


def unpacked(place, *deeper):
    """The images of the archive as files of a folder."""
    folder = place.joinpath(*deeper, celeba.FOLDER)
    folder.mkdir(parents=True)
    squares(place)
    with zipfile.ZipFile(place / "img_align_celeba.zip") as file:
        for name in file.namelist():
            (folder / Path(name).name).write_bytes(file.read(name))
    (place / "img_align_celeba.zip").unlink()
    return folder


def official(place):
    """The three folders of the authors' download."""
    squares(place)
    for name, below in ((celeba.ATTRIBUTES, "Anno"), (celeba.IDENTITY, "Anno"), (celeba.PARTITION, "Eval"),
                        ("img_align_celeba.zip", "Img")):
        (place / "CelebA" / below).mkdir(parents=True, exist_ok=True)
        (place / name).rename(place / "CelebA" / below / name)


def littered(place):
    images = unpacked(place)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "README.txt", "._000001.jpg", "000009.jpg.crdownload"):
        (images / name).write_bytes(b"no image")


def packed_by_macos(place):
    squares(place)
    with zipfile.ZipFile(place / "img_align_celeba.zip", "a") as file:
        for name in ("__MACOSX/img_align_celeba/._000001.webp", "img_align_celeba/.DS_Store"):
            file.writestr(name, b"no image")


def elsewhere(place):
    squares(place)
    place.rename(place.with_name("CelebA"))


@pytest.mark.parametrize("lay, found", [
    (unpacked, ["4 images in data/celeba/img_align_celeba", "list data/celeba/list_attr_celeba.txt",
                "list data/celeba/list_eval_partition.txt", "list data/celeba/identity_CelebA.txt"]),
    (official, ["4 images in data/celeba/CelebA/Img/img_align_celeba.zip",
                "list data/celeba/CelebA/Anno/list_attr_celeba.txt",
                "list data/celeba/CelebA/Eval/list_eval_partition.txt",
                "list data/celeba/CelebA/Anno/identity_CelebA.txt"]),
    (lambda place: unpacked(place, celeba.FOLDER), ["4 images in data/celeba/img_align_celeba/img_align_celeba"]),
    (lambda place: unpacked(place).rename(place / "img_align_celeba_png"),
     ["4 images in data/celeba/img_align_celeba_png"]),
    (lambda place: (squares(place), (place / "img_align_celeba.zip").rename(place / "IMG_ALIGN_CELEBA.ZIP")),
     ["4 images in data/celeba/IMG_ALIGN_CELEBA.ZIP"]),
    (littered, ["6 other files passed over, the first of them data/celeba/img_align_celeba/.DS_Store"]),
    (packed_by_macos, ["2 other files passed over, the first of them data/celeba/img_align_celeba.zip/"
                       "__MACOSX/img_align_celeba/._000001.webp"]),
    (elsewhere, ["4 images in data/CelebA/img_align_celeba.zip"]),
], ids=["a folder", "the official download", "nested twice", "PNG", "capitals", "litter", "macOS", "CelebA"])
def test_layouts_are_found_and_said(folder, tmp_path, lay, found):
    lay(folder)
    lines = [line.replace(f"{tmp_path}/", "") for line in celeba.summary()["found"]]
    assert set(found) <= set(lines)
    assert [faces.people.tolist() for faces in load().values()] == [[7, 7], [8], [9]]


def test_photographs_that_are_not_aligned_are_not_taken(folder):
    squares(folder)
    (folder / "Img" / "img_celeba").mkdir(parents=True)
    for name in VALUES:
        (folder / "Img" / "img_celeba" / f"{name}.png").write_bytes(picture((40, 40)))
    assert celeba.summary()["found"][0] == f"4 images in {folder / 'img_align_celeba.zip'}"


def test_of_two_lists_the_nearest_is_read_and_said(folder):
    squares(folder)
    (folder / "old").mkdir()
    shutil.copy(folder / celeba.IDENTITY, folder / "old")
    shutil.copy(folder / celeba.IDENTITY, folder / "identity_CelebA.csv")
    assert celeba.summary()["found"][-1] == f"list {folder / celeba.IDENTITY}"


GREYS = np.array([[0, 128, 129, 257], [25_700, 32_768, 65_406, 65_535]], np.uint16).repeat(16, 0).repeat(8, 1)
TRANSPARENT = Image.new("P", (32, 32), 1)
TRANSPARENT.putpalette([0, 0, 0, 200, 100, 50])


@pytest.mark.parametrize("image, corners", [
    (Image.fromarray(GREYS), [[0] * 3, [1] * 3, [100] * 3, [255] * 3]),
    (Image.fromarray(GREYS.astype(np.uint8)), [[0] * 3, [1] * 3, [100] * 3, [255] * 3]),
    (Image.new("RGBA", (32, 32), (200, 100, 50, 255)), [[200, 100, 50]] * 4),
    (Image.new("LA", (32, 32), (200, 255)), [[200] * 3] * 4),
    (TRANSPARENT, [[200, 100, 50]] * 4),
    (Image.new("1", (32, 32), 1), [[255] * 3] * 4),
], ids=["16 bits of grey", "8 bits of grey", "opaque colour", "opaque grey", "palette", "1 bit"])
def test_depths_palettes_and_greys_become_8_bits_of_colour(folder, image, corners):
    """16 bits by scaling, v / 257 rounded: 128 is 0, 129 is 1, 65,406 is 254 and 65,535 is 255."""
    how = {"transparency": b"\0\xff"} if image.mode == "P" else {}  # of a colour that no pixel has
    archive(folder, {"000001": (saved(image, **how), "png")})
    pixels = load()["train"].images[0]
    assert [pixels[:, y, x].tolist() for y, x in ((0, 0), (0, 31), (31, 0), (31, 31))] == corners
    if image.mode == "I;16":
        assert pixels[0, 0, ::8].tolist() == [0, 0, 1, 1] and pixels[0, 31, ::8].tolist() == [100, 128, 254, 255]


def test_pixels_that_an_older_way_of_decoding_kept_are_not_read(folder, tmp_path, monkeypatch):
    squares(folder)
    monkeypatch.setattr(celeba, "DECODING", 1)
    load()
    for path in (tmp_path / "cache").rglob("*.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    assert load()["test"].images.max() == 0
    monkeypatch.undo()
    monkeypatch.setenv("DPGAN_DATA", str(folder.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load()["test"].images.max() > 0


def test_an_unknown_attribute_and_no_data_at_all(folder, monkeypatch):
    squares(folder)
    with pytest.raises(ValueError, match="attribute='Mail' must be one of Male, Smiling"):
        celeba.load(("Mail",), progress=False)
    monkeypatch.delenv("DPGAN_DATA")
    with pytest.raises(ValueError, match="DPGAN_DATA is unset.*non-commercial"):
        load()


# The stand-in

@pytest.fixture(scope="module")
def drawn():
    return drawn_faces.load()


def test_drawings_have_the_same_interface_and_are_always_the_same(drawn):
    again = drawn_faces.load(("Smiling",))
    assert (again["test"].images == drawn["test"].images).all() and again["test"].attributes.shape == (600, 1)
    assert {part: len(of_part) for part, of_part in drawn.items()} == drawn_faces.COUNTS
    assert drawn["train"].images.shape[1:] == (3, 32, 32) and drawn["train"].images.dtype == np.uint8
    with pytest.raises(ValueError, match="attribute='Male' must be one of"):
        drawn_faces.load(("Male",))


def test_attributes_are_independent_and_have_their_shares(drawn):
    values = drawn["train"].attributes
    people = len(values) / drawn_faces.IMAGES_OF_A_PERSON  # the independent draws, but of smiles
    assert np.abs(values.mean(0) - drawn_faces.SHARES).max() < 5 * 0.5 / np.sqrt(people)
    correlations = np.corrcoef(values.T) - np.eye(4)
    assert np.abs(correlations).max() < 5 / np.sqrt(people)


def test_the_reader_reads_new_drawings(drawn):
    read = drawn_faces.Reader()(drawn["test"].scaled())
    assert ((read == drawn["test"].attributes).mean(0) > 0.97).all()
