"""Images drawn from a record into files: the same whatever the form, with a card that says what the record says."""

import csv
import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet
from whole_run import planned

from dpgan_lib.cli import main
from dpgan_lib.data import labelled_images
from dpgan_lib.records import store
from dpgan_lib.records.provenance import TRAINING, provenance, training_source
from dpgan_lib.release import read_arrays
from dpgan_lib.report.numbers import rounded_up
from dpgan_lib.sampling import card, draw, files
from dpgan_lib.studies.study import Trained, weights
from dpgan_lib.warm_start import methods

NAMES = tuple("zero one two three four five six seven eight nine".split())
COUNT = 37
PUBLISHER = card.Publisher(licence="https://creativecommons.org/licenses/by/4.0/", creator="A clinic",
                           url="https://example.org/digits")
CARD = {"name": "clinic", "records": 80, "unit": "one image with its label", "class_names": list(NAMES)}
EPSILONS = {"pld": 2.2, "rdp": 2.3456, "moments": 3.0}


def record_of(case: str, out, *, seed=None, posterior=True, changes=(), **card_changes):
    """A record with random networks: of a release, or with a seed of a demonstration."""
    config = planned(case, seed=seed)
    torch.manual_seed(0)
    generator, reader = methods.empty_generator(config), methods.empty_posterior(config)
    with torch.no_grad():
        for each in (*generator.parameters(), *generator.buffers(), *reader.buffers()):
            each += 0.3 * torch.randn(each.shape) if each.is_floating_point() else 0
    content = {"mode": "demo" if seed is not None else "release", "asked": {}, "config": config.to_dict(),
               "card": CARD | card_changes, "seconds": {}, "metrics": {},
               "provenance": provenance({TRAINING: training_source(methods.name_of(config))}),
               "privacy": {"epsilon_asked": 3.0, "epsilon_spent": EPSILONS, "delta": 1e-5, "unit": CARD["unit"],
                           "adjacency": "add/remove one record", "noise_multiplier": 1.0, "sampling_rate": 0.1,
                           "steps": 3}} | dict(changes)
    kept = weights(Trained(generator, reader), with_posterior=posterior)
    return store.write("release", store.content_address(content["config"], content["card"]), content, kept, out)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return record_of("reader", tmp_path_factory.mktemp("record"))


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def of_folder(folder):
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    return np.stack([opened((folder / row["file"]).read_bytes()) for row in rows]), [row["label"] for row in rows]


# Forms ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", draw.DRAWS)
def test_every_form_holds_the_same_images_and_labels(record, tmp_path, way):
    for out in (tmp_path / "png", tmp_path / "npz" / "x.npz", tmp_path / "parquet" / "x.parquet"):
        files.write(record, COUNT, out, draw=way, seed=1)
    images, labels = of_folder(tmp_path / "png")
    drawn = draw.samples(record, COUNT, way, 1)
    assert images.dtype == np.uint8 and np.array_equal(images, drawn.images) and len(np.unique(images)) > 100
    assert labels == [NAMES[label] for label in drawn.labels]
    arrays = np.load(tmp_path / "npz" / "x.npz")
    assert np.array_equal(arrays["images"], images) and np.array_equal(arrays["labels"], drawn.labels)
    assert tuple(arrays["classes"]) == NAMES
    table = pd.read_parquet(tmp_path / "parquet" / "x.parquet")
    assert np.array_equal(np.stack([opened(image["bytes"]) for image in table["image"]]), images)
    assert table["label"].tolist() == drawn.labels.tolist()


def test_a_parquet_file_has_the_layout_that_datasets_reads(record, tmp_path):
    files.write(record, COUNT, tmp_path / "x.parquet")
    schema = parquet.read_schema(tmp_path / "x.parquet")
    assert [str(field.type) for field in schema] == ["struct<bytes: binary, path: string>", "int64"]
    assert json.loads(schema.metadata[b"huggingface"]) == {"info": {"features": {
        "image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(NAMES)}}}}


def test_what_is_written_is_read_as_data_again(record, tmp_path):
    """By release mode's own readers: of a folder with its list, and of arrays."""
    files.write(record, COUNT, tmp_path / "png", seed=1)
    files.write(record, COUNT, tmp_path / "npz" / "x.npz", seed=1)
    images, labels = labelled_images.read(tmp_path / "png", labelled_images.Declared(classes=NAMES, side=16))
    for mine, yours in zip((images, labels), read_arrays(tmp_path / "npz" / "x.npz")):
        assert np.array_equal(mine, yours)


def test_colour_images_keep_their_channels(tmp_path):
    faces = record_of("faces", tmp_path / "record", posterior=False, class_names=None)
    files.write(faces, 8, tmp_path / "png", seed=0)
    images, labels = of_folder(tmp_path / "png")
    assert images.shape == (8, 16, 16, 3) and labels[:4] == ["0", "1", "2", "3"]
    shown = record_of("faces", tmp_path / "demo", seed=0, posterior=False, class_names=None)
    assert draw.class_names(shown)[1:3] == ("not Smiling, Eyeglasses", "Smiling, not Eyeglasses")


# Draws ----------------------------------------------------------------------------------------------------------------

def test_a_seed_draws_the_same_bytes_again_and_no_seed_never(record, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", None), ("e", None)):
        files.write(record, COUNT, tmp_path / name / "x.npz", seed=seed)
    found = [(tmp_path / name / "x.npz").read_bytes() for name in "abcde"]
    assert found[0] == found[1] and len(set(found)) == 4


def test_plain_and_faithful_images_are_of_each_class_equally_often_and_wide_ones_as_they_are_read(record):
    for way in (draw.PLAIN, draw.FAITHFUL):
        assert np.bincount(draw.samples(record, 40, way, 1).labels).tolist() == [4] * 10
    posterior = draw.kept_of(record).posterior
    wide = draw.samples(record, 40, draw.WIDE, 1)
    pixels = torch.from_numpy(wide.images[:, None] / np.float32(127.5) - 1)
    read = posterior(pixels)[:, :10].argmax(1).numpy()
    assert (read == wide.labels).mean() > 0.9, "but for what rounding to 255ths moves across a border"


def test_unless_told_images_are_faithful_where_there_is_a_reader_and_else_plain(record, tmp_path):
    assert draw.samples(record, 3).draw == draw.FAITHFUL
    without = record_of("prototypes", tmp_path, posterior=False)
    assert draw.samples(without, 3).draw == draw.PLAIN
    with pytest.raises(ValueError, match="needs a private reader"):
        draw.samples(without, 3, draw.WIDE)


def test_codes_that_no_label_names_are_named_as_codes_and_as_digits_where_they_were_found_to_be(tmp_path):
    config = planned("plain", seed=0)
    config = replace(config, model=replace(config.model, conditional=False)).to_dict()
    without = record_of("plain", tmp_path / "a", seed=0, posterior=False, class_names=None, changes={"config": config})
    assert draw.class_names(without)[3] == "code 3"
    names = {"names": [7] * 10}
    named = record_of("plain", tmp_path / "b", seed=0, posterior=False, class_names=None,
                      changes={"config": config, "metrics": names})
    assert set(draw.samples(named, 12).labels) == {7} and draw.class_names(named)[7] == "7"


# The card -------------------------------------------------------------------------------------------------------------

def test_the_checksums_are_those_of_all_files(record, tmp_path):
    files.write(record, COUNT, tmp_path)
    listed = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert listed == {name: digest for name, digest in there.items() if name != "SHA256SUMS"}
    assert {"README.md", "croissant.json", "labels.csv"} < listed.keys() and len(listed) == COUNT + 3


def test_the_card_says_the_records_promise_and_what_it_is_not(record, tmp_path):
    files.write(record, COUNT, tmp_path, publisher=PUBLISHER)
    text = (tmp_path / "README.md").read_text()
    for name, value in EPSILONS.items():
        assert rounded_up(value) in text, name
    said = ["delta = 1e-5", "add/remove one record", "one image with its label", "privacy loss distributions",
            "Fitness for a purpose", "Fairness", "Anything but the label", "was not measured", record.run_id,
            *vars(PUBLISHER).values(), "| noisy sums | 1 | 2.23607 | 1 |", "| critic steps | 3 |"]
    assert not [words for words in said if words not in text]
    assert text.count("\n| ") > 10 and "Nothing is promised" not in text


def test_of_a_demonstration_the_card_promises_nothing(tmp_path):
    demonstration = record_of("reader", tmp_path / "record", seed=0)
    files.write(demonstration, 3, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Nothing is promised to anybody" in text and "2.35" not in text


def test_accuracies_on_public_images_are_on_the_card(tmp_path):
    measured = record_of("reader", tmp_path / "record", changes={"metrics": {"public_test": {
        way: {"ten_cnn": 0.5 + place / 8} for place, way in enumerate(draw.DRAWS)}}})
    files.write(measured, 3, tmp_path / "out")
    assert "plain 50.0 %, faithful 62.5 %, wide 75.0 %" in (tmp_path / "out" / "README.md").read_text()


REQUIRED = ("@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished",
            "distribution")  # of a data set, in Croissant 1.0


@pytest.mark.parametrize("name", ["png", "x.npz", "x.parquet"])
def test_the_metadata_have_what_croissant_requires_and_every_reference_leads_somewhere(record, tmp_path, name):
    folder = files.write(record, COUNT, tmp_path / name, publisher=PUBLISHER)
    said = json.loads((folder / "croissant.json").read_text())
    assert not [field for field in REQUIRED if not said.get(field)]
    assert said["@type"] == "sc:Dataset" and said["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert said["license"] == PUBLISHER.licence and said["creator"]["name"] == PUBLISHER.creator
    for each in said["distribution"]:
        if each["@type"] == "cr:FileObject":
            data = (folder / each["contentUrl"]).read_bytes()
            assert each["sha256"] == hashlib.sha256(data).hexdigest() and each["contentSize"] == f"{len(data)} B"
            assert each["encodingFormat"]
        else:
            assert each["@type"] == "cr:FileSet" and len(list(folder.glob(each["includes"]))) == COUNT
    known = [each["@id"] for each in all_of(said, lambda each: "@type" in each and "@id" in each)]
    assert len(known) == len(set(known))
    pointed = [each["@id"] for each in all_of(said, lambda each: list(each) == ["@id"])]
    assert pointed and set(pointed) <= set(known)
    used = {key for each in all_of(said | {"@context": None}, lambda each: True) for key in each}
    assert {"recordSet", "field", "conformsTo", "dataType"} <= used & said["@context"].keys()
    assert [row["classes/name"] for row in said["recordSet"][0]["data"]] == list(NAMES)


def all_of(value, wanted):
    """All dicts within a value of which that holds."""
    if isinstance(value, dict):
        if wanted(value):
            yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from all_of(each, wanted)


# What is refused ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["README.md", "SHA256SUMS", "x.npz"])
def test_nothing_is_overwritten(record, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="nothing is overwritten"):
        files.write(record, 3, tmp_path / "x.npz")
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_record_without_networks_or_with_damaged_ones_is_refused(tmp_path):
    whole = record_of("reader", tmp_path)
    path = whole.folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ValueError, match="is damaged"):
        draw.samples(whole, 3)
    content = {name: value for name, value in whole.content.items() if name != "digest"} | {"artefacts": {}}
    with pytest.raises(ValueError, match="keeps no generator"):
        draw.samples(store.Record(whole.folder, content), 3)


def test_the_command_names_the_folder_and_refuses_in_one_line(record, tmp_path):
    words = ["sample", str(record.folder), "--count", "12", "--draw", "wide", "--seed", "3", "--license", "CC0",
             "--out", str(tmp_path / "x" / "digits.parquet")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0 and done.output.strip() == str(tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "README.md", "SHA256SUMS", "croissant.json", "digits.parquet"]
    assert "CC0" in (tmp_path / "x" / "README.md").read_text()
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2 and again.stderr.count("\n") == 1 and "nothing is overwritten" in again.stderr
