"""Training with a warm start: before the critic's first step come a few noisy sums, and a generator fitted to them.

A round of sums reads every record once (of a person, one image). The generator decides what the first rounds are; the
last is the mean embedding. A round is on disk before the next begins, so a killed run goes on behind the last one that
was stored; in release mode each is charged before it is computed.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dpgan_lib.config import WarmRunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.loop import Records
from dpgan_lib.gan.networks import build_networks
from dpgan_lib.gan.state import Scores, Start, State, read_tensors
from dpgan_lib.privacy.ledger import charge, charged
from dpgan_lib.privacy.streams import stream
from dpgan_lib.warm_start import embedding, fit
from dpgan_lib.warm_start.embedding import Embedding
from dpgan_lib.warm_start.features import Features

FOLDER, FILE = "opening", "opening.safetensors"  # the folder's name is in the names of random streams too


class FirstRounds(Protocol):
    """What comes before the embedding: rounds of noisy sums, and the generator that starts from them."""

    def noisy_sums(self, config: WarmRunConfig, before: list[Tensor], images: Tensor, categories: Tensor,
                   noise: np.random.Generator) -> Tensor:
        """The noisy sums of the next round. Guarantee: a Gaussian mechanism of warm_start.round_noise.

        before: what the rounds before it gave.  images (n, channels, side, side), categories (n, K) one-hot.
        """

    def generator(self, config: WarmRunConfig, sums: list[Tensor]) -> nn.Module:
        """A generator that starts from the sums of all rounds. It may draw on torch's global random numbers."""


@dataclass
class WarmStartState:
    """How far a warm start is. sums: of each round so far, noise included: all that is known of the data.

    networks: the generator and the posterior once they are fitted, by name.
    """

    sums: list[Tensor]
    networks: dict[str, Tensor]
    seconds: float = 0.0


def train(config: WarmRunConfig, first: FirstRounds, images: np.ndarray, labels: np.ndarray, folder: Path, *,
          people: np.ndarray | None = None, **how) -> State:
    """loop.train after a warm start. Arguments and errors as there; max_minutes does not cut the warm start short.

    The state's seconds are of both.
    """
    records = loop.on_device(config, images, labels, people)
    start, seconds = begin(config, first, records, folder / FOLDER)
    state = loop.train(config, images, labels, folder, start=start, people=people, **how)
    state.seconds += seconds
    return state


def begin(config: WarmRunConfig, first: FirstRounds, records: Records, folder: Path) -> tuple[Start, float]:
    """What training starts from, and the seconds that it took. Goes on from what is in the folder.

    Raises RuntimeError if a run in release mode was killed between charging a sum and storing it.
    """
    done, place = _load(config, folder), records.images.device
    features = _features(config).to(place)
    for number in range(len(done.sums), config.warm_start.first_rounds + 1):
        started = time.monotonic()
        _charge(config, folder, number)
        done.sums.append(_noisy_sums(config, first, features, done.sums, records))
        done.seconds += time.monotonic() - started
        _save(config, done, folder)
    generator, posterior = (network.to(place) for network in _networks(config, first, done.sums))
    released = _embedding(config, done.sums)
    if not done.networks:
        started = time.monotonic()
        generator = fit.fit(generator, posterior, features, released, config.latent, config.warm_start,
                            lambda step: _stream(config, "latent", step))
        done.networks = _tensors({"generator": generator, "posterior": posterior})
        done.seconds += time.monotonic() - started
        _save(config, done, folder)
    for name, network in {"generator": generator, "posterior": posterior}.items():
        network.load_state_dict({key: done.networks[f"{name}/{key}"] for key in network.state_dict()})
        network.requires_grad_(True)
    return Start(generator, posterior, released.histogram, _witness(config, features, released)), done.seconds


def _stream(config, purpose, step):
    """Other random numbers than those of the critic's steps."""
    return stream(config.randomness and f"{config.randomness}/{FOLDER}", purpose, step)


def _charge(config, folder, number):
    if config.is_release:
        if charged(folder) > number:
            raise RuntimeError(f"noisy sum {number + 1} of the warm start was charged and then lost: its share of "
                               f"epsilon is spent. Delete {folder} and begin a new release, which spends epsilon anew.")
        charge(folder, number + 1)


def _noisy_sums(config: WarmRunConfig, first: FirstRounds, features: Features, sums: list[Tensor],
                records: Records) -> Tensor:
    """The noisy sums of the next round: one of the first ones or, in the end, the embedding."""
    images, categories, number = records.images, records.categories, len(sums)
    if records.people is not None:
        rows = torch.from_numpy(records.sample(1.0, _stream(config, "sampling", number)))
        images, categories = images[rows], categories[rows]
    noise = _stream(config, "noise", number)
    if number < config.warm_start.first_rounds:
        return first.noisy_sums(config, sums, images, categories, noise)
    return embedding.noisy_sums(features, images, categories, config.warm_start.embedding_noise, noise).sums


# Afterwards: what reads noisy sums alone

def _embedding(config: WarmRunConfig, sums: list[Tensor]) -> Embedding:
    return Embedding(sums[-1], config.warm_start.embedding_noise)


def _networks(config: WarmRunConfig, first: FirstRounds, sums: list[Tensor]) -> tuple[nn.Module, nn.Module]:
    """The generator before it is fitted, and a posterior with initial weights."""
    _, _, posterior = build_networks(config.latent, config.model, stream(config.randomness, "initial weights"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(_stream(config, "initial weights", 0).integers(2**32)))
        return first.generator(config, sums[:-1]), posterior


def _features(config: WarmRunConfig) -> Features:
    return Features(side=config.model.image_side, channels=config.model.channels,
                    frequencies=config.warm_start.frequencies)


def _witness(config: WarmRunConfig, features: Features, released: Embedding) -> Callable[[Tensor, Tensor], Scores]:
    """The closed-form critic against a pool of fakes, times witness_weight: the fixed part of f_w.

    A step of G against 2 <d_y, phi(x)> is one of gradient descent on |d_y|^2.
    """
    weight = 2 * config.warm_start.witness_weight

    @torch.no_grad()
    def against(images: Tensor, categories: Tensor) -> Scores:
        means = categories.T @ features(images) / categories.sum(0).clamp(min=1)[:, None]
        w = weight * embedding.witness(released.means, means) * (categories.sum(0) > 0)[:, None]
        return lambda images, categories: embedding.scores(w, features(images), categories)

    return against


# On disk

def released(config: WarmRunConfig, folder: Path) -> list[Tensor]:
    """The noisy sums of a run that are in its folder."""
    return _load(config, folder).sums


def _tensors(networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}/{key}": value.contiguous() for name, network in networks.items()
            for key, value in network.state_dict().items()}


def _save(config, done, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"sums/{number}": sums.contiguous() for number, sums in enumerate(done.sums)} | done.networks
    header = {"config_hash": config.hash, "seconds": done.seconds}
    temporary = folder / f"{FILE}.{os.getpid()}.part"
    save_file(tensors, temporary, {"opening": json.dumps(header)})
    os.replace(temporary, folder / FILE)


def _load(config, folder) -> WarmStartState:
    path = folder / FILE
    if not path.exists():
        return WarmStartState([], {})
    header, tensors = read_tensors(path, "opening", config)
    count = sum(name.startswith("sums/") for name in tensors)
    sums = [tensors.pop(f"sums/{number}") for number in range(count)]
    return WarmStartState(sums, tensors, header["seconds"])
