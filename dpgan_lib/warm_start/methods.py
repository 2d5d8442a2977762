"""METHODS: for each class of configurations, how such a run is trained and what its generator is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.config import FaceRunConfig, InfoGANRunConfig, ReadRunConfig, RunConfig, WarmRunConfig
from dpgan_lib.gan import infogan_loop, loop
from dpgan_lib.gan.infogan import InfoGANGenerator
from dpgan_lib.gan.networks import Generator, Posterior
from dpgan_lib.gan.state import State
from dpgan_lib.warm_start import face_model, prototypes, reader, training
from dpgan_lib.warm_start.generators import DeformingGenerator, FaceGenerator
from dpgan_lib.warm_start.prototypes import Prototypes
from dpgan_lib.warm_start.reader import ReadingPosterior


@dataclass(frozen=True, kw_only=True)
class Method:
    """How runs are trained whose configuration is of one class.

    rounds: a class that implements training.FirstRounds, for those that begin with a warm start.
    empty: config -> its generator, to load weights into.  posterior: config -> its Q, likewise.
    """

    name: str
    config: type[RunConfig]
    train: Callable[..., State]
    rounds: type | None = None
    empty: Callable[[RunConfig], nn.Module]
    posterior: Callable[[RunConfig], nn.Module] = lambda config: Posterior(config.latent, config.model)


def train(config: RunConfig, images: np.ndarray, labels: np.ndarray, folder: Path, **how) -> State:
    """Train as the run's method says. Arguments and errors as of loop.train."""
    method = METHODS[name_of(config)]
    first = () if method.rounds is None else (method.rounds(),)
    return method.train(config, *first, images, labels, folder, **how)


def name_of(config: RunConfig) -> str:
    """The name of the run's method. Raises ValueError if there is none for such a configuration."""
    for method in METHODS.values():
        if type(config) is method.config:
            return method.name
    raise ValueError(f"no method trains a {type(config).__name__}: METHODS has {', '.join(METHODS)}")


def empty_generator(config: RunConfig) -> nn.Module:
    """The run's generator, to load weights into."""
    return METHODS[name_of(config)].empty(config)


def empty_posterior(config: RunConfig) -> nn.Module:
    """The run's Q, to load weights into."""
    return METHODS[name_of(config)].posterior(config)


class PrototypeRounds:
    """Implements training.FirstRounds."""

    def noisy_sums(self, config: WarmRunConfig, before: list[Tensor], images: Tensor, categories: Tensor,
                   noise: np.random.Generator) -> Tensor:
        return prototypes.noisy_sums(prototypes_so_far(config, before), images, categories,
                                     config.warm_start.prototypes, config.warm_start.round_noise, noise)

    def generator(self, config: WarmRunConfig, sums: list[Tensor]) -> DeformingGenerator:
        return DeformingGenerator(config.latent, prototypes_so_far(config, sums))


def prototypes_so_far(config: WarmRunConfig, sums: list[Tensor]) -> Prototypes | None:
    """The prototypes of all rounds so far, None before the first."""
    latest, settings = None, config.warm_start
    shape = torch.Size([config.model.channels, config.model.image_side, config.model.image_side])
    for round_sums in sums:
        latest = prototypes.read(latest, round_sums, shape, settings.prototypes, settings.round_noise)
    return latest


class FaceRounds:
    """Implements training.FirstRounds."""

    def noisy_sums(self, config: FaceRunConfig, before: list[Tensor], images: Tensor, categories: Tensor,
                   noise: np.random.Generator) -> Tensor:
        return face_model.noisy_sums(images, categories, len(config.names), config.warm_start.face_model,
                                  config.warm_start.round_noise, noise)

    def generator(self, config: FaceRunConfig, sums: list[Tensor]) -> FaceGenerator:
        settings, side = config.warm_start.face_model, config.model.image_side
        model = face_model.read(sums[0], len(config.names), side, settings, config.warm_start.round_noise)
        return FaceGenerator(config.latent, model, face_model.basis(settings, side).to(sums[0].device))


def _plain(config: RunConfig) -> Generator:
    return Generator(config.latent, config.model)


def _deforming(config: WarmRunConfig) -> DeformingGenerator:
    side = config.model.image_side
    shape = (config.latent.categories, config.warm_start.prototypes.styles, config.model.channels, side, side)
    return DeformingGenerator.empty(config.latent, torch.Size(shape))


def _faces(config: FaceRunConfig) -> FaceGenerator:
    return FaceGenerator.empty(config.latent, face_model.basis(config.warm_start.face_model, config.model.image_side))


METHODS = {method.name: method for method in (
    Method(name="plain", config=RunConfig, train=loop.train, empty=_plain),
    Method(name="prototypes", config=WarmRunConfig, train=training.train, rounds=PrototypeRounds, empty=_deforming),
    Method(name="reader", config=ReadRunConfig, train=reader.train_run, rounds=PrototypeRounds, empty=_deforming,
           posterior=ReadingPosterior),
    Method(name="faces", config=FaceRunConfig, train=training.train, rounds=FaceRounds, empty=_faces),
    Method(name="infogan", config=InfoGANRunConfig, train=infogan_loop.train, empty=InfoGANGenerator),
)}
