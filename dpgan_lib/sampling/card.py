"""What is said of drawn images, to people and to programs: what is promised, to whom, by which accountant; and what is
not.

Programs read Croissant 1.0, with what its specification requires (MLCommons 2024,
https://docs.mlcommons.org/croissant/docs/croissant-spec.html).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np

from dpgan_lib.config import mechanisms
from dpgan_lib.records.store import Record, number
from dpgan_lib.report.numbers import plain, rounded_up
from dpgan_lib.sampling.draw import DRAWS, Samples

README, CROISSANT, CHECKSUMS, LIST = "README.md", "croissant.json", "SHA256SUMS", "labels.csv"


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """What only who publishes the images can say. licence, url: addresses.  creator: a name."""

    licence: str = "not stated"
    creator: str = "not stated"
    url: str = "not stated"


UNSTATED = Publisher()


# In words

def title(record: Record) -> str:
    return f"Synthetic images after {record.card['name']}"


def summary(record: Record, drawn: Samples) -> str:
    """What the images are, in a sentence."""
    side, colour = drawn.images.shape[1], "grey" if drawn.images.ndim == 3 else "colour"
    return (f"{len(drawn.images)} synthetic {colour} images of {side} x {side} pixels in {len(drawn.classes)} classes, "
            f"drawn from the generator of {record.study}/{record.run_id}.")


def promise(record: Record) -> str:
    """What is promised to whom, in sentences."""
    said = record.privacy
    if record.mode != "release":
        return ("Nothing is promised to anybody: the networks come from a demonstration, and anyone who knows its "
                "published seed can draw the same noise and subtract it.")
    pld, rdp, moments = (rounded_up(number(said["epsilon_spent"][name])) for name in ("pld", "rdp", "moments"))
    return (f"To everybody whose record is in the data, or is not: had it been left out, or added, no outcome would be "
            f"more than e^epsilon times as likely, but for a probability of delta = {plain(said['delta'])}. Epsilon is "
            f"{pld} in all ({said['adjacency']}; one record is {said['unit']}). That epsilon is by privacy loss "
            f"distributions; by Renyi divergences it is {rdp}, by the moments accountant {moments}.")


def fitness(record: Record) -> str:
    """What is known of how well classifiers learn from such images."""
    if told := accuracies(record):
        return ("Of public test images, a CNN that learnt from images of this generator alone gave this share their "
                f"label: {told}. For anything else, measure first.")
    return "How well a classifier learns from these images was not measured for this card. Measure first."


def accuracies(record: Record) -> str:
    """Of a CNN that learnt from each set of a release's images, on public test images; nothing where there are none."""
    found = record.metrics.get("public_test", {})
    return ", ".join(f"{way} {100 * found[way]['ten_cnn']:.1f} %" for way in DRAWS if way in found)


def readme(record: Record, drawn: Samples, publisher: Publisher) -> str:
    """The card, in Markdown."""
    rows = [f"| {part} | {each['steps']} | {each['noise_multiplier']:g} | {each['sampling_rate']:.4g} |"
            for part, each in mechanisms(record.config) if each["steps"]]
    how = ("It holds for all images that are ever drawn from these networks, together, for drawing reads no data. A "
           "second release of the same data adds its epsilon." if record.mode == "release" else
           "This is what the demonstration added noise to.")
    seed = "no seed: nobody can draw these images again" if drawn.seed is None else f"seed {drawn.seed}"
    counts = np.bincount(drawn.labels, minlength=len(drawn.classes))
    return f"""---
pretty_name: {json.dumps(title(record))}
tags: [synthetic]
---

# {title(record)}

{summary(record, drawn)}

* Drawn {drawn.draw}: {DRAWS[drawn.draw]}; with {seed}.
* `{CROISSANT}` says the same for programs; `sha256sum -c {CHECKSUMS}` checks the files.
* Licence: {publisher.licence}. Creator: {publisher.creator}. Address: {publisher.url}.

## What is promised

{promise(record)}

{how}

| with noise | how often | noise multiplier | sampling rate |
|---|---|---|---|
{chr(10).join(rows)}

A noise multiplier is the noise's standard deviation over what one record can move. Given the record {record.run_id},
`dpgan verify` computes epsilon again from these numbers.

## What is not promised

* **Fitness for a purpose.** {fitness(record)}
* **Fairness.** Noise hides what few records show. Rare classes and unusual images come out worse, or not at all, and
  nothing here measures for whom.
* **Anything but the label.** Which other attributes the real images have, how often and together with which, need not
  show. How often a class was drawn says nothing of its real share.
* **That a label is right.** An image may show another class than its label says.
* **Secrets of many.** The promise is for one record. What holds of many, such as how a class looks, is what the images
  are there to show; and whoever has k records in the data has a weaker promise, which falls with k.

## Images of each class

| label | class | images |
|---|---|---|
{chr(10).join(f"| {place} | {name} | {count} |" for place, (name, count) in enumerate(zip(drawn.classes, counts)))}
"""


# For programs

CONTEXT = {  # from the specification's appendix 1, with the prefixes that it uses
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
    "column": "cr:column", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "includes": "cr:includes", "jsonPath": "cr:jsonPath", "key": "cr:key", "recordSet": "cr:recordSet",
    "references": "cr:references", "source": "cr:source", "transform": "cr:transform",
}
TYPES = {".npz": "application/zip", ".parquet": "application/vnd.apache.parquet", ".csv": "text/csv"}


def croissant(record: Record, drawn: Samples, publisher: Publisher, files: dict[str, tuple[int, str]]) -> dict:
    """The data set in JSON-LD. files: name -> (bytes, SHA-256), of those that hold images or labels."""
    listed = [_object(name, *found) for name, found in files.items() if not name.endswith(".png")]
    name = listed[0]["@id"]
    record_sets = [_classes(drawn.classes)]  # Croissant knows no way into the arrays of an .npz file
    if name == LIST:
        listed.append({"@type": "cr:FileSet", "@id": "png-files", "name": "png-files", "encodingFormat": "image/png",
                       "includes": "*.png"})
        record_sets += _of_list()
    elif name.endswith(".parquet"):
        record_sets += _of_columns(name)
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": title(record), "description": f"{summary(record, drawn)} {promise(record)}",
        "license": publisher.licence, "url": publisher.url, "datePublished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "creator": {"@type": "sc:Organization", "name": publisher.creator}, "distribution": listed,
        "recordSet": record_sets}


def _object(name: str, size: int, sha256: str) -> dict:
    return {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "contentSize": f"{size} B",
            "encodingFormat": TYPES[name[name.rindex("."):].lower()], "sha256": sha256}


def _set(name: str, *fields: dict, **more) -> dict:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": list(fields), **more}


def _field(name: str, kind, **more) -> dict:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind, **more}


def _classes(names: tuple[str, ...]) -> dict:
    rows = [{"classes/number": place, "classes/name": name} for place, name in enumerate(names)]
    return _set("classes", _field("classes/number", "sc:Integer"), _field("classes/name", "sc:Text"),
                dataType="sc:Enumeration", key={"@id": "classes/name"}, data=rows)


def _of_list() -> list[dict]:
    """Images are joined to their labels by the name of their file."""
    def source(kind: str, place: str, **extract) -> dict:
        return {kind: {"@id": place}, "extract": extract}

    labels = _set("labels", _field("labels/file", "sc:Text", source=source("fileObject", LIST, column="file")),
                  _field("labels/label", ["sc:Text", "cr:Label"], source=source("fileObject", LIST, column="label"),
                         references={"@id": "classes/name"}), key={"@id": "labels/file"})
    pictures = partial(source, "fileSet", "png-files")
    images = _set("images", _field("images/image", "sc:ImageObject", source=pictures(fileProperty="content")),
                  _field("images/file", "sc:Text", source=pictures(fileProperty="filename"),
                         references={"@id": "labels/file"}), key={"@id": "images/file"})
    return [labels, images]


def _of_columns(name: str) -> list[dict]:
    def source(column: str, **more) -> dict:
        return {"fileObject": {"@id": name}, "extract": {"column": column}, **more}

    return [_set("images",
                 _field("images/image", "sc:ImageObject", source=source("image", transform={"jsonPath": "bytes"})),
                 _field("images/label", ["sc:Integer", "cr:Label"], source=source("label"),
                        references={"@id": "classes/number"}))]
