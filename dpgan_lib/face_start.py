"""The warm start for faces: one round, of second moments, and a generator that starts from the Gaussian model in them."""

import numpy as np
from torch import Tensor

from dpgan_lib import face_model
from dpgan_lib.face_config import FaceRunConfig
from dpgan_lib.face_generator import FaceGenerator


class FaceStart:
    """As opening.First says."""

    def release(self, config: FaceRunConfig, before: list[Tensor], images: Tensor, categories: Tensor,
                noise: np.random.Generator) -> Tensor:
        return face_model.release(images, categories, len(config.names), config.warm_start.face_model,
                                  config.warm_start.round_noise, noise)

    def generator(self, config: FaceRunConfig, sums: list[Tensor]) -> FaceGenerator:
        settings, side = config.warm_start.face_model, config.model.image_side
        model = face_model.read(sums[0], len(config.names), side, settings, config.warm_start.round_noise)
        return FaceGenerator(config.latent, model, face_model.basis(settings, side).to(sums[0].device))
