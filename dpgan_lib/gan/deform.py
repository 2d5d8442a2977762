"""Small random deformations of generated images, for a reader of codes that must not lean on slant, width or place."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TURN, SHEAR, SCALE = math.radians(20), 0.4, 0.2  # the greatest, each way; a shear is a tangent, a scale a share
SHIFT = 2  # pixels
STROKE = 0.5  # of the way to the brightest, or to the mean, of a pixel's 3 x 3 neighbourhood


def deformed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """T(x): each image turned, sheared, scaled and shifted, its strokes thickened or softened, all at random.

    images (B, channels, side, side) in [-1, 1], -1 is the ground -> the same; differentiable in the images.

    T draws its numbers apart from code and image, so c -> G(z, c) -> T(G(z, c)) is a Markov chain, and by the
    data-processing inequality I(c; T(G)) <= I(c; G) (Cover and Thomas 2006, Theorem 2.8.1). So what a reader of T(x)
    bounds from below is a bound of I(c; G) still: E log Q(c | T(x)) + H(c) <= I(c; T(G)) <= I(c; G).
    """
    turn, shear, tall, wide, down, right, stroke = torch.from_numpy(
        rng.uniform(-1, 1, size=(7, len(images))).astype(np.float32)).to(images.device)
    cos, sin, slope = (TURN * turn).cos(), (TURN * turn).sin(), SHEAR * shear
    wide, tall, pixel = 1 + SCALE * wide, 1 + SCALE * tall, 2 * SHIFT / images.shape[-1]
    to_x = torch.stack([wide * cos, wide * (slope * cos - sin), pixel * right], 1)
    to_y = torch.stack([tall * sin, tall * (slope * sin + cos), pixel * down], 1)
    grid = F.affine_grid(torch.stack([to_x, to_y], 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images + 1, grid, align_corners=False) - 1  # outside the image there is ground
    stroke = STROKE * stroke[:, None, None, None]
    thick, soft = F.max_pool2d(moved, 3, 1, 1), F.avg_pool2d(moved + 1, 3, 1, 1) - 1
    return moved + stroke.clamp(min=0) * (thick - moved) + (-stroke).clamp(min=0) * (soft - moved)
