"""A Gaussian model of faces given their attributes, from one noisy sum of second moments.

Each record is a row of its low frequencies, its attributes and a 1; the rows' outer products are added up, with
Gaussian noise, as in Dwork et al. 2014 ("Analyze Gauss"). All that a Gaussian model needs is in that sum: the mean
face, how each attribute changes it (a regression), and how faces vary beside (eigenfaces). In terms of Eq. 1, it is the
maximum over all critics that are quadratic in a row, in closed form: their gap is a difference of second moments.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpgan_lib.config import FaceModelConfig
from dpgan_lib.privacy.exact import blocks, on_grid, one_hot
from dpgan_lib.privacy.mechanism import noisy_sum

ANCHOR = 0.3  # the weight of the 1 in a record's row, which counts records
GRID = 2.0**-16  # of a record's row: sums of 2^20 products of two take 52 of float64's 53 bits

# Brightness, and two differences of colour: orthonormal, so that no pixel's norm grows.
COLOURS = ((1 / math.sqrt(3),) * 3, (1 / math.sqrt(2), 0, -1 / math.sqrt(2)),
           (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)))
FEWEST = 100  # records are assumed at least, where noise says there are fewer
RIDGE = 0.05  # added to the attributes' variances, which are at most 1: rare ones are regressed with care


@dataclass(frozen=True)
class FaceModel:
    """What the noisy sums say. All in frequencies (width,), as of `basis`.

    mean: of all faces.  changes (A, width): what an attribute adds where it is present, and takes away where it is not.
    eigenfaces (components, width): directions times their standard deviations, largest first; 0 where noise hides them.
    """

    mean: Tensor
    changes: Tensor
    eigenfaces: Tensor


def combinations(attributes: int) -> Tensor:
    """The attributes of each category, (2^A, A) of -1 and 1; the first attribute changes slowest."""
    bits = torch.arange(2**attributes)[:, None] >> torch.arange(attributes - 1, -1, -1)
    return 2.0 * (bits % 2) - 1


def category_of(attributes: np.ndarray) -> np.ndarray:
    """The category (n,) of attributes (n, A) bool: the row of combinations() that says the same."""
    return attributes @ (1 << np.arange(attributes.shape[1])[::-1])


def basis(settings: FaceModelConfig, side: int) -> Tensor:
    """Low frequencies of each colour as orthonormal rows, (width, 3 * side^2): public, computed from no data."""
    waves = np.cos(np.pi / side * np.outer(np.arange(side), np.arange(side) + 0.5)) * math.sqrt(2 / side)  # a DCT-II
    waves[0] /= math.sqrt(2)
    rows = []
    for colour, kept in zip(COLOURS, (settings.luma, settings.chroma, settings.chroma)):
        squares = np.einsum("iy,jx->ijyx", waves[:kept], waves[:kept]).reshape(kept**2, side, side)
        rows.append(np.einsum("c,nyx->ncyx", colour, squares).reshape(kept**2, -1))
    return torch.tensor(np.concatenate(rows), dtype=torch.float32)


# The noisy sums: what reads data

def noisy_sums(images: Tensor, categories: Tensor, attributes: int, settings: FaceModelConfig, noise_multiplier: float,
            rng: np.random.Generator) -> Tensor:
    """Second moments plus symmetric noise, (m, m) float64 with m = width + A + 1.

    images (N, 3, side, side), categories (N, 2^A) one-hot, of any values.  rng: used here alone.
    Guarantee, add/remove one record: a Gaussian mechanism of that noise multiplier. A symmetric matrix is its diagonal
    and sqrt(2) times what is above it: as such a vector it has its Frobenius norm, which a record moves by at most 1.
    """
    sums = second_moments(images, categories, attributes, settings)
    scale = torch.full_like(sums, math.sqrt(2)).fill_diagonal_(1)
    above = noisy_sum(scale * sums, noise_multiplier, rng).triu() / scale
    return above + above.triu(1).T


@torch.no_grad()
def second_moments(images: Tensor, categories: Tensor, attributes: int, settings: FaceModelConfig) -> Tensor:
    """Sum of the outer products of bounded_rows: moved by one record by at most 1 (Frobenius).

    The sum is exact, and a record's row has the same bits whoever else is there (see privacy.exact).
    """
    frequencies = basis(settings, images.shape[-1]).to(images.device)
    signs = combinations(attributes).to(images.device)
    width = settings.width + attributes + 1
    sums = torch.zeros(width, width, dtype=torch.float64, device=images.device)
    for (part, of_part), count in blocks(images, categories):
        rows = bounded_rows(part, one_hot(of_part).float() @ signs, frequencies, settings)[:count]
        sums += rows.T @ rows
    return sums


def bounded_rows(images: Tensor, signs: Tensor, frequencies: Tensor, settings: FaceModelConfig) -> Tensor:
    """(low frequencies, attributes, 1) of each record, each part by its weight: (B, width + A + 1) float64 on GRID,
    norm at most 1.

    images (B, 3, side, side) and signs (B, A) of any values: nothing is raised for a record's sake. Pixels outside
    [-1, 1] are clipped, those that are no number count as 0, and so do attributes.
    """
    pixels = torch.nan_to_num(images, nan=0.0).clamp(-1, 1).flatten(1)
    low = (pixels @ frequencies.T).double() / norm_unit(settings, images.shape[-1])
    low = low / low.norm(dim=1, keepdim=True).clamp(min=1)
    signs = torch.nan_to_num(signs.double(), nan=0.0).clamp(-1, 1) * _sign_weight(settings, signs.shape[1])
    anchor = torch.full((len(low), 1), ANCHOR, dtype=torch.float64, device=low.device)
    rows = torch.cat([low, signs, anchor], 1) / _scale(settings)
    return on_grid(rows / rows.norm(dim=1, keepdim=True).clamp(min=1), GRID)


def norm_unit(settings: FaceModelConfig, side: int) -> float:
    """The norm of an image's frequencies that counts as 1."""
    return settings.level * math.sqrt(3) * side


def _sign_weight(settings, attributes):
    return settings.attribute_weight / math.sqrt(attributes)


def _scale(settings):
    return math.sqrt(1 + settings.attribute_weight**2 + ANCHOR**2)


# Afterwards: what reads the noisy sums alone

def read(sums: Tensor, attributes: int, side: int, settings: FaceModelConfig, noise_multiplier: float) -> FaceModel:
    """The model that the noisy sums (m, m) describe."""
    width = settings.width
    weights = torch.cat([torch.ones(width), torch.full((attributes,), _sign_weight(settings, attributes)),
                         torch.tensor([ANCHOR])]).double().to(sums.device)
    moments = sums * _scale(settings) ** 2 / torch.outer(weights, weights)  # of rows whose parts weigh 1
    count = moments[-1, -1].clamp(min=FEWEST)
    moments = moments / count
    mean = moments[-1, :-1]
    covariance = moments[:-1, :-1] - torch.outer(mean, mean)
    of_pixels, across, of_signs = covariance[:width, :width], covariance[:width, width:], covariance[width:, width:]
    changes = torch.linalg.solve(of_signs + RIDGE * torch.eye(attributes, device=sums.device), across.T)  # (A, width)
    explained = changes.T @ across.T
    beside = of_pixels - explained - explained.T + changes.T @ of_signs @ changes
    noise = noise_multiplier * _scale(settings) ** 2 / (math.sqrt(2) * count)
    unit = norm_unit(settings, side)
    return FaceModel((unit * (mean[:width] - mean[width:] @ changes)).float(), (unit * changes).float(),
                     (unit * denoised_directions(beside, float(noise), settings.components)).float())


def denoised_directions(symmetric: Tensor, noise: float, components: int) -> Tensor:
    """The leading eigenvectors times the roots of their variances, (components, width), of a matrix seen through noise.

    noise: standard deviation of each entry off the diagonal. Noise alone has eigenvalues up to 2 e, e = noise
    sqrt(width). A variance v > e shows as v + e^2 / v, and its eigenvector turns away by a known angle
    (Benaych-Georges, Nadakuditi 2011); what is left along what is seen is v - e^2 / v. What does not stand out of noise
    counts as 0.
    """
    values, vectors = torch.linalg.eigh(symmetric)
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    edge = noise * math.sqrt(len(symmetric))
    seen = values > 2 * edge
    true = (values + (values.square() - 4 * edge**2).clamp(min=0).sqrt()) / 2
    left = torch.where(seen, true - edge**2 / true.clamp(min=1e-12), 0).clamp(min=0)
    return left.sqrt()[:, None] * vectors.T
