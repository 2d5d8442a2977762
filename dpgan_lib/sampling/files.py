"""Drawn images as files: a .npz file, a Parquet file, or a folder of PNG files with a list.

Beside them lie a card for whoever is handed them (README.md), the same for programs (croissant.json), and SHA-256
checksums of all files (SHA256SUMS, as sha256sum reads them).
"""

import csv
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from dpgan_lib.records.store import Record
from dpgan_lib.sampling import card
from dpgan_lib.sampling.card import CHECKSUMS, CROISSANT, LIST, README, UNSTATED, Publisher
from dpgan_lib.sampling.draw import Samples, samples


def write(record: Record, count: int, out: Path, *, draw: str | None = None, seed: int | None = None,
          publisher: Publisher = UNSTATED) -> Path:
    """Draw that many images into out: a .npz file, a .parquet file or, under any other name, a folder of PNG files.

    draw, seed, and errors: as of draw.samples; ValueError too where a file of that name is there already.
    Returns the folder that all files lie in.
    """
    drawn = samples(record, count, draw, seed)
    form = FORMS.get(out.suffix.lower(), _png_files)
    folder = out if form is _png_files else out.parent
    files = form(out.name, drawn)
    described = {name: (len(data), _sha256(data)) for name, data in files.items()}
    files[README] = card.readme(record, drawn, publisher).encode()
    files[CROISSANT] = (json.dumps(card.croissant(record, drawn, publisher, described), indent=1) + "\n").encode()
    files[CHECKSUMS] = "".join(f"{_sha256(data)}  {name}\n" for name, data in sorted(files.items())).encode()
    _store(folder, files)
    return folder


# Forms: (the file's name, samples) -> files by name

def _png_files(name: str, drawn: Samples) -> dict[str, bytes]:
    files = dict(zip(_names(drawn), map(_png, drawn.images)))
    listed = io.StringIO()
    csv.writer(listed, lineterminator="\n").writerows(
        [("file", "label"), *((file, drawn.classes[label]) for file, label in zip(files, drawn.labels))])
    return files | {LIST: listed.getvalue().encode()}


def _npz_file(name: str, drawn: Samples) -> dict[str, bytes]:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=drawn.images, labels=drawn.labels, classes=np.array(drawn.classes))
    return {name: buffer.getvalue()}


def _parquet_file(name: str, drawn: Samples) -> dict[str, bytes]:
    """As Hugging Face's `datasets` writes an Image and a ClassLabel, with its features in the schema's metadata."""
    import pyarrow
    from pyarrow import parquet

    features = {"image": {"_type": "Image"}, "label": {"names": list(drawn.classes), "_type": "ClassLabel"}}
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", image), ("label", pyarrow.int64())],
                            metadata={"huggingface": json.dumps({"info": {"features": features}})})
    images = [{"bytes": _png(pixels), "path": path} for path, pixels in zip(_names(drawn), drawn.images)]
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"image": images, "label": drawn.labels}, schema=schema), buffer)
    return {name: buffer.getvalue()}


FORMS = {".npz": _npz_file, ".parquet": _parquet_file}


def _names(drawn: Samples) -> list[str]:
    width = len(str(len(drawn.images) - 1))
    return [f"{number:0{width}}.png" for number in range(len(drawn.images))]


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


# On disk

def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _store(folder: Path, files: dict[str, bytes]) -> None:
    """Raises ValueError, before anything is written, where a file of one of the names is there."""
    if there := sorted(name for name in files if (folder / name).exists()):
        raise ValueError(f"{folder / there[0]} exists already, and nothing is overwritten: name a folder of its own, "
                         "as in --out samples/digits.parquet.")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part-{os.getpid()}"
    part.mkdir()
    try:
        for name, data in files.items():
            (part / name).write_bytes(data)
        for name in files:
            os.replace(part / name, folder / name)
    finally:
        shutil.rmtree(part)
