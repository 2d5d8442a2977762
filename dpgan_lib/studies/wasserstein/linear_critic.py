"""A critic that is linear in fixed public features, in the plane: its maximum over w needs no training, only two means.

f_w(x) = w . phi(x) with |w| <= 1  =>  max_w E f_w(x) - E f_w(y) = |E phi(x) - E phi(y)|, at w along the difference.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.studies.wasserstein.distance import mlp
from dpgan_lib.studies.wasserstein.toy import GENERATOR


def frequencies(count: int, width: float, rng: np.random.Generator) -> Tensor:
    """(count, 2): directions of random Fourier features (Rahimi, Recht 2007), drawn without any data.

    width: of the Gaussian kernel exp(-|x - y|^2 / (2 width^2)) that phi(x) . phi(y) approximates.
    """
    return torch.from_numpy(rng.standard_normal((count, 2)) / width)


def phi(points: Tensor, omega: Tensor) -> Tensor:
    """(B, 2 K) features of length 1.  points (B, 2); omega (K, 2)."""
    angles = points @ omega.T
    return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(len(omega))


def steepest(omega: Tensor) -> float:
    """The Lipschitz constant of phi, exactly: its Jacobian J has J^T J = omega^T omega / K everywhere."""
    return float(torch.linalg.matrix_norm(omega, 2)) / math.sqrt(len(omega))


def noisy_mean(points: Tensor, omega: Tensor, noise_multiplier: float, rng: np.random.Generator) -> Tensor:
    """(2 K,): the mean of phi over private points, released once by the Gaussian mechanism.

    Released is the noisy sum of (phi, 1) / sqrt(2), of length 1 for each point: the L2 sensitivity under add/remove is
    1, and the number of points, which is as secret as they are, is the noisy last entry.
    """
    rows = torch.cat([phi(points, omega), torch.ones(len(points), 1, dtype=points.dtype)], dim=1) / math.sqrt(2)
    total = rows.sum(0) + noise_multiplier * torch.from_numpy(rng.standard_normal(rows.shape[1]))
    return total[:-1] / total[-1]


def fit(mean: Tensor, omega: Tensor, rng: np.random.Generator, steps: int = 400, points: int = 256) -> nn.Sequential:
    """A generator whose features have this mean, by Adam on |mean - E phi(G(z))|^2. It is handed no data.

    Two batches of G(z), one for each factor of the square, keep the gradient unbiased.
    """
    generator = mlp(GENERATOR, rng)
    optimiser = torch.optim.Adam(generator.parameters(), 1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        z = torch.from_numpy(rng.standard_normal((2, points, GENERATOR[0])))
        one, other = (phi(generator(half), omega).mean(0) - mean for half in z)
        optimiser.zero_grad()
        (one @ other).backward()
        optimiser.step()
    return generator
