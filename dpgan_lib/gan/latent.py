"""The prior on (z, c) and the variational bound L_I on the information that G(z, c) keeps about c.

L_I(G, Q) = E_{c, x = G(z, c)} [log Q(c | x)] + H(c)  <=  I(c; G(z, c))   (Chen et al. 2016, Eq. 5), in nats.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpgan_lib.config import LatentConfig

LOG_STD_RANGE = (-3.0, 1.0)  # of Q's Gaussians: a floor on the spread keeps a deterministic code's bound finite


def sample_latent(config: LatentConfig, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw z (count, z_dim) and code (count, categories + continuous), both float32.

    The category is uniform: a public choice, not an estimate of the data's labels, which are private.
    """
    labels = rng.integers(config.categories, size=count)
    continuous = rng.uniform(-1, 1, size=(count, config.continuous))
    z = rng.standard_normal((count, config.z_dim), dtype=np.float32)
    return torch.from_numpy(z), make_code(config, torch.from_numpy(labels), torch.from_numpy(continuous))


def make_code(config: LatentConfig, labels: Tensor, continuous: Tensor) -> Tensor:
    """Join labels (B,) in 0..categories-1 and continuous (B, continuous) in [-1, 1] into codes (B, code_dim)."""
    return torch.cat([F.one_hot(labels, config.categories), continuous], dim=1).float()


def category(config: LatentConfig, code: Tensor) -> Tensor:
    """The one-hot categorical part (B, categories) of codes (B, code_dim): the y of f_w(x, y)."""
    return code[:, : config.categories]


def code_entropy(config: LatentConfig) -> float:
    """H(c) in nats: log K for the uniform category, log 2 for each uniform number in [-1, 1]."""
    return math.log(config.categories) + config.continuous * math.log(2)


def mutual_info_bound(config: LatentConfig, prediction: Tensor, code: Tensor) -> Tensor:
    """L_I on a batch: a scalar in nats, H(c) included.

    prediction: (B, categories + 2 * continuous), Q's logits, then means, then log standard deviations.
    """
    logits, mean, log_std = prediction.split([config.categories, config.continuous, config.continuous], dim=1)
    log_q = (F.log_softmax(logits, dim=1) * category(config, code)).sum(1)
    log_std = log_std.clamp(*LOG_STD_RANGE)
    error = (code[:, config.categories :] - mean) / log_std.exp()
    log_q = log_q - (0.5 * error**2 + log_std + 0.5 * math.log(2 * math.pi)).sum(1)
    return log_q.mean() + code_entropy(config)
