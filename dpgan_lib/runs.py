"""Any kind of run: how it trains, what its generator is, and what its result depends on."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from dpgan_lib import face_model, opening, training
from dpgan_lib.config import RunConfig
from dpgan_lib.deforming import DeformingGenerator
from dpgan_lib.face_config import FaceRunConfig
from dpgan_lib.face_generator import FaceGenerator
from dpgan_lib.face_start import FaceStart
from dpgan_lib.networks import Generator
from dpgan_lib.prototype_start import PrototypeStart
from dpgan_lib.state import State
from dpgan_lib.warm_config import WarmRunConfig


def train(config: RunConfig, images: np.ndarray, labels: np.ndarray, folder: Path, **how) -> State:
    """training.train, after its opening if the run has a warm start. Arguments and errors as there."""
    if isinstance(config, WarmRunConfig):
        first = FaceStart() if isinstance(config, FaceRunConfig) else PrototypeStart()
        return opening.train(config, first, images, labels, folder, **how)
    return training.train(config, images, labels, folder, **how)


def entries(config: RunConfig) -> tuple[str, ...]:
    """The modules that a trained generator depends on, with all that they import."""
    if isinstance(config, FaceRunConfig):
        return "opening", "face_start"
    return ("opening", "prototype_start") if isinstance(config, WarmRunConfig) else ("training",)


def empty_generator(config: RunConfig) -> nn.Module:
    """The run's generator, to load weights into."""
    if not isinstance(config, WarmRunConfig):
        return Generator(config.latent, config.model)
    side = config.model.image_side
    if isinstance(config, FaceRunConfig):
        return FaceGenerator.empty(config.latent, face_model.basis(config.warm_start.face_model, side))
    shape = (config.latent.categories, config.warm_start.prototypes.styles, config.model.channels, side, side)
    return DeformingGenerator.empty(config.latent, torch.Size(shape))
