"""A generator fitted to one private release, by Eq. 1 with a critic that is linear in public features.

The critic's maximum is in closed form (see embedding), so each step of G meets the best critic there is. No function
here has data in its signature: what was released is all that is known of it, so this costs no further epsilon.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dpgan_lib.config import LatentConfig
from dpgan_lib.embedding import Embedding, draw_labels, squared_distance
from dpgan_lib.features import Features
from dpgan_lib.latent import category, make_code, mutual_info_bound
from dpgan_lib.networks import Critic, Generator, Posterior
from dpgan_lib.steps import update_average


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """The warm start: public numbers. Rates and shares were chosen on the grown digits.

    release_share: of epsilon, what the release alone would spend (accounting.split_budget).  frequencies: of the random
    features, half their number.  steps: of the generator.  batch: images in a step.  rate: Adam's at the start; it
    falls linearly to 0.  info_weight: lambda, in units of |d|^2 per nat.  averaging: decay of the running mean.
    """

    release_share: float
    frequencies: int
    steps: int
    batch: int
    rate: float
    info_weight: float
    averaging: float


def fit(generator: Generator, posterior: Posterior, features: Features, released: Embedding, latent: LatentConfig,
        settings: WarmStartConfig, draw: Callable[[int], np.random.Generator]) -> Generator:
    """Train G (and Q) in place on what was released; returns G's running mean.

    draw: step -> its random numbers.  Classes come in the shares of the noisy histogram, for a critic of pairs (x, y)
    would tell other shares from the data's by y alone; sample with any shares afterwards.
    """
    average = copy.deepcopy(generator).requires_grad_(False)
    optimiser = torch.optim.Adam([*generator.parameters(), *posterior.parameters()], settings.rate, betas=(0.5, 0.9))
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * (1 - step / settings.steps)
        z, code = draw_codes(latent, released.histogram, settings.batch, draw(step))
        fit_step(generator, posterior, optimiser, features, released, z, code, latent, settings.info_weight)
        update_average(average, generator, settings.averaging)
    return average


def draw_codes(latent: LatentConfig, shares: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Like latent.sample_latent, with categories in given shares (K,) and at least two of each."""
    labels = draw_labels(shares, count, rng)
    continuous = torch.from_numpy(rng.uniform(-1, 1, size=(count, latent.continuous)))
    z = torch.from_numpy(rng.standard_normal((count, latent.z_dim), dtype=np.float32))
    return z, make_code(latent, labels, continuous)


def fit_step(generator: Generator, posterior: Posterior, optimiser: Optimizer, features: Features, released: Embedding,
             z: Tensor, code: Tensor, latent: LatentConfig, info_weight: float) -> None:
    """One descent step of G and Q on sum_y share_y |d_y|^2 - lambda L_I(G, Q).  z (B, z_dim), code (B, code_dim)."""
    images = generator(z, code)
    distances = squared_distance(released.means, released.noise, features(images), category(latent, code))
    loss = (released.histogram.float() * distances).sum()
    if info_weight > 0:
        loss = loss - info_weight * mutual_info_bound(latent, posterior(images), code)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def start_at_zero(critic: Critic) -> None:
    """Let a critic score everything 0 and still learn: the residual of f_w = <w_y, phi(x)> + critic(x, y).

    A fresh random critic in its place would undo the warm start.
    """
    nn.init.zeros_(critic.scores.weight)
    nn.init.zeros_(critic.scores.bias)
