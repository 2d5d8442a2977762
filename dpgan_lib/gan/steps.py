"""The two places where Eq. 1 is code: V = min_{G,Q} max_{w in W}  E_x f_w(x) - E_{z,c} f_w(G(z,c)) - lambda L_I(G,Q).

Only the first term reads data, and only critic_step is handed any. A third step is beside Eq. 1: reader_step maximises
what L_I is for real images with labels, which says what a code means (ss-InfoGAN, Spurr et al. 2017). It is handed data
too.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from dpgan_lib.config import LatentConfig, OptimiserConfig, PrivacyConfig, ReaderConfig
from dpgan_lib.gan.latent import category, mutual_info_bound
from dpgan_lib.gan.networks import Critic, Generator, Posterior, Reader
from dpgan_lib.privacy.clipping import clipped_sum
from dpgan_lib.privacy.mechanism import noisy_mean


def critic_step(critic: Critic, optimiser: Optimizer, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor],
                privacy: PrivacyConfig, clip_fakes: bool, noise: np.random.Generator,
                private_mean: Callable | None = None) -> None:
    """One ascent step of w on E_x f_w(x) - E_{z,c} f_w(G(z,c)), then back onto W.

    real: a Poisson batch (images, one-hot labels), of any size.  fake: (images, categories), a fixed number.
    private_mean: another function with noisy_mean's arguments and guarantee, for those who listen to what it releases.
    Returns nothing: what is computed from real data reaches the outside through the noisy w alone.
    """
    real_gradient = (private_mean or noisy_mean)(
        critic, real, clip_norm=privacy.clip_norm, noise_multiplier=privacy.noise_multiplier,
        expected_batch=privacy.expected_batch, rng=noise)
    # The fakes are public, so clipping them costs no epsilon; it keeps the halves equal where the two laws are.
    fake_gradient = clipped_sum(critic, fake, privacy.clip_norm if clip_fakes else float("inf"))
    for name, parameter in critic.named_parameters():
        parameter.grad = fake_gradient[name] / len(fake[0]) - real_gradient[name]  # descent on -V
    optimiser.step()
    critic.project()


def reader_step(reader: Reader, optimiser: Optimizer, real: tuple[Tensor, Tensor], settings: ReaderConfig,
                noise: np.random.Generator) -> None:
    """One ascent step of the reader's weights on E_{x,y} log Q(y | phi(x)).

    real: a Poisson batch (features (B, inputs), one-hot labels (B, K)), of any size.
    A record's gradient is (y - Q(. | phi)) (phi, 1)^T, so its norm is a product of two: the clip takes no pass through
    a network.  A record without a category has none, and contributes 0.
    Returns nothing: what is computed from real data reaches the outside through the noisy weights alone.
    """
    gradient = noisy_mean(reader, real, clip_norm=settings.clip_norm, noise_multiplier=settings.noise_multiplier,
                          expected_batch=settings.expected_batch, rng=noise)
    for name, parameter in reader.named_parameters():
        parameter.grad = -gradient[name]  # descent on -log Q
    optimiser.step()


def generator_step(generator: Generator, posterior: Posterior, critic: Callable, optimiser: Optimizer,
                   z: Tensor, code: Tensor, latent: LatentConfig, settings: OptimiserConfig) -> Tensor:
    """One descent step of G and Q on -E_{z,c} f_w(G(z,c)) - lambda L_I(G, Q). Returns L_I in nats (a scalar).

    critic: f_w, (images, one-hot categories) -> scores (B,).  z (B, z_dim), code (B, code_dim).
    No data in the signature: this is post-processing of the noisy critic.
    """
    images = generator(z, code)
    bound = mutual_info_bound(latent, posterior(images), code)
    loss = -critic(images, category(latent, code)).mean() - settings.info_weight * bound
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):  # of G and Q, never of w
        parameter.grad = gradient
    optimiser.step()
    return bound.detach()


@torch.no_grad()
def update_average(average: Generator, generator: Generator, decay: float) -> None:
    """Running mean of the generator's weights, decay * old + (1 - decay) * new; its batch statistics are copied."""
    for kept, new in zip(average.parameters(), generator.parameters()):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), generator.buffers()):  # type: ignore[assignment]  # a name used twice
        kept.copy_(new)
