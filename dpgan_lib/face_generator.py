"""A generator of faces: a face's low frequencies are linear in (z, c), and a small network redraws the pixels.

All of it is trained by Eq. 1; what a private release said of faces is where it starts (see face_model). Each attribute
is one direction, so that its code changes it and, as far as the data let attributes go apart, nothing else.
"""

import math

import torch
from torch import Tensor, nn

from dpgan_lib.config import LatentConfig
from dpgan_lib.deforming import Correction
from dpgan_lib.face_model import FaceModel, combinations


class FaceGenerator(nn.Module):
    """z (B, z_dim), code (B, 2^A + continuous) -> images (B, 3, side, side) in [-1, 1].

    The two continuous codes move the two eigenfaces that the release saw most of; z moves the others.
    """

    def __init__(self, latent: LatentConfig, model: FaceModel, frequencies: Tensor):
        """frequencies (width, 3 * side^2): of face_model.basis."""
        super().__init__()
        components = len(model.eigenfaces)
        if latent.z_dim + latent.continuous != components or latent.categories != 2 ** len(model.changes):
            raise ValueError(f"z_dim={latent.z_dim}, continuous={latent.continuous} and categories={latent.categories} do "
                             f"not fit {components} eigenfaces and {len(model.changes)} attributes: one number moves "
                             "each eigenface, and a category is a combination of attributes")
        self.side = math.isqrt(frequencies.shape[1] // 3)
        self.images = nn.Parameter(torch.cat([model.mean[None], model.changes, model.eigenfaces]))
        self.correction = Correction(latent.z_dim + latent.code_dim, 3, self.side)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("signs", combinations(len(model.changes)), persistent=False)

    @classmethod
    def empty(cls, latent: LatentConfig, frequencies: Tensor) -> "FaceGenerator":
        """One to load weights into."""
        attributes = int(math.log2(latent.categories))
        zeros = (torch.zeros(*shape, frequencies.shape[0]) for shape in (
            (), (attributes,), (latent.z_dim + latent.continuous,)))
        return cls(latent, FaceModel(*zeros), frequencies)

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        categories = len(self.signs)
        signs, continuous = code[:, :categories] @ self.signs, math.sqrt(3) * code[:, categories:]  # of variance 1
        weights = torch.cat([torch.ones_like(z[:, :1]), signs, continuous, z], 1)
        pixels = (weights @ self.images @ self.frequencies).view(-1, 3, self.side, self.side)
        return 2 * self.correction(((pixels + 1) / 2).clamp(0, 1), torch.cat([z, code], 1)) - 1
