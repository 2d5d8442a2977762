"""A generator that deforms prototypes: G(z, c) is a style of the class asked for, slanted, moved, bent, sharpened and,
last, redrawn by a small network.

All of it is trained by Eq. 1, prototypes too; what noisy sums said of them is where it starts (see prototypes).
Its two continuous codes have their meaning by construction: slant, and the width of strokes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import LatentConfig
from dpgan_lib.warm_start.deformations import KNOTS, PARAMETERS, affine, displacements, warp
from dpgan_lib.warm_start.face_model import FaceModel, combinations
from dpgan_lib.warm_start.prototypes import Prototypes

SLANT = 1  # place of the slant among an affine map's parameters
Z_DIM = 1 + PARAMETERS - 1 + 2 * KNOTS**2  # the style, the map but its slant, the displacements
BEND = 0.06  # half-sides: standard deviation of displacements, to start with
CORRECTION_WIDTH, GAIN = 16, 4.0  # channels; logits for each unit of the correction's output
CONTRAST, THRESHOLD, THRESHOLD_SPREAD = 8.0, 0.4, 0.08  # of the curve that sharpens a mean image, to start with


class DeformingGenerator(nn.Module):
    """z (B, Z_DIM), code (B, classes + 2) -> images (B, channels, side, side) in [-1, 1]."""

    def __init__(self, latent: LatentConfig, prototypes: Prototypes):
        super().__init__()
        if latent.z_dim != Z_DIM or latent.continuous != 2:
            raise ValueError(f"z_dim={latent.z_dim} and continuous={latent.continuous} must be {Z_DIM} and 2: a style, "
                             "a deformation, and the codes of slant and stroke width")
        classes = latent.categories
        self.images = nn.Parameter(prototypes.images.clone())
        self.mean = nn.Parameter(prototypes.mean.clone())
        self.log_spread = nn.Parameter(prototypes.spread.log())
        self.log_bend = nn.Parameter(torch.full((classes,), math.log(BEND)))
        self.log_contrast = nn.Parameter(torch.full((classes,), math.log(CONTRAST)))
        self.threshold = nn.Parameter(torch.full((classes,), THRESHOLD))
        self.log_threshold_spread = nn.Parameter(torch.full((classes,), math.log(THRESHOLD_SPREAD)))
        self.correction = Correction(Z_DIM + classes + 2, prototypes.images.shape[2], prototypes.images.shape[4])
        self.register_buffer("steps", prototypes.shares.cumsum(1)[:, :-1].contiguous())

    @classmethod
    def empty(cls, latent: LatentConfig, shape: torch.Size) -> "DeformingGenerator":
        """One to load weights into. shape: of its images, (classes, styles, channels, side, side)."""
        moments = torch.ones(shape[0], PARAMETERS)
        return cls(latent, Prototypes(torch.zeros(shape), torch.ones(shape[:2]), moments, moments))

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        category, continuous = code[:, :-2], math.sqrt(3) * code[:, -2:]  # uniform, of variance 1
        y = category.argmax(1)
        style = (self.steps[y] < torch.special.ndtr(z[:, :1])).sum(1)
        slant, width = continuous.unbind(1)
        moves = torch.cat([z[:, 1 : 1 + SLANT], slant[:, None], z[:, 1 + SLANT : PARAMETERS]], 1)
        maps = affine(rows(self.mean, y) + rows(self.log_spread, y).exp() * moves)
        knots = rows(self.log_bend, y).exp()[:, None, None, None] * z[:, PARAMETERS:].view(-1, 2, KNOTS, KNOTS)
        image = rows(self.images.flatten(0, 1), y * self.images.shape[1] + style)
        pixels = warp(image, maps, displacements(knots, image.shape[-1]))
        # A low one widens strokes.
        threshold = rows(self.threshold, y) - rows(self.log_threshold_spread, y).exp() * width
        ink = sharpen(pixels, rows(self.log_contrast, y).exp(), threshold)
        return 2 * self.correction(ink, torch.cat([z, code], 1)) - 1


class Correction(nn.Module):
    """Redraws pixels (B, channels, side, side) in [0, 1], by local convolutions and a smooth map of a latent (B,
    inputs).

    It adds to the pixels' logits, and at first nothing. So what pixels alone cannot say, as how strokes end or meet,
    can still be learnt.
    """

    def __init__(self, inputs: int, channels: int, side: int):
        super().__init__()
        self.side = side
        self.pixels = nn.Conv2d(channels, CORRECTION_WIDTH, 5, padding=2)
        self.latent = nn.Linear(inputs, CORRECTION_WIDTH * (side // 4) ** 2)
        self.both = nn.Conv2d(2 * CORRECTION_WIDTH, CORRECTION_WIDTH, 3, padding=1)
        self.out = nn.Conv2d(CORRECTION_WIDTH, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, pixels: Tensor, latent: Tensor) -> Tensor:
        coarse = self.latent(latent).view(len(pixels), -1, self.side // 4, self.side // 4)
        maps = [self.pixels(pixels), F.interpolate(coarse, scale_factor=4, mode="bilinear")]
        hidden = F.leaky_relu(self.both(F.leaky_relu(torch.cat(maps, 1), 0.2)), 0.2)
        return torch.sigmoid(torch.logit(pixels, eps=0.01) + GAIN * self.out(hidden))


def rows(table: Tensor, index: Tensor) -> Tensor:
    """table[index], with a gradient that is summed in a fixed order: seeded runs repeat to the bit."""
    return F.embedding(index, table.view(len(table), -1)).view(len(index), *table.shape[1:])


def sharpen(pixels: Tensor, contrast: Tensor, threshold: Tensor) -> Tensor:
    """A curve through 0 and nearly 1, steep at the threshold: pixels (B, channels, side, side); contrast, threshold
    (B,).
    """
    contrast, threshold = (each[:, None, None, None] for each in (contrast, threshold))
    lowest = torch.sigmoid(-contrast * threshold)
    return (torch.sigmoid(contrast * (pixels - threshold)) - lowest) / (1 - lowest)


class FaceGenerator(nn.Module):
    """z (B, z_dim), code (B, 2^A + continuous) -> images (B, 3, side, side) in [-1, 1].

    The two continuous codes move the two eigenfaces that the noisy sums saw most of; z moves the others.
    """

    def __init__(self, latent: LatentConfig, model: FaceModel, frequencies: Tensor):
        """frequencies (width, 3 * side^2): of face_model.basis."""
        super().__init__()
        components = len(model.eigenfaces)
        if latent.z_dim + latent.continuous != components or latent.categories != 2 ** len(model.changes):
            raise ValueError(f"z_dim={latent.z_dim}, continuous={latent.continuous} and categories={latent.categories} "
                             f"do not fit {components} eigenfaces and {len(model.changes)} attributes: one number "
                             "moves each eigenface, and a category is a combination of attributes")
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
