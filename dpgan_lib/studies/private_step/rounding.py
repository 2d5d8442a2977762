"""What rounding does to the private step's proof: images that a last bit decides, noise that gives itself away."""

import numpy as np
import torch
from torch import Tensor

LEVELS = 255  # grey levels above black
CHANGE = 3  # grey levels by which a near tie is first moved at random, so that no two are alike
ROUNDS = 40  # in each, one pixel gets one level brighter, if that brings the templates' distances closer together


def near_ties(templates: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Images between two templates that resemble both as equally as a search finds, (count, pixels) float32 in [0, 1].

    templates: (2, pixels) in [0, 1].  The images are of whole grey levels, such as a file of bytes holds.
    """
    one, other = templates.double().cpu().numpy()
    slope = 2 * (other - one) / LEVELS  # of the difference of the squared distances, for a level more
    change = rng.uniform(-CHANGE, CHANGE, (count, len(one)))
    levels = np.rint(LEVELS * (one + other) / 2 + change).clip(0, LEVELS - 1)
    row = np.arange(count)
    for _ in range(ROUNDS):
        difference = (one**2 - other**2).sum() + levels @ slope
        after = np.abs(difference[:, None] + slope)
        pixel = after.argmin(1)
        better = (after[row, pixel] < np.abs(difference)) & (levels[row, pixel] < LEVELS)
        levels[row[better], pixel[better]] += 1
    return torch.from_numpy(levels).float() / LEVELS


def is_a_product(values: np.ndarray, spread: float) -> np.ndarray:
    """Which values are fl(spread * n) for some float64 n, with fl the rounding to float64: a boolean for each.

    The quotient values / spread is such an n if there is one or, where a value is a power of two, a neighbour of it.
    """
    near = values / spread
    return np.any([spread * n == values for n in (near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf))], 0)
