"""Whole private runs under watch, small enough for a test: each private method, in both modes, and its replay.

A replay is given what was released before, in the place of what it computes itself: noisy sums, and the weights after
each private step. That is how a privacy proof compares neighbours: output by output, given all that came before.
"""

import copy
import json
import math
import os
import secrets
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sample_record import run_config
from torch.utils._pytree import tree_map_only

from dpgan_lib.config import (
    FaceModelConfig,
    FaceRunConfig,
    FaceStartConfig,
    PrototypeConfig,
    PrototypeStartConfig,
    ReaderConfig,
    ReadRunConfig,
    RunConfig,
    WarmRunConfig,
)
from dpgan_lib.gan import loop
from dpgan_lib.gan.state import State
from dpgan_lib.privacy import accounting, ledger
from dpgan_lib.privacy.accounting import SampledGaussian
from dpgan_lib.warm_start import embedding, methods, reader, training
from dpgan_lib.warm_start.generators import Z_DIM

RECORDS, BATCH, STEPS, BLOCK, CLIP = 80, 16, 3, 2, 0.5  # N, q N, T, T between checkpoints, C
READER_STEPS = 12  # more than a block of them
SIDE, CATEGORIES, ATTRIBUTES, ROUNDS, FREQUENCIES, DIRECTIONS = 16, 10, 2, 3, 40, 40
DELTA = 1e-5
NOISES = ((2.0, 1.5, 1.25), (1.2, 1.0, 0.75))  # of the noisy sums together, of the reader's steps, of the critic's
FACES = FaceModelConfig(luma=8, chroma=4, level=0.7, attribute_weight=0.35, components=8)

# A run's name: its row of methods.METHODS. "releases" are one round and the mean embedding, and no step; in "people" a
# record is a person.
CASES = {"plain": "plain", "releases": "prototypes", "prototypes": "prototypes", "reader": "reader", "faces": "faces",
         "people": "faces"}
WARM = [case for case in CASES if case != "plain"]
NOT_PRIVATE = {"infogan"}


# What is planned

def planned(case: str, *, seed: int | None = 0, noises: tuple[float, float, float] = NOISES[0]) -> RunConfig:
    """A run whose epsilon is what its noise spends. By RDP, which composes Gaussians exactly and in no time."""
    plain = run_config(profile="smoke", seed=0)
    release, of_reader, of_critic = noises
    steps = 0 if case == "releases" else STEPS
    shared = vars(plain) | {"seed": seed}
    shared["privacy"] = replace(plain.privacy, epsilon=epsilon_of(case, noises), delta=DELTA, records=RECORDS,
                                expected_batch=BATCH, steps=steps, clip_norm=CLIP, noise_multiplier=of_critic)
    shared["optimiser"] = replace(plain.optimiser, fakes=16, pool=32, critic_steps=BLOCK)
    shared["model"] = replace(plain.model, image_side=SIDE, generator_width=4, critic_width=8)
    start = dict(release_noise=release, embedding_share=0.2, frequencies=FREQUENCIES, steps=1, batch=20, rate=0.01,
                 image_rate=0.3, network_rate=0.1, info_weight=0.1, averaging=0.5, witness_weight=1.0)
    if case == "plain":
        return RunConfig(**shared)
    if CASES[case] == "faces":
        shared["latent"] = replace(plain.latent, categories=2**ATTRIBUTES, z_dim=FACES.components - 2)
        shared["model"] = replace(shared["model"], channels=3)
        return FaceRunConfig(**shared, warm_start=FaceStartConfig(**start, face_model=FACES),
                             attributes="Smiling,Eyeglasses", unit="person" if case == "people" else "image")
    shared["latent"] = replace(plain.latent, z_dim=Z_DIM)
    warm = PrototypeStartConfig(**start, prototypes=PrototypeConfig(rounds=ROUNDS if case == "prototypes" else 1,
                                                                        candidates=3, level=0.35))
    if case != "reader":
        return WarmRunConfig(**shared, warm_start=warm)
    return ReadRunConfig(**shared, warm_start=warm, reader=ReaderConfig(
        share=0.4, expected_batch=BATCH, steps=READER_STEPS, clip_norm=CLIP, noise_multiplier=of_reader, rate=0.5,
        images=60, directions=DIRECTIONS, exponent=0.25, floor=0.01))


def epsilon_of(case: str, noises: tuple[float, float, float]) -> float:
    """What the noisy sums together, the reader's steps and the critic's spend, those that a case has."""
    release, of_reader, of_critic = noises
    gaussian = SampledGaussian(noise_multiplier=of_reader, sampling_rate=BATCH / RECORDS, steps=READER_STEPS)
    parts = accounting.parts_of_run(
        noise_multiplier=of_critic, sampling_rate=BATCH / RECORDS, steps=0 if case == "releases" else STEPS,
        release_noise=math.inf if case == "plain" else release, reader=gaussian if case == "reader" else None)
    return accounting.spent_rdp(parts, DELTA)


# What it is trained on

@dataclass(frozen=True)
class Data:
    """What methods.train takes."""

    images: np.ndarray
    labels: np.ndarray
    people: np.ndarray | None = None

    def take(self, rows) -> "Data":
        return Data(self.images[rows], self.labels[rows], None if self.people is None else self.people[rows])


@cache
def data(case: str) -> Data:
    """Random images, no two alike; of a person two that are alike, for which of them enters is a matter of chance."""
    rng = np.random.default_rng(0)
    channels, classes = (3, 2**ATTRIBUTES) if CASES[case] == "faces" else (1, CATEGORIES)
    images = rng.uniform(-0.9, 0.6, (RECORDS, channels, SIDE, SIDE)).astype(np.float32)
    labels = np.arange(RECORDS) % (classes + 2) % (classes - 1)  # some classes are larger, and the last has no record
    if case != "people":
        return Data(images, labels)
    rows = rng.permutation(np.arange(RECORDS).repeat(2))
    return Data(images[rows], labels[rows], rows)


def garbage(case: str, *, same_number: bool) -> Data:
    """No image and no label is that of the data; nor is their number, unless it has to be."""
    given = data(case)
    other = Data(np.full_like(given.images, np.nan), np.zeros_like(given.labels), given.people)
    return other if same_number else other.take(np.arange(len(given.images) // 2))


# What a run did

@dataclass
class Seen:
    """What was released, and under which circumstances.

    sums: noisy ones of each round, as they were computed.  critic, reader: of each step, what it was given and what it
    released (see watch_steps).  ledger: before each of all these, what was computed, its number from 1 and what was
    charged for.  reads: at each operation on the data, what was charged for and what was computed, in all.
    generators: the states in which noise was begun to be drawn from.  batches: of each draw of records, of how many, at
    which rate, and the rows.  charged: in the end, in all.
    """

    case: str = ""
    config: RunConfig | None = None
    entropy: "Entropy | None" = None
    sums: list = field(default_factory=list)
    critic: list = field(default_factory=list)
    reader: list = field(default_factory=list)
    ledger: list = field(default_factory=list)
    reads: list = field(default_factory=list)
    batches: list = field(default_factory=list)
    generators: list = field(default_factory=list)
    progress: list = field(default_factory=list)
    charged: int = 0
    state: State | None = None
    files: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Entropy:
    """The operating system's, for a test that repeats itself. flipped: these bits of each number are the other way."""

    seed: int
    flipped: int = 0

    def source(self):
        rng = np.random.default_rng(self.seed)
        return lambda bits: int.from_bytes(rng.bytes(bits // 8), "big") ^ self.flipped


class Finished(Exception):
    """All that was wanted of a run has been seen."""


class Killed(BaseException):
    pass


class Silent(np.random.Generator):
    """Normal numbers that are all 0."""

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return super().standard_normal(size, dtype, out) * np.zeros((), dtype)

    def normal(self, loc=0.0, scale=1.0, size=None):
        return super().normal(loc, scale, size) * 0.0 + loc


def run(config: RunConfig, case: str, given: Data, *, entropy: Entropy | None = None, replay: Seen | None = None,
        silent: bool = False, lost: int | None = None, sums_only: bool = False, folder: str | None = None,
        kill: tuple | None = None, into: Seen | None = None) -> Seen:
    """A run on the CPU through methods.train, under watch.

    silent: its noise is 0, and all else is as it would be.  lost: 0 or 1, garbage is summed or stepped on where an
    output's number is even or odd.  sums_only: stop after the last noisy sums.  folder: that of a run which goes on.
    into: what that run was seen to do.  kill: ("sums", "critic" or "reader", n): die behind the n-th of these, before
    it is stored.
    """
    seen = into or Seen()
    seen.case, seen.config, seen.entropy = case, config, entropy
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as other:
        place = Path(folder or other)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(os, "fsync", lambda file: None)  # no power is cut here
        if entropy is not None:
            patch.setattr(secrets, "randbits", entropy.source())
        if silent:
            for module in (training, loop, reader):
                silence(patch, module)
        patch.setattr(reader, "ITERATIONS", 5)  # of a fit to generated images: enough to see what it depends on
        watch_sums(patch, seen, place, replay, sums_only, kill, lost)
        watch_steps(patch, loop, "critic_step", seen, place, replay, kill, lost)
        watch_steps(patch, reader, "reader_step", seen, place / reader.FOLDER, replay, kill, lost)
        watch_batches(patch, seen)
        for module in (loop, reader):
            watch_reads(patch, module, seen, place)
        people = {} if given.people is None else {"people": given.people}
        try:
            seen.state = methods.train(config, given.images, given.labels, place, progress=seen.progress.append,
                                       **people)
        except Finished:
            return seen
        seen.files, seen.charged = files_of(place), all_charged(place)
    return seen


def silence(patch, module):
    stream = module.stream

    def silent(randomness, purpose, step=0):
        rng = stream(randomness, purpose, step)
        return Silent(rng.bit_generator) if purpose == "noise" else rng

    patch.setattr(module, "stream", silent)


def watch_sums(patch, seen, place, replay, sums_only, kill, lost):
    noisy_sums = training._noisy_sums

    def watched(config, first, features, before, records):
        number = len(before)
        seen.ledger.append(("sums", number + 1, ledger.charged(place / training.FOLDER)))
        if number % 2 == lost:
            records = replace(records, images=records.images * math.nan, categories=records.categories.flip(1))
        first = SimpleNamespace(noisy_sums=heard(seen, first.noisy_sums), generator=first.generator)
        seen.sums.append(noisy_sums(config, first, features, before, records).clone())
        if kill == ("sums", number + 1):
            raise Killed
        if sums_only and number == config.warm_start.first_rounds:
            raise Finished
        return (seen if replay is None else replay).sums[number].clone()

    patch.setattr(training, "_noisy_sums", watched)
    patch.setattr(embedding, "noisy_sums", heard(seen, embedding.noisy_sums))


def heard(seen, function):
    """The function; the states of the generators that it is given are kept."""
    def listening(*given):
        for each in given:
            if isinstance(each, np.random.Generator):
                seen.generators.append(str(each.bit_generator.state["state"]))
        return function(*given)

    return listening


def watch_steps(patch, module, name, seen, place, replay, kill, lost):
    """Keep of each step what it begins with, its real and its generated records, its gradient, and what it ends with;
    in a replay, it ends with what was recorded.
    """
    take, kind = heard(seen, getattr(module, name)), name.removesuffix("_step")
    steps, recorded = getattr(seen, kind), replay and getattr(replay, kind)

    def watched(network, optimiser, real, *given):
        number = len(steps) + 1
        seen.ledger.append((kind, number, ledger.charged(place)))
        if number % 2 == lost:
            real = real[0] * math.nan, real[1].flip(1)
        step = SimpleNamespace(before=snapshot(network, optimiser), real=real,
                               fake=given[0] if kind == "critic" else None)
        take(network, optimiser, real, *given)
        step.gradient = {key: parameter.grad.clone() for key, parameter in network.named_parameters()}
        if recorded is not None:
            network.load_state_dict(recorded[number - 1].after[0])
            optimiser.load_state_dict(copy.deepcopy(recorded[number - 1].after[1]))
        step.after = snapshot(network, optimiser)
        steps.append(step)
        if kill == (kind, number):
            raise Killed

    patch.setattr(module, name, watched)


def snapshot(network, optimiser):
    return copy.deepcopy((network.state_dict(), optimiser.state_dict()))


def watch_batches(patch, seen):
    sample = loop.poisson_sample

    def watched(records, rate, rng):
        rows = sample(records, rate, rng)
        seen.batches.append((records, rate, rows))
        return rows

    patch.setattr(loop, "poisson_sample", watched)


def watch_reads(patch, module, seen, place):
    """Log each operation on the images or the categories of the training set."""
    on_device = module.on_device

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), named=None):
            if function not in SAYS_NO_VALUE:
                seen.reads.append((all_charged(place), len(seen.sums) + len(seen.critic) + len(seen.reader)))
            arguments, named = tree_map_only(cls, lambda tensor: tensor.as_subclass(torch.Tensor),
                                             (arguments, named or {}))
            return function(*arguments, **named)

    def watched(*given):
        records = on_device(*given)
        return replace(records, images=records.images.as_subclass(Watched),
                       categories=records.categories.as_subclass(Watched))

    patch.setattr(module, "on_device", watched)


SAYS_NO_VALUE = {torch.Tensor.__len__, torch.Tensor.dim, torch.Tensor.size, torch.Tensor.as_subclass,
                 *(getattr(torch.Tensor, name).__get__ for name in ("shape", "device", "dtype", "is_cuda"))}


def all_charged(place: Path) -> int:
    return sum(ledger.charged(folder) for folder in (place, place / training.FOLDER, place / reader.FOLDER))


def files_of(place: Path) -> dict:
    """What a run leaves in its folder, but for times: name -> bytes, or a header and tensors."""
    return {str(path.relative_to(place)): stored(path) for path in sorted(place.rglob("*")) if path.is_file()}


def stored(path: Path):
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with safe_open(path, framework="pt") as file:
        header = {name: json.loads(text) for name, text in file.metadata().items()}
        for values in header.values():
            values.pop("seconds", None)
        return header, {key: file.get_tensor(key) for key in file.keys()}


# What leaves a run

def left(seen: Seen) -> dict:
    """Everything that whoever holds the noisy outputs may see, by name."""
    state = seen.state
    found = {name: getattr(state, name).state_dict() for name in ("generator", "posterior", "average", "critic")}
    found |= {name: getattr(state, name).state_dict() for name in ("critic_optimiser", "generator_optimiser")}
    found |= {"history": state.history, "hardware": state.hardware, "step": state.step, "taken": state.taken,
              "progress": seen.progress, "files": seen.files, "rates": [rate for _, rate, _ in seen.batches]}
    for kind, steps in (("critic", seen.critic), ("reader", seen.reader)):
        found |= {f"{kind} to begin with": steps[0].before if steps else None, f"{kind}s": len(steps),
                  f"{kind} in between": [step.before for step in steps],
                  f"fakes of the {kind}": [step.fake for step in steps]}
    if state.start is not None:
        images, categories = pool(seen.config)
        found |= {"shares": state.start.shares, "first generator": state.start.generator.state_dict(),
                  "first posterior": state.start.posterior.state_dict(),
                  "witness": state.start.witness(images, categories)(images, categories).detach()}
    return found


def pool(config: RunConfig):
    """Public images, and categories of theirs."""
    rng = torch.Generator().manual_seed(0)
    model, classes = config.model, config.latent.categories
    images = 2 * torch.rand(20, model.channels, model.image_side, model.image_side, generator=rng) - 1
    return images, torch.eye(classes)[torch.arange(20) % classes]


def is_same(one, other) -> bool:
    """Equal to the bit, whatever it is made of."""
    if isinstance(one, torch.Tensor):
        return (isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape
                and one.numpy(force=True).tobytes() == other.numpy(force=True).tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other
