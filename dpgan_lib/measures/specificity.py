"""Specificity: does a generator draw what was asked for, and nothing else? As a reader of attributes sees it.

A reader is a small network trained on real training images, or for drawings one that knows how they are drawn. What it
gets wrong on real test images is known, so counts are corrected for it. Every recipe is fixed and the same at every
epsilon; none chooses anything. On private data each number here would be a release.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import LatentConfig
from dpgan_lib.gan.latent import make_code
from dpgan_lib.privacy import audit
from dpgan_lib.warm_start.face_model import category_of, combinations

BATCH, RATE = 128, 1e-3
CHUNK = 500  # images read or drawn at a time
LEVEL = 0.95  # of intervals
Read = Callable[[np.ndarray], np.ndarray]  # images (n, 3, side, side) in [-1, 1] -> attributes (n, A) bool


# Readers

def train_reader(images: np.ndarray, attributes: np.ndarray, steps: int, rng: np.random.Generator) -> nn.Module:
    """A CNN of three convolutions and one hidden layer, Adam, a fixed number of steps: images -> logits (n, A).

    images (n, 3, side, side) uint8, or float32 in [-1, 1]; attributes (n, A) bool. Mirror images are shown too.
    """
    side, truth = images.shape[-1], torch.from_numpy(attributes.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        model = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64 * (side // 8) ** 2, 128), nn.ReLU(), nn.Linear(128, attributes.shape[1]))
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(steps):
        rows = rng.integers(len(images), size=BATCH)
        batch = scaled(images[rows])
        batch = batch.flip(3) if rng.integers(2) else batch
        loss = F.binary_cross_entropy_with_logits(model(batch), truth[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def scaled(images: np.ndarray) -> Tensor:
    """Float32 in [-1, 1], of bytes or of what is scaled already."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    return pixels.float() / 127.5 - 1 if pixels.dtype == torch.uint8 else pixels


def reading(model: nn.Module) -> Read:
    """The network as a function from images to attributes."""
    return lambda images: through(model, images) > 0


@torch.no_grad()
def through(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The network's output for images of either kind, a part at a time."""
    parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    return torch.cat([model(scaled(part)) for part in parts]).numpy()


def judged(read: np.ndarray, truth: np.ndarray) -> list[dict]:
    """How well each attribute is read, for read and truth (n, A) bool: accuracy, and the shares of those with it, and
    of those without it, that are read right. Raises ValueError if an attribute is in all images, or in none.
    """
    found = []
    for column, (seen, true) in enumerate(zip(read.T, truth.T)):
        if true.all() or not true.any():
            raise ValueError(f"attribute {column + 1} is in {int(true.sum())} of {len(true)} test images: a reader "
                             "cannot be judged on it. Choose another.")
        found.append({"accuracy": float((seen == true).mean()), "with": float(seen[true].mean()),
                      "without": float((~seen[~true]).mean())})
    return found


# What was asked for, and what came

def drawn(generator: nn.Module, latent: LatentConfig, categories: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images (n, 3, side, side) float32 in [-1, 1] of the categories (n,) asked for; the rest from the prior."""
    z, continuous = prior(latent, len(categories), rng)
    return render(generator, z, make_code(latent, torch.from_numpy(categories), continuous))


def prior(latent: LatentConfig, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """z (count, z_dim) and continuous codes (count, continuous)."""
    z = torch.from_numpy(rng.standard_normal((count, latent.z_dim), dtype=np.float32))
    return z, torch.from_numpy(rng.uniform(-1, 1, (count, latent.continuous)))


@torch.no_grad()
def render(generator: nn.Module, z: Tensor, code: Tensor) -> np.ndarray:
    generator.eval()
    return torch.cat([generator(*part) for part in zip(z.split(CHUNK), code.split(CHUNK))]).numpy()


def obeyed(asked: np.ndarray, read: np.ndarray) -> list[dict]:
    """Counts for each attribute, for asked and read (n, A) bool: images asked for with it and without it, and how many
    of these are read as asked.
    """
    return [{"with": [int((seen & wanted).sum()), int(wanted.sum())],
             "without": [int((~seen & ~wanted).sum()), int((~wanted).sum())]} for seen, wanted in zip(read.T, asked.T)]


def by_combination(asked: np.ndarray, read: np.ndarray) -> list[list[int]]:
    """[images read as asked in every attribute, images asked for] of each combination, in combinations()' order."""
    category, right = category_of(asked), (asked == read).all(1)
    return [[int(right[category == one].sum()), int((category == one).sum())] for one in range(2 ** asked.shape[1])]


def interval(hits: int, count: int) -> tuple[float, float]:
    """For a share of which `hits` in `count` were seen: Clopper and Pearson's, of level LEVEL, which is never too
    short.
    """
    tail = (1 - LEVEL) / 2
    return 1 - audit.upper(count - hits, count, tail), audit.upper(hits, count, tail)


def corrected(share: float, right_with: float, right_without: float) -> float:
    """The share that has what a reader sees in this share of images (Rogan, Gladen 1978), in [0, 1].

    right_with, right_without: the shares of those that have it, and that have it not, which the reader reads right.
    Raises ValueError for a reader that tells nothing.
    """
    if right_with + right_without <= 1:
        raise ValueError(f"right_with={right_with} and right_without={right_without} must exceed 1 together: such a "
                         "reader tells nothing. Train a better one.")
    return min(max((share + right_without - 1) / (right_with + right_without - 1), 0.0), 1.0)


def effects(generator: nn.Module, latent: LatentConfig, read: Read, count: int, rng: np.random.Generator) -> np.ndarray:
    """How far code i moves attribute j, (A, A): share of images read with j when i is asked for, less when it is not.

    All else stands still: the same z and continuous codes, and the other attributes, which are drawn at random.
    """
    signs = combinations(int(math.log2(latent.categories)))
    z, continuous = prior(latent, count, rng)
    others = (signs[rng.integers(len(signs), size=count)] > 0).numpy()
    rows = []
    for moved in range(signs.shape[1]):
        shares = []
        for value in (False, True):
            asked = others.copy()
            asked[:, moved] = value
            code = make_code(latent, torch.from_numpy(category_of(asked)), continuous)
            shares.append(read(render(generator, z, code)).mean(0))
        rows.append(shares[1] - shares[0])
    return np.array(rows)


def independence(matrix: np.ndarray) -> float:
    """Of all that codes move, the share that is moved where it was asked for: 1 if each code moves its attribute
    alone.
    """
    moved = np.abs(matrix)
    return float(np.trace(moved) / moved.sum()) if moved.sum() else 0.0
