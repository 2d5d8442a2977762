"""An auditor of the book's whole method, who hears each part that reads data: the noisy sums, the reader's steps and
the critic's; and all of them together, for a run has one epsilon.

A canary's score in a part is the sum of what that part releases, projected on what the canary would add, as in
canaries. Its score in the whole run is the sum of those, each by its ideal shift. In a noisy sum there is no draw: an
auditor who knows the other records knows their part of it exactly.

One record must be loud everywhere. Sums and reader cut pixels to [-1, 1]; the critic's first layer is linear in them.
So a canary is noise: some pixels huge, some as far below zero, the rest black. Cut, it is bright dots on black, of a
root mean square above the prototypes' bound until it is warped; uncut, its gradients point anywhere. Canaries of a
label resemble each other in what they add. But fresh noise and draws know no coin, so what canaries share falls on
those that are in and those that are out alike, and their difference of means is what being in adds. Gaussian DP needs
independent canaries, and is left out. Those who guess compare each score with its label's mean.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpgan_lib.config import CRITIC, READER, ReadRunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.loop import Records
from dpgan_lib.privacy import audit
from dpgan_lib.studies.audit import canaries
from dpgan_lib.studies.audit.canaries import KNOWS_DATA, Heard, Known
from dpgan_lib.studies.audit.mutants import patches, wrap
from dpgan_lib.warm_start import embedding, methods, prototypes, reader, training
from dpgan_lib.warm_start.deformations import affine, candidates, inverse, warp
from dpgan_lib.warm_start.features import Features

PROTOTYPES, EMBEDDING = "prototypes", "mean embedding"
BRIGHT = DARK = 0.25  # of a canary's pixels
NO_CATEGORY = -1  # a label that stands for a record that is not there: it adds 0 to everything


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a run claims of one of its mechanisms. steps: of it, or noisy sums; one record moves each by C at most."""

    noise_multiplier: float
    sampling_rate: float
    steps: int
    clip_norm: float


def parts(config: ReadRunConfig) -> dict[str, Part]:
    """All that the run spends epsilon on, by name and in order."""
    start, of_reader, privacy = config.warm_start, config.reader, config.privacy
    sums = dict(sampling_rate=1.0, clip_norm=1.0)
    return {PROTOTYPES: Part(noise_multiplier=start.round_noise, steps=start.first_rounds, **sums),
            EMBEDDING: Part(noise_multiplier=start.embedding_noise, steps=1, **sums),
            READER: Part(noise_multiplier=of_reader.noise_multiplier, steps=of_reader.steps,
                         sampling_rate=of_reader.expected_batch / privacy.records, clip_norm=of_reader.clip_norm),
            CRITIC: Part(noise_multiplier=privacy.noise_multiplier, steps=privacy.steps,
                         sampling_rate=privacy.sampling_rate, clip_norm=privacy.clip_norm)}


def chosen(count: int, image_shape: tuple[int, int, int], categories: int,
           rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, *image_shape) float32 and labels (count,) of canaries. The categories take turns."""
    drawn = rng.random((count, *image_shape))
    images = np.where(drawn < BRIGHT, canaries.LOUD, np.where(drawn < BRIGHT + DARK, -canaries.LOUD, -1.0))
    return images.astype(np.float32), np.arange(count) % categories


def audited_run(config: ReadRunConfig, images: np.ndarray, labels: np.ndarray, count: int,
                rng: np.random.Generator) -> tuple[dict[str, Heard], np.ndarray, np.ndarray]:
    """Train a run with canaries, by the library's own path. Returns what was heard by part, and of the canaries which
    were in, and their labels, (m,) each.

    images (n, channels, side, side), labels (n,): the declared N counts these and every canary. One that is out is a
    record without a category, which adds 0 to everything.
    """
    included = rng.random(count) < 0.5
    loud, names = chosen(count, images.shape[1:], config.latent.categories, rng)
    heard, claimed = {name: Heard.nothing(count) for name in parts(config)}, parts(config)
    everyone = loop.on_device(config, np.concatenate([images, loud]), np.concatenate([labels, names]))
    known = {CRITIC: _known(everyone, included)}

    def hear(noisy_mean, model, inputs, *, expected_batch, **public):
        released = noisy_mean(model, inputs, expected_batch=expected_batch, **public)
        name = READER if isinstance(model, reader.Reader) else CRITIC
        known[name].hear(heard[name], model, {key: expected_batch * mean for key, mean in released.items()},
                         claimed[name])
        return released

    def block(train_block, config, state, records):
        known.setdefault(READER, _known(Records(records.images, everyone.categories), included))  # rows of features
        train_block(config, state, records)

    with patches() as patch, tempfile.TemporaryDirectory() as folder:
        wrap(patch, steps, "noisy_mean", hear)
        wrap(patch, reader, "train_block", block)
        reader.train_run(config, methods.PrototypeRounds(), np.concatenate([images, loud]),
                         np.concatenate([labels, np.where(included, names, NO_CATEGORY)]), Path(folder))
        sums = [each.to(everyone.images.device) for each in training.released(config, Path(folder) / training.FOLDER)]
    for number, found in enumerate(sums):
        is_last = number == len(sums) - 1
        slots, rows = _embedded(config, everyone) if is_last else _styled(config, sums[:number], everyone)
        _hear_sum(heard[EMBEDDING if is_last else PROTOTYPES], found, slots, rows, included)
    return heard, included, names


def _known(everyone: Records, included: np.ndarray) -> Known:
    """The canaries are the last rows."""
    first = len(everyone.images) - len(included)
    data, loud = (Records(everyone.images[rows], everyone.categories[rows])
                  for rows in (slice(None, first), slice(first, None)))
    return Known(data, loud, included)


# What a record adds to a noisy sum: a row, in the slot of its style or its class. Public, given the sums before

@torch.no_grad()
def _styled(config: ReadRunConfig, before: list[Tensor], records: Records) -> tuple[Tensor, Tensor]:
    """(slots (n,), rows (n, width) float64) of the next round of prototypes."""
    settings = config.warm_start.prototypes
    guess = prototypes.split(methods.prototypes_so_far(config, before))
    pixels, labels = (records.images.clamp(-1, 1) + 1) / 2, records.categories.argmax(1)
    maps = candidates(settings.candidates).to(pixels.device)
    styles, chosen_maps = torch.zeros_like(labels), torch.zeros_like(labels)
    for label in range(records.categories.shape[1]) if guess else ():
        templates = prototypes.deformed_prototypes(guess, label, maps)
        styles[labels == label], chosen_maps[labels == label] = prototypes.match(templates, pixels[labels == label],
                                                                                 len(maps))
    rows = prototypes.bounded_rows(warp(pixels, inverse(affine(maps))[chosen_maps]), maps[chosen_maps], settings.level)
    return labels * (guess.images.shape[1] if guess else 1) + styles, rows


@torch.no_grad()
def _embedded(config: ReadRunConfig, records: Records) -> tuple[Tensor, Tensor]:
    """(slots (n,), rows (n, width) float64) of the mean embedding."""
    features = Features(side=config.model.image_side, channels=config.model.channels,
                        frequencies=config.warm_start.frequencies).to(records.images.device)
    phi = torch.cat([features(part.clamp(-1, 1)) for part in records.images.split(reader.CHUNK)]).double()
    return records.categories.argmax(1), F.normalize(F.pad(phi, [0, 1], value=embedding.ANCHOR), dim=1)


def _hear_sum(heard: Heard, released: Tensor, slots: Tensor, rows: Tensor, included: np.ndarray) -> None:
    """Add a noisy sum to what was heard. slots, rows: of all records, the canaries last."""
    first = len(rows) - len(included)
    is_in = torch.from_numpy(included).to(rows.device)
    outside_data = torch.arange(len(rows), device=rows.device) >= first
    inside = F.pad(is_in, [first, 0])

    def project(vector: Tensor) -> np.ndarray:
        return (rows[first:] * vector[slots[first:]]).sum(1).cpu().numpy()

    heard.released += project(released.double())
    for each, which in ((heard.data, ~outside_data), (heard.inside, inside), (heard.outside, outside_data & ~inside)):
        each += project(torch.zeros_like(released).double().index_add_(0, slots[which], rows[which]))
    heard.own += rows[first:].square().sum(1).cpu().numpy()


# What is made of it

def guessing(heard: dict[str, Heard], claimed: dict[str, Part], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (m,) for guesses, by auditor, of these parts together; 0 on average in each label."""
    found: dict[str, np.ndarray] = {}
    for name, part in claimed.items():
        weight = audit.shift(part) / canaries.noise(heard[name], part)
        for auditor, scores in canaries.guessing(heard[name], part).items():
            found[auditor] = found.get(auditor, 0.0) + weight * scores
    return {auditor: scores - _of_label(scores, labels) for auditor, scores in found.items()}


def _of_label(values, labels):
    """Each label's mean, at its canaries."""
    return (np.bincount(labels, values) / np.bincount(labels))[labels]


def fitted(heard: dict[str, Heard], included: np.ndarray, labels: np.ndarray, claimed: dict[str, Part]) -> np.ndarray:
    """Scores (m,) of these parts together, in units of the claimed noise, each beside its label's.

    Canaries of a label share the luck of draws, and noise along what they have in common. So from each score the middle
    is taken between its label's mean of those that are in and of those that are out: the difference of the two stays.
    """
    weighted = [audit.shift(part) * canaries.fitted(heard[name], included, part) for name, part in claimed.items()]
    scores = np.sum(weighted, axis=0) / audit.shift(*claimed.values())
    return scores - _middle(scores, included, labels)


def _middle(scores, included, labels):
    """Of each label, at its canaries; of one whose canaries are all in, or all out, their mean."""
    middle = _of_label(scores, labels)
    for label in np.unique(labels):
        inside, outside = scores[included & (labels == label)], scores[~included & (labels == label)]
        if len(inside) and len(outside):
            middle[labels == label] = (inside.mean() + outside.mean()) / 2
    return middle


def outcome(heard: dict[str, Heard], included: np.ndarray, labels: np.ndarray, claimed: dict[str, Part], *,
            delta: float, levels: dict[str, float]) -> dict[str, dict]:
    """As canaries.outcome, of these parts together; without the estimator that needs independent canaries."""
    found = canaries.outcome(guessing(heard, claimed, labels), fitted(heard, included, labels, claimed), included,
                             shift=audit.shift(*claimed.values()), delta=delta, levels=levels)
    for name in levels:
        del found[KNOWS_DATA][name][audit.GAUSSIAN_DP]
    return found


def of_each(heard: dict[str, Heard], included: np.ndarray, labels: np.ndarray, claimed: dict[str, Part], *,
            delta: float, level: float) -> dict[str, dict]:
    """By part: its ideal shift and its own, the spreads, the canaries' length in units of C, and the bounds."""
    found = {}
    for name, part in claimed.items():
        shown = outcome(heard, included, labels, {name: part}, delta=delta, levels={"bounds": level})[KNOWS_DATA]
        found[name] = shown | {"length": canaries.length(heard[name], part)}
    return found


def cut_short(config: ReadRunConfig, fit_steps: int, images: int) -> ReadRunConfig:
    """The run with less of what reads generated images alone: the fit to the noisy sums, and the reader's start."""
    return replace(config, warm_start=replace(config.warm_start, steps=min(fit_steps, config.warm_start.steps)),
                   reader=replace(config.reader, images=min(images, config.reader.images)))
