"""A generator fitted to noisy sums, by Eq. 1 with a critic that is linear in public features.

The critic's maximum is in closed form (see embedding), so each step of G meets the best critic there is. No function
here has data in its signature: noisy sums are all that is known of it, so this costs no further epsilon.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dpgan_lib.config import LatentConfig, WarmStartConfig
from dpgan_lib.gan.latent import category, make_code, mutual_info_bound
from dpgan_lib.gan.networks import Posterior
from dpgan_lib.gan.steps import update_average
from dpgan_lib.warm_start.embedding import Embedding, draw_labels, squared_distance
from dpgan_lib.warm_start.features import Features


def fit(generator: nn.Module, posterior: Posterior, features: Features, released: Embedding, latent: LatentConfig,
        settings: WarmStartConfig, draw: Callable[[int], np.random.Generator]) -> nn.Module:
    """Train G (and Q) in place on the noisy sums; returns G's running mean.

    draw: step -> its random numbers.  Classes come in the shares of the noisy histogram, for a critic of pairs (x, y)
    would tell other shares from the data's by y alone; sample with any shares afterwards.
    """
    average = copy.deepcopy(generator).requires_grad_(False)
    optimiser = torch.optim.Adam(_groups(generator, posterior, settings), betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(settings.steps, 1))
    for step in range(settings.steps):
        z, code = draw_codes(latent, released.histogram, settings.batch, draw(step))
        fit_step(generator, posterior, optimiser, features, released, z, code, latent, settings.info_weight)
        schedule.step()
        update_average(average, generator, settings.averaging)
    return average


def _groups(generator, posterior, settings):
    """Parameters with their rates. Prototypes, where a generator has any, start near their end, and networks are
    stirred by less than a few numbers of a class: both move less.
    """
    groups = [{"params": list(posterior.parameters()), "lr": settings.rate * settings.network_rate}]
    for name, parameter in generator.named_parameters():
        part = {"images": settings.image_rate, "correction": settings.network_rate}.get(name.split(".")[0], 1)
        groups.append({"params": [parameter], "lr": settings.rate * part})
    return groups


def draw_codes(latent: LatentConfig, shares: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Like latent.sample_latent, with categories in given shares (K,) and at least two of each."""
    labels = draw_labels(shares, count, rng)
    continuous = torch.from_numpy(rng.uniform(-1, 1, size=(count, latent.continuous)))
    z = torch.from_numpy(rng.standard_normal((count, latent.z_dim), dtype=np.float32))
    return z, make_code(latent, labels, continuous)


def fit_step(generator: nn.Module, posterior: Posterior, optimiser: Optimizer, features: Features, released: Embedding,
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
