"""Public deformations of images: small affine maps and smooth displacements. Nothing here is learnt from data.

Coordinates are torch's: from -1 to 1 across an image, first to the right, then down. A deformed image shows at a point
what its original shows at the point's image under the map; outside the original there is 0.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PARAMETERS = 6  # of an affine map; all 0 for the identity

# Standard deviations of the maps that a record may be matched with: the four entries of a matrix less the identity, by
# rows (the second one slants), then a shift in half-sides. Set by hand.
SPREAD = (0.12, 0.20, 0.12, 0.12, 0.10, 0.10)
KNOTS = 5  # a side of the grid of displacements, between which a field is smooth
SEED = 20_260  # of the candidates: a public constant, the same for every run
CHUNK = 2000  # images deformed at a time


def candidates(count: int) -> Tensor:
    """Parameters (count, PARAMETERS) of maps near the identity, always the same; the first is the identity."""
    drawn = torch.randn(count, PARAMETERS, generator=torch.Generator().manual_seed(SEED)) * torch.tensor(SPREAD)
    drawn[0] = 0
    return drawn


def affine(parameters: Tensor) -> Tensor:
    """Affine maps (B, 2, 3) of parameters (B, PARAMETERS); differentiable."""
    a, b, c, d, right, down = parameters.unbind(1)
    return torch.stack([torch.stack([1 + a, b, right], 1), torch.stack([c, 1 + d, down], 1)], 1)


def inverse(maps: Tensor) -> Tensor:
    """The inverse maps, (B, 2, 3)."""
    matrices = torch.linalg.inv(maps[:, :, :2])
    return torch.cat([matrices, -matrices @ maps[:, :, 2:]], dim=2)


def displacements(knots: Tensor, side: int) -> Tensor:
    """Smooth fields (B, side, side, 2) through knots (B, 2, KNOTS, KNOTS), in half-sides; differentiable."""
    return F.interpolate(knots, size=(side, side), mode="bicubic").permute(0, 2, 3, 1)


def warp(images: Tensor, maps: Tensor, field: Tensor | None = None) -> Tensor:
    """Images (B, channels, side, side), each deformed by its map (B, 2, 3) and, if given, its field; differentiable."""
    if not len(images):
        return images  # affine_grid knows no empty batch
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    grid = grid if field is None else grid + field
    return torch.cat([F.grid_sample(*part, align_corners=False)
                      for part in zip(images.split(CHUNK), grid.split(CHUNK))])
