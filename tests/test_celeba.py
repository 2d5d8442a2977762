"""CelebA's reader: originals, squares, a partial set, broken files, missing rows; and the drawn stand-in."""

import io
import zipfile
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
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
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
    assert celeba.summary() | {"source_sha256": ""} == {"train": 1, "valid": 0, "test": 1, "people": 1,
                                                        "source_sha256": ""}


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


def test_chunks_change_nothing(folder, monkeypatch):
    squares(folder)
    whole = load()
    monkeypatch.setattr(celeba, "CHUNK", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert all((load()[part].images == whole[part].images).all() for part in whole)


@pytest.mark.parametrize("change, words", [
    (flip_a_byte, "img_align_celeba/000001.webp in .* is broken"),
    (lambda place: archive(place, {"000001": (picture()[:60], "png")}), "000001.png is no whole image"),
    (lambda place: archive(place, {"000001": (b"", "png")}), "is no whole image"),
    (lambda place: archive(place, {"000001": (picture((178, 200)), "png")}), "178x200 pixels and must be square"),
    (lambda place: (place / "img_align_celeba.zip").write_bytes(b"PK half"), "no whole zip file"),
    (lambda place: (squares(place), lists(place, without="000002")), "1 images have no row in .*list_attr.*000002"),
    (lambda place: (squares(place), (place / celeba.IDENTITY).write_text("")), "4 images have no row in .*identity"),
    (lambda place: (squares(place), (place / celeba.PARTITION).unlink()),
     "list_eval_partition.txt of CelebA is absent.*non-commercial"),
    (lambda place: None, "there is no image of CelebA.*mmlab"),
    (lambda place: (squares(place), (place / celeba.ATTRIBUTES).write_text("1\nMale Smiling\n000001.jpg 1\n")),
     "1 values for 000001 and 2 attributes"),
])
def test_what_is_wrong_is_said_in_one_line(folder, change, words):
    change(folder)
    with pytest.raises(ValueError, match=words) as refusal:
        load()
    assert "\n" not in str(refusal.value)


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
