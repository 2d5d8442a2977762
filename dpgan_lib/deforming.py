"""A generator that deforms prototypes: G(z, c) is a style of the class asked for, slanted, moved, bent and sharpened.

All of it is trained by Eq. 1, prototypes too; what a private release said of them is where it starts (see prototypes).
Its two continuous codes have their meaning by construction: slant, and the width of strokes.
"""

import math

import torch
from torch import Tensor, nn

from dpgan_lib.config import LatentConfig
from dpgan_lib.deformations import KNOTS, PARAMETERS, SPREAD, affine, displacements, warp
from dpgan_lib.prototypes import Prototypes

SLANT = 1  # place of the slant among an affine map's parameters
Z_DIM = 1 + PARAMETERS - 1 + 2 * KNOTS**2  # the style, the map but its slant, the displacements
BEND = 0.06  # half-sides: standard deviation of displacements, to start with
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
        self.register_buffer("steps", prototypes.shares.cumsum(1)[:, :-1].contiguous())

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        category, continuous = code[:, :-2], math.sqrt(3) * code[:, -2:]  # uniform, of variance 1
        y = category.argmax(1)
        style = (self.steps[y] < torch.special.ndtr(z[:, :1])).sum(1)
        slant, width = continuous.unbind(1)
        moves = torch.cat([z[:, 1 : 1 + SLANT], slant[:, None], z[:, 1 + SLANT : PARAMETERS]], 1)
        maps = affine(self.mean[y] + self.log_spread[y].exp() * moves)
        knots = self.log_bend[y].exp()[:, None, None, None] * z[:, PARAMETERS:].view(-1, 2, KNOTS, KNOTS)
        pixels = warp(self.images[y, style], maps, displacements(knots, self.images.shape[-1]))
        threshold = self.threshold[y] - self.log_threshold_spread[y].exp() * width  # a low one widens strokes
        return 2 * sharpen(pixels, self.log_contrast[y].exp(), threshold) - 1


def sharpen(pixels: Tensor, contrast: Tensor, threshold: Tensor) -> Tensor:
    """A curve through 0 and nearly 1, steep at the threshold: pixels (B, channels, side, side); contrast, threshold (B,)."""
    contrast, threshold = (each[:, None, None, None] for each in (contrast, threshold))
    lowest = torch.sigmoid(-contrast * threshold)
    return (torch.sigmoid(contrast * (pixels - threshold)) - lowest) / (1 - lowest)
