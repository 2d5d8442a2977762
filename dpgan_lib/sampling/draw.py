"""Labelled images drawn from the networks that a record keeps: post-processing, which costs no privacy."""

from dataclasses import dataclass

import numpy as np

from dpgan_lib.config import FaceRunConfig, LatentConfig
from dpgan_lib.measures import classifiers, drawing
from dpgan_lib.privacy.streams import stream
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.studies.mnist_tradeoff import reading
from dpgan_lib.studies.parameters import require_one_of
from dpgan_lib.studies.study import POSTERIOR, WEIGHTS, Trained, kept_of
from dpgan_lib.warm_start.face_model import combinations

PLAIN, FAITHFUL, WIDE = "plain", "faithful", "wide"
DRAWS = {
    PLAIN: "each image as its label was asked for",
    FAITHFUL: "as asked for; what the private reader takes for another class was drawn again, "
              f"{reading.TRIES} times at most",
    WIDE: f"codes {reading.SPREAD:g} times as wide as in training, and labels as the private reader reads the images: "
          "such images look worse, and teach classifiers better",
}


@dataclass(frozen=True, kw_only=True)
class Samples:
    """images (n, side, side) or (n, side, side, 3) uint8; labels (n,) int64, places among the names of classes."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    draw: str
    seed: int | None


def samples(record: Record, count: int, draw: str | None = None, seed: int | None = None) -> Samples:
    """So many images of a record.

    draw: of DRAWS; None for faithful images where the record keeps a private reader, else plain ones.
    seed: None for the operating system's entropy.  The same seed draws the same images on the same platform.
    Raises ValueError for another draw, and for a record that keeps no networks to draw from, or is damaged.
    """
    kept = store.sound(record).content["artefacts"]
    if WEIGHTS not in kept:
        raise ValueError(f"{record.folder} keeps no generator to draw from: name a record with {WEIGHTS}.")
    if found := store.damage(record):
        raise ValueError(f"{record.folder} is damaged ({'; '.join(found)}): restore it.")
    draw = draw or (FAITHFUL if POSTERIOR in kept else PLAIN)
    require_one_of("draw", draw, DRAWS)
    if draw != PLAIN and POSTERIOR not in kept:
        raise ValueError(f"draw={draw!r} needs a private reader, and {record.folder} keeps none: take {PLAIN!r}.")
    if count < 1:
        raise ValueError(f"count={count} must be 1 or more: it is a number of images.")
    rng = stream(None if seed is None else f"{record.run_id}/{draw}/{count}/{seed}", "evaluation")
    images, codes = drawn(kept_of(record), record.config.latent, draw, count, rng)
    pixels = np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    pixels = pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)
    names = record.metrics.get("names")  # of the MNIST study: which digit each code shows most
    labels = codes if names is None else np.array(names)[codes]
    return Samples(images=pixels, labels=labels.astype(np.int64), classes=class_names(record), draw=draw, seed=seed)


def drawn(trained: Trained, latent: LatentConfig, draw: str, count: int,
          rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, channels, side, side) float32 in [-1, 1] and labels (count,), equally many of each class but, of
    wide images, as far as the reader finds them.
    """
    labels = np.arange(count) % latent.categories
    generator, posterior = trained.average, trained.posterior
    if draw == PLAIN:
        return classifiers.synthesise(generator, latent, labels, rng), labels
    if draw == FAITHFUL:
        return drawing.faithful(generator, posterior, latent, labels, rng, reading.TRIES)[0], labels
    return drawing.wide(generator, posterior, latent, count, rng, reading.SPREAD)[:2]


def class_names(record: Record) -> tuple[str, ...]:
    """Of a record's labels, in order: as declared, or numbers; combinations of attributes of faces."""
    config, declared = record.config, record.card.get("class_names")
    if declared:
        return tuple(declared)
    if isinstance(config, FaceRunConfig) and record.mode != "release":
        return tuple(", ".join(name if sign > 0 else f"not {name}" for name, sign in zip(config.names, signs))
                     for signs in combinations(len(config.names)).tolist())
    is_label = config.model.conditional or "names" in record.metrics
    return tuple(str(k) if is_label else f"code {k}" for k in range(config.latent.categories))
