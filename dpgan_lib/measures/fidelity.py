"""Fidelity: how near generated images are to real ones, in the features of a small network.

The network is trained on real training images, so these are measures of a demonstration on public data: on private
data each would be a release. Numbers compare only under the same network and the same number of images.

Heusel et al. 2017 (FID, there with Inception's features); Kynkäänniemi et al. 2019 (precision, recall); Naeem et al.
2020 (density, coverage).
"""

import numpy as np
import torch
from torch import nn

from dpgan_lib.measures.classifiers import FALLING, train_cnn

NEIGHBOURS = 5  # k of the balls that estimate where a law has mass; that of Naeem et al.
BALLS = 5000  # images, of each kind, that precision to coverage are computed from


def feature_network(images: np.ndarray, labels: np.ndarray, steps: int, rng: np.random.Generator) -> nn.Module:
    """The literature's CNN trained on real images, without its last layer: images -> 128 numbers, at least 0."""
    return train_cnn(images, labels, steps, rng, FALLING)[:-1]


@torch.no_grad()
def features(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """(B, 128) float64 of images (B, 1, side, side) in [-1, 1]."""
    return torch.cat([network(part) for part in torch.from_numpy(images).split(1000)]).double().numpy()


def measure(generated: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """All measures of generated features (B, d) against those of real training and test images.

    fid_train, fid_test, floor (of test against train images: what another draw of the real law would get), and
    precision, recall, density and coverage against the test images.
    """
    balls = precision_to_coverage(test[:BALLS], generated[:BALLS])
    return {"fid_train": frechet(generated, train), "fid_test": frechet(generated, test),
            "floor": frechet(test, train)} | balls


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """The squared Fréchet distance of two Gaussians with the means and covariances of features (B, d).

    |m - n|^2 + tr(S + T - 2 (S T)^(1/2)), at least 0; the trace of the root is that of (S^(1/2) T S^(1/2))^(1/2).
    """
    difference = one.mean(0) - other.mean(0)
    first, second = (np.cov(each, rowvar=False) for each in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return max(float(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross), 0.0)


def precision_to_coverage(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Four measures by balls about features (B, d), each with its k-th neighbour of the same kind on its border.

    precision: share of generated images in some real ball.  recall: of real images in some generated ball.  density:
    real balls about a generated image, over k; may exceed 1.  coverage: share of real balls with a generated image.
    """
    distance = torch.cdist(torch.from_numpy(real), torch.from_numpy(generated))
    inside = distance <= _radii(real)[:, None]  # (real, generated): in the ball about a real image
    around = distance <= _radii(generated)[None]
    return {"precision": float(inside.any(0).double().mean()), "recall": float(around.any(1).double().mean()),
            "density": float(inside.double().sum(0).mean() / NEIGHBOURS),
            "coverage": float(inside.any(1).double().mean())}


def _radii(points):
    """The distance of each point to its k-th neighbour but itself, (B,)."""
    points = torch.from_numpy(points)
    return torch.cdist(points, points).kthvalue(NEIGHBOURS + 1, dim=1).values
