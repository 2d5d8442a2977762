"""Data sets: whatever is not exactly what the card says is refused in one line, and nothing half-done is left."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests

from dpgan_lib import data, paths
from dpgan_lib.config import canonical_json
from dpgan_lib.data import files as data_files

SIDE, TRAIN, TEST = 4, 6, 3
NAMES = [file.name for file in data.CARDS["mnist"].files]


def idx_bytes(values: np.ndarray, *, dimensions: int | None = None) -> bytes:
    """A gzip'd IDX file of unsigned bytes, written independently of the reader."""
    magic = bytes([0, 0, 8, values.ndim if dimensions is None else dimensions])
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(magic + sizes + values.tobytes(), mtime=0)


def small_arrays() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(TRAIN, SIDE, SIDE), (TRAIN,), (TEST, SIDE, SIDE), (TEST,)]
    return [random.integers(0, 10 if len(shape) == 1 else 256, shape).astype(np.uint8) for shape in shapes]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A registered small data set: its files' bytes by name; nothing is on disk yet, and no network is there."""
    contents = dict(zip(NAMES, map(idx_bytes, small_arrays()), strict=True))
    register(monkeypatch, contents)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DPGAN_DATA", raising=False)
    monkeypatch.setattr(requests, "get", no_network)
    return contents


def register(monkeypatch, contents: dict[str, bytes]) -> None:
    """Make `small` the data set whose card describes exactly these files."""
    files = tuple(
        data.DataFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    mirrors = ("https://first.invalid/", "https://second.invalid/")
    sizes = {"records": TRAIN, "test_records": TEST, "side": SIDE}
    monkeypatch.setitem(
        data.CARDS, "small", replace(data.card("mnist"), name="small", files=files, mirrors=mirrors, **sizes)
    )


def no_network(url, **how):
    raise requests.ConnectionError("Name or service not known")


def serving(contents: dict[str, bytes], asked: list[str]):
    """A requests.get that sends these bytes and notes what it was asked for."""

    def get(url, timeout, stream):
        assert 0 < timeout <= 10 and stream
        asked.append(url)
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(contents[url.rsplit("/", 1)[1]])
        return response

    return get


def put(folder, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def files_under(folder) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def refusal(call, *arguments) -> str:
    """The message of the ValueError that call raises: always one line."""
    with pytest.raises(ValueError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Cards


def test_an_unknown_name_gets_the_nearest_one():
    assert "Did you mean 'fashion_mnist'?" in refusal(data.card, "fashion-mnist")
    assert "digits, grown_digits, mnist, fashion_mnist" in refusal(data.card, "cifar")


def test_the_card_is_strict_json_and_says_what_is_private():
    for name in data.CARDS:
        values = data.card(name).to_dict()
        assert json.loads(canonical_json(values)) == values
        assert values["unit"] == "one image with its label"


def test_the_card_in_a_run_id_changes_with_the_data_and_not_with_its_addresses():
    card = data.card("mnist")
    assert replace(card, mirrors=()).to_dict() == card.to_dict()
    assert replace(card, records=1).to_dict() != card.to_dict()
    other = replace(card.files[0], sha256="0" * 64)
    assert replace(card, files=(other, *card.files[1:])).to_dict() != card.to_dict()


def test_cards_need_no_data_and_no_heavy_library():
    program = (
        "import sys, dpgan_lib.data; "
        "assert not {'torch', 'sklearn', 'scipy', 'tqdm'} & set(sys.modules), 'imported too much'; "
        "dpgan_lib.data.card('mnist').to_dict()"
    )
    environment = os.environ | {"DPGAN_DATA": "/nowhere"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)


def test_a_user_without_a_home_directory_needs_none_where_the_files_are_in_dpgan_data(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    file, wanted = data.card("mnist").files[0], data.card("mnist")
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path))
    put(tmp_path / "mnist", {file.name: b"x"})
    assert data_files._find(wanted, file) == tmp_path / "mnist" / file.name
    assert "set XDG_CACHE_HOME, or put the files there" in refusal(data_files._find, wanted, wanted.files[1])


# Reading


def test_load_gives_the_written_bytes_in_the_fixed_scaling(small, tmp_path):
    put(tmp_path / "cache/dpgan/small", small)
    dataset = data.load("small")
    train_images, train_labels, test_images, test_labels = small_arrays()
    for given, written in ((dataset.train_images, train_images), (dataset.test_images, test_images)):
        assert given.dtype == np.float32
        assert given.shape == (len(written), 1, SIDE, SIDE)
        # Within 1.2e-7: two float32 roundings of numbers up to 2 (half a unit in the last place of each).
        np.testing.assert_allclose(given[:, 0], written / 127.5 - 1, rtol=0, atol=1.2e-7)
        assert np.abs(given).max() <= 1
    for given, written in ((dataset.train_labels, train_labels), (dataset.test_labels, test_labels)):
        assert given.dtype == np.int64
        np.testing.assert_array_equal(given, written)


def test_the_ends_of_the_scale_are_exact():
    assert data_files._scaled(np.array([[[0, 255]]], dtype=np.uint8)).tolist() == [[[[-1.0, 1.0]]]]


def test_the_data_folder_comes_before_the_cache(small, tmp_path, monkeypatch):
    put(tmp_path / "here/small", small)
    put(tmp_path / "cache/dpgan/small", {name: b"other" for name in small})
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "here"))
    assert {path.parent for path in data.check("small")} == {tmp_path / "here/small"}


@pytest.mark.parametrize("place", ["small", "SMALL", "Small/raw"])  # the last as torchvision lays it out
def test_a_data_folder_may_be_spelt_and_divided_as_others_do(small, tmp_path, monkeypatch, place):
    put(tmp_path / "here" / place, small)
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "here"))
    assert {path.parent for path in data.check("small")} == {tmp_path / "here" / place}


@pytest.mark.parametrize("name, found", [
    ("small/train-images.idx3-ubyte.gz", "small holds train-images.idx3-ubyte.gz)"),
    ("small/train-images-idx3-ubyte", "small holds train-images-idx3-ubyte)"),
    (f"small/{NAMES[0]}/unpacked", f"small holds {NAMES[0]}/)"),
    (NAMES[0], f"here holds {NAMES[0]})"),
])
def test_what_lies_where_a_file_is_absent_is_said(small, tmp_path, monkeypatch, name, found):
    path = tmp_path / "here" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "here"))
    assert refusal(data.check, "small").startswith(f"{NAMES[0]} of small is absent.")
    assert found in refusal(data.check, "small")


def test_a_link_to_nothing_is_said(small, tmp_path, monkeypatch):
    (tmp_path / "here" / "small").mkdir(parents=True)
    (tmp_path / "here" / "small" / NAMES[0]).symlink_to("/nowhere")
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "here"))
    assert f"holds {NAMES[0]} (a link to nothing)" in refusal(data.check, "small")


def test_a_relative_data_folder_starts_at_the_project_root(small, tmp_path, monkeypatch):
    put(tmp_path / "project/near/small", small)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "project")
    monkeypatch.setenv("DPGAN_DATA", "near")
    monkeypatch.chdir("/")
    assert {path.parent for path in data.check("small")} == {tmp_path / "project/near/small"}


def test_a_data_folder_that_is_none_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_DATA", str(tmp_path / "mistyped"))
    assert "mistyped' is no folder" in refusal(data.load, "small")


def test_a_wrong_checksum_names_the_file_and_the_expected_hash(small, tmp_path):
    folder = tmp_path / "cache/dpgan/small"
    flipped = bytearray(small[NAMES[0]])
    flipped[-1] ^= 1
    put(folder, small | {NAMES[0]: bytes(flipped)})
    message = refusal(data.load, "small")
    assert str(folder / NAMES[0]) in message
    assert hashlib.sha256(small[NAMES[0]]).hexdigest() in message


def test_a_truncated_file_is_named_with_both_sizes(small, tmp_path):
    put(tmp_path / "cache/dpgan/small", small | {NAMES[2]: small[NAMES[2]][:-5]})
    message = refusal(data.load, "small")
    assert NAMES[2] in message
    assert f"{len(small[NAMES[2]]) - 5} bytes, not the published {len(small[NAMES[2]])}" in message


IMAGES = small_arrays()[0]
GOOD = idx_bytes(IMAGES)
BAD_FILES = {
    "cut gzip": GOOD[:-9],
    "not gzip": b"hello, this is no archive",
    "bad check sum inside gzip": GOOD[:-8] + bytes(4) + GOOD[-4:],
    "broken deflate stream": GOOD[:10] + b"\xff" * (len(GOOD) - 10),
    "bytes after the archive": GOOD + b"extra",
    "a second archive": GOOD + gzip.compress(b"extra"),
    "wrong magic": idx_bytes(IMAGES, dimensions=1),
    "one record fewer": idx_bytes(IMAGES[:-1]),
    "one record more": idx_bytes(np.concatenate([IMAGES, IMAGES[:1]])),
    "another side": idx_bytes(IMAGES[:, :, :-1]),
    "pixels missing": gzip.compress(gzip.decompress(GOOD)[:-1]),
    "pixels left over": gzip.compress(gzip.decompress(GOOD) + b"\0"),
    "empty": b"",
    "bomb": gzip.compress(gzip.decompress(GOOD) + bytes(10_000_000)),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_faulty_idx_file_is_refused_by_name_even_if_its_hash_is_right(small, tmp_path, monkeypatch, fault):
    contents = small | {NAMES[0]: BAD_FILES[fault]}
    register(monkeypatch, contents)
    put(tmp_path / "cache/dpgan/small", contents)
    assert NAMES[0] in refusal(data.load, "small")


def test_a_label_outside_the_classes_is_refused(small, tmp_path, monkeypatch):
    contents = small | {NAMES[1]: idx_bytes(np.full(TRAIN, 10, np.uint8))}
    register(monkeypatch, contents)
    put(tmp_path / "cache/dpgan/small", contents)
    assert "has label 10" in refusal(data.load, "small")


def test_unpacking_stops_at_the_expected_size(tmp_path, monkeypatch):
    asked = []
    path = tmp_path / "bomb.gz"
    path.write_bytes(BAD_FILES["bomb"])
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or read(self, size))
    refusal(data.read_idx, path, IMAGES.shape)
    assert asked == [16 + IMAGES.size + 1]  # 16: the header of three sizes


# Downloads


def test_absent_files_are_downloaded_checked_and_kept(small, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(requests, "get", serving(small, asked))
    dataset = data.load("small", progress=False)
    assert len(dataset.train_labels) == TRAIN
    assert asked == ["https://first.invalid/" + name for name in NAMES]
    assert files_under(tmp_path) == set(NAMES)
    monkeypatch.setattr(requests, "get", no_network)
    assert data.fetch("small") == []
    data.load("small")


def test_only_absent_files_are_downloaded(small, tmp_path, monkeypatch):
    asked = []
    put(tmp_path / "cache/dpgan/small", {name: small[name] for name in NAMES[:3]})
    monkeypatch.setattr(requests, "get", serving(small, asked))
    assert [path.name for path in data.fetch("small", progress=False)] == NAMES[3:]
    assert len(asked) == 1


@pytest.mark.parametrize("fault", ["truncated", "wrong", "longer"])
def test_a_bad_download_leaves_nothing_and_names_the_expected_hash(small, tmp_path, monkeypatch, fault):
    good = small[NAMES[0]]
    bad = {"truncated": good[:-1], "wrong": bytes(len(good)), "longer": good + b"0"}[fault]
    monkeypatch.setattr(requests, "get", serving(small | {NAMES[0]: bad}, []))
    assert hashlib.sha256(good).hexdigest() in refusal(data.load, "small")
    assert files_under(tmp_path) == set()


def test_the_second_mirror_stands_in_for_the_first(small, monkeypatch):
    asked = []

    def get(url, **how):
        return no_network(url) if "first" in url else serving(small, asked)(url, **how)

    monkeypatch.setattr(requests, "get", get)
    assert len(data.fetch("small", progress=False)) == len(NAMES)
    assert asked == ["https://second.invalid/" + name for name in NAMES]


def test_an_interrupted_download_leaves_nothing(small, tmp_path, monkeypatch):
    def interrupted(url, **how):
        response = requests.Response()
        response.status_code, response.iter_content = 200, lambda chunk_size: (_ for _ in ()).throw(KeyboardInterrupt)
        return response

    monkeypatch.setattr(requests, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.fetch("small", progress=False)
    assert files_under(tmp_path) == set()


def test_without_a_network_the_folder_and_the_files_are_named(small, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    put(folder / "small", {NAMES[0]: small[NAMES[0]]})
    monkeypatch.setenv("DPGAN_DATA", str(folder))
    for call in (data.load, data.fetch, data.check):
        message = refusal(call, "small")
        assert str(folder / "small") in message
        wanted, found = message.split(" holds ")
        assert all(name in wanted for name in NAMES[1:]) and NAMES[0] not in wanted
        assert NAMES[0] in found


def test_a_cache_that_cannot_be_written_is_one_line_too(small, tmp_path, monkeypatch):
    (tmp_path / "cache").write_bytes(b"a file where a folder should be")
    monkeypatch.setattr(requests, "get", serving(small, []))
    assert "Not a directory" in refusal(data.fetch, "small")


# The real files


def test_the_real_mnist_is_what_its_card_says(real_mnist):
    dataset = real_mnist
    assert dataset.train_images.shape == (60_000, 1, 28, 28)
    assert dataset.test_images.shape == (10_000, 1, 28, 28)
    assert dataset.train_images.min() == -1 and dataset.train_images.max() == 1
    # Digits in the train and test labels, counted once from the published files.
    train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    np.testing.assert_array_equal(np.bincount(dataset.train_labels), train_counts)
    np.testing.assert_array_equal(np.bincount(dataset.test_labels), test_counts)
