"""A critic that is linear in public features: its maximum in closed form, paid for by one noisy sum.

For f_w(x, y) = <w_y, phi(x)> the critic's gap in a class is <w_y, d_y>, where d_y = E[phi(x) | y] - E[phi(G(z, c)) | y]
is a difference of mean embeddings. Over the unit ball its maximum is |d_y|, reached at w_y = d_y / |d_y|. With a
penalty in the ball's place, max_w 2 <w_y, d_y> - |w_y|^2 = |d_y|^2, reached at w_y = d_y: the squared maximum mean
discrepancy (Gretton et al. 2012). All that this needs of the data are class-wise sums of phi. One Gaussian mechanism
adds noise to them, as in DP-MERF (Harder et al. 2021); a generator fitted to that is post-processing.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpgan_lib.privacy.exact import blocks, on_grid, one_hot
from dpgan_lib.privacy.mechanism import noisy_sum
from dpgan_lib.warm_start.features import Features

ANCHOR = 0.3  # a in (phi, a): more counts better, and costs the features a factor sqrt(1 + a^2) of noise
SHARE = ANCHOR / math.sqrt(1 + ANCHOR**2)  # of a record's unit norm that counts it


@dataclass(frozen=True)
class Embedding:
    """What one noisy sum of each class says, and all that later steps know of the data.

    sums: (K, width + 1) float64, noisy class-wise sums of (phi, a) / sqrt(1 + a^2).  noise_multiplier: the standard
    deviation s of the noise in each entry.
    """

    sums: Tensor
    noise_multiplier: float

    @property
    def counts(self) -> Tensor:
        """Noisy numbers of records, (K,): without bias, of standard deviation s / SHARE; below 0 at times."""
        return self.sums[:, -1] / SHARE

    @property
    def histogram(self) -> Tensor:
        """Estimated shares of the classes, (K,): at least 0, summing to 1."""
        counts = self.divisors
        return counts / counts.sum()

    @property
    def divisors(self) -> Tensor:
        """What a class's sum is divided by, (K,): its noisy count, never less than that count's noise, or than 1."""
        return self.counts.clamp(min=max(self.noise_multiplier / SHARE, 1))

    @property
    def means(self) -> Tensor:
        """Noisy mean embeddings, (K, width) float32."""
        return (self.sums[:, :-1] * math.sqrt(1 + ANCHOR**2) / self.divisors[:, None]).float()

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the noise in each coordinate of a class's mean, (K,) float32."""
        return (self.noise_multiplier * math.sqrt(1 + ANCHOR**2) / self.divisors).float()


def noisy_sums(features: Features, images: Tensor, categories: Tensor, noise_multiplier: float,
            rng: np.random.Generator) -> Embedding:
    """The noisy sums: class sums plus N(0, s^2) in every entry.

    images (N, channels, side, side), categories (N, K) one-hot, of any values.  rng: used here alone.
    Guarantee, add/remove one record: a Gaussian mechanism of that noise multiplier (accounting's release_noise).
    """
    return Embedding(noisy_sum(class_sums(features, images, categories), noise_multiplier, rng), noise_multiplier)


@torch.no_grad()
def class_sums(features: Features, images: Tensor, categories: Tensor) -> Tensor:
    """Sums over each class of (phi, a) / sqrt(1 + a^2): (K, width + 1) float64, moved by one record by at most 1 (L2).

    The sums are exact, and a record's row has the same bits whoever else is there (see privacy.exact).
    Nothing is raised for a record's sake: pixels outside [-1, 1] are clipped, those that are no number count as 0, and
    a record whose category is not one of the classes counts nowhere.
    """
    sums = torch.zeros(categories.shape[1], features.width + 1, dtype=torch.float64, device=images.device)
    for (some_images, some_categories), _ in blocks(images, categories):  # rows of zeros are of no class
        phi = features(torch.nan_to_num(some_images).clamp(-1, 1))
        anchored = torch.nn.functional.pad(phi.double(), [0, 1], value=ANCHOR)
        anchored /= anchored.norm(dim=1, keepdim=True)  # so that phi's rounding is not in the bound
        sums += one_hot(some_categories).double().T @ on_grid(anchored)
    return sums


def draw_labels(shares: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Labels (count,) whose shares are those given, (K,), as nearly as whole numbers can be; at least 2 of each class.

    Two at the least, for an estimate without bias needs pairs. The rest fall at equal steps through the shares from a
    random start, so that batches hardly differ.
    """
    classes = len(shares)
    at = (rng.uniform() + np.arange(count - 2 * classes)) / (count - 2 * classes)
    drawn = np.searchsorted(np.cumsum(shares.numpy())[:-1], at)
    return torch.from_numpy(np.concatenate([np.arange(classes).repeat(2), drawn]))


def squared_distance(target: Tensor, noise: Tensor, phi: Tensor, category: Tensor) -> Tensor:
    """An estimate of |d_y|^2 for each class, (K,), from generated images alone; without bias.

    target (K, width): noisy means.  noise (K,): the standard deviation of the noise in each of their coordinates.
    phi (B, width): features of generated images, of norm 1.  category (B, K): one-hot, at least 2 of each class.
    The batch's own mean square would exceed |E phi|^2 by the features' variance over their number; pairs of two
    different images do not. The target's exceeds that of the true mean by its noise.
    """
    counts = category.sum(0)
    means = category.T @ phi / counts[:, None]
    pairs = (counts * means.square().sum(1) - 1) / (counts - 1)  # |phi|^2 = 1
    return target.square().sum(1) - target.shape[1] * noise.square() - 2 * (target * means).sum(1) + pairs


def witness(target: Tensor, generated: Tensor) -> Tensor:
    """The closed-form maximiser of 2 <w_y, d_y> - |w_y|^2: w = d, (K, width), from two sets of mean embeddings."""
    return target - generated


def scores(w: Tensor, phi: Tensor, category: Tensor) -> Tensor:
    """f_w(x, y) = <w_y, phi(x)>, (B,), of features (B, width) and one-hot labels (B, K)."""
    return ((category @ w) * phi).sum(1)
