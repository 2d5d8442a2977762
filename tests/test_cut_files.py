"""Every file of a data set, cut at ten places: one line that names the file, and nothing written."""

import hashlib
from dataclasses import replace

import pytest
from click.testing import CliRunner
from test_celeba import archive, only, picture
from test_celeba import lists as write_lists
from test_data import NAMES as IDX
from test_data import SIDE, TEST, TRAIN, idx_bytes, put, small_arrays

from dpgan_lib import data
from dpgan_lib.cli import main
from dpgan_lib.data import celeba

PLACES = 10
IMAGES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
LISTS = (celeba.ATTRIBUTES, celeba.PARTITION, celeba.IDENTITY)


def cuts(path):
    """The file shorter and shorter, at last empty."""
    whole = path.read_bytes()
    for tenth in reversed(range(PLACES)):
        path.write_bytes(whole[: len(whole) * tenth // PLACES])
        yield
    path.write_bytes(whole)


def state(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(call, name, folder):
    """One line of a ValueError that names the file; no file in the folder is written or changed."""
    before = state(folder)
    with pytest.raises(ValueError) as refusal:
        call()
    assert name in str(refusal.value) and "\n" not in str(refusal.value)
    assert state(folder) == before


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A small CelebA with two images in a zip file and two in a folder."""
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "data" / "celeba"
    (place / celeba.FOLDER).mkdir(parents=True)
    write_lists(place)
    for stem, ending in (("000001", "jpg"), ("000002", "png"), ("000003", "webp")):
        (place / celeba.FOLDER / f"{stem}.{ending}").write_bytes(picture((178, 218), form=IMAGES[ending]))
    archive(place, {"000004": (picture(), "png")})
    return place


def load():
    return celeba.load(("Male", "Smiling"), progress=False)


@pytest.mark.parametrize("name", [*LISTS, "img_align_celeba.zip"])
def test_a_cut_list_or_archive_of_faces(faces, tmp_path, name):
    for _ in cuts(faces / name):
        refused(load, name, tmp_path)
        answer = CliRunner().invoke(main, ["data", "check", "celeba"])
        assert answer.exit_code == 2 and name in answer.stderr and answer.stderr.count("\n") == 1
    assert len(load()["train"]) == 2


@pytest.mark.parametrize("name", ["000001.jpg", "000002.png", "000003.webp"])
def test_a_cut_image(faces, tmp_path, name):
    for _ in cuts(faces / celeba.FOLDER / name):
        refused(load, name, tmp_path)


def test_a_cut_list_of_the_images_to_take(faces, tmp_path):
    few = tmp_path / "few.npy"
    only(few, 1, 4)
    for _ in cuts(few):
        refused(lambda: celeba.load(("Male",), only=str(few), progress=False), "few.npy", faces)


def test_cut_pixels_in_the_cache_are_decoded_anew(faces, tmp_path):
    whole = load()["train"].images.copy()
    kept, = (tmp_path / "cache").rglob("*.npy")
    content = kept.read_bytes()
    for tenth in range(PLACES):
        kept.write_bytes(content[: len(content) * tenth // PLACES])
        assert (load()["train"].images == whole).all() and kept.read_bytes() == content


@pytest.mark.parametrize("name", IDX)
def test_a_cut_file_of_digits(tmp_path, monkeypatch, name):
    """As it is, by its size; and where a card says that it must be so, by its content."""
    folder = tmp_path / "small"
    put(folder, dict(zip(IDX, map(idx_bytes, small_arrays()), strict=True)))
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path))
    register(monkeypatch, folder)
    for _ in cuts(folder / name):
        refused(lambda: data.check("small"), name, tmp_path)
        with monkeypatch.context() as patch:
            register(patch, folder)
            refused(lambda: data.load("small"), name, tmp_path)
    assert len(data.load("small").test_labels) == TEST


def register(monkeypatch, folder):
    """Make `small` the data set whose card describes the files in a folder, whatever they are."""
    contents = {name: (folder / name).read_bytes() for name in IDX}
    files = tuple(data.DataFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
                  for name, content in contents.items())
    monkeypatch.setitem(data.CARDS, "small", replace(data.card("mnist"), name="small", files=files, mirrors=(),
                                                     records=TRAIN, test_records=TEST, side=SIDE))
