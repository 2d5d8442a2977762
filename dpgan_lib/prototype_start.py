"""The warm start for digits: rounds of prototypes, and a generator that deforms them."""

import numpy as np
import torch
from torch import Tensor

from dpgan_lib import prototypes
from dpgan_lib.deforming import DeformingGenerator
from dpgan_lib.prototypes import Prototypes
from dpgan_lib.warm_config import WarmRunConfig


class PrototypeStart:
    """As opening.First says."""

    def release(self, config: WarmRunConfig, before: list[Tensor], images: Tensor, categories: Tensor,
                noise: np.random.Generator) -> Tensor:
        return prototypes.release(found(config, before), images, categories, config.warm_start.prototypes,
                                  config.warm_start.round_noise, noise)

    def generator(self, config: WarmRunConfig, sums: list[Tensor]) -> DeformingGenerator:
        return DeformingGenerator(config.latent, found(config, sums))


def found(config: WarmRunConfig, sums: list[Tensor]) -> Prototypes | None:
    """What the rounds so far say together, None before the first."""
    latest, settings = None, config.warm_start
    shape = torch.Size([config.model.channels, config.model.image_side, config.model.image_side])
    for round_sums in sums:
        latest = prototypes.read(latest, round_sums, shape, settings.prototypes, settings.round_noise)
    return latest
