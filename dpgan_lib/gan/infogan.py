"""InfoGAN as its authors would recognise it (Chen et al. 2016, appendix C.1): networks, losses, and the two steps.

The critic's real half is the only place that reads data. Q learns from generated images and their codes; where it
shares the critic's features it moves these too, which is post-processing of whatever the critic's step released.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dpgan_lib.config import InfoGANRunConfig
from dpgan_lib.gan.deform import deformed
from dpgan_lib.gan.latent import category, mutual_info_bound
from dpgan_lib.gan.losses import (
    js_critic_loss,
    js_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)

INITIAL_SPREAD = 0.02  # of weights where batch norm rescales what follows (Radford et al. 2016)
SLOPE = 0.2  # of the leaky ReLUs
READER_WIDTH = 128  # of Q's own layer on the features
CRITIC_LOSS = {"js": js_critic_loss, "wasserstein": wasserstein_critic_loss}
GENERATOR_LOSS = {"js": js_generator_loss, "wasserstein": wasserstein_generator_loss}


# Networks

class InfoGANGenerator(nn.Module):
    """G(z, c): two linear layers, two transposed convolutions, batch norm between.

    z (B, z_dim), code (B, code_dim) -> images (B, channels, side, side) in [-1, 1].  z ~ N(0, I), as everywhere in the
    library; the layers see its distribution function, which is uniform on [-1, 1], as InfoGAN's noise is.
    """

    def __init__(self, config: InfoGANRunConfig):
        super().__init__()
        width, quarter = config.model.generator_width, config.model.image_side // 4
        hidden, flat = config.infogan.hidden, 2 * width * quarter**2
        self.layers = nn.Sequential(
            nn.Linear(config.latent.z_dim + config.latent.code_dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, flat), nn.BatchNorm1d(flat), nn.ReLU(),
            nn.Unflatten(1, (2 * width, quarter, quarter)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, config.model.channels, 4, stride=2, padding=1), nn.Tanh())

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        uniform = torch.erf(z / 2**0.5)
        return self.layers(torch.cat([uniform, code], dim=1))


class Features(nn.Module):
    """What critic and Q look at: images (B, channels, side, side) -> (B, hidden).

    With the JS loss two layers have batch norm. A Wasserstein critic has none, for there one image's score would depend
    on its neighbours, and no bound on the weights would bound its slope.
    """

    def __init__(self, config: InfoGANRunConfig, normed: bool):
        super().__init__()
        width, quarter, hidden = config.model.critic_width, config.model.image_side // 4, config.infogan.hidden
        self.layers = nn.Sequential(
            nn.Conv2d(config.model.channels, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width) if normed else nn.Identity(), nn.LeakyReLU(SLOPE), nn.Flatten(),
            nn.Linear(2 * width * quarter**2, hidden),
            nn.BatchNorm1d(hidden) if normed else nn.Identity(), nn.LeakyReLU(SLOPE))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class InfoGANCritic(nn.Module):
    """f_w(x): images -> scores (B,), the logits of a discriminator with the JS loss."""

    def __init__(self, config: InfoGANRunConfig):
        super().__init__()
        self.features = Features(config, normed=config.infogan.loss == "js")
        self.score = nn.Linear(config.infogan.hidden, 1)
        self.model = config.model

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.features(images)).squeeze(1)

    @torch.no_grad()
    def into_bounds(self) -> None:
        """Move w, the features' weights included, to the nearest point of W."""
        if math.isfinite(self.model.weight_clip):
            for parameter in self.parameters():
                parameter.clamp_(-self.model.weight_clip, self.model.weight_clip)
        if math.isfinite(self.model.spectral_norm):
            for layer in self.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    into_spectral_ball(layer, self.model.spectral_norm)


@torch.no_grad()
def into_spectral_ball(layer: nn.Linear | nn.Conv2d, bound: float) -> None:
    """networks.project_spectral, from the layer's Gram matrix: for 512 x 3,136 weights in a quarter of the time.

    Only directions beyond the bound move, so the small singular values, which a Gram matrix knows badly, stay as they
    are.
    """
    if isinstance(layer, nn.Conv2d):
        bound /= math.sqrt(math.prod(math.ceil(kernel / step) for kernel, step in zip(layer.kernel_size, layer.stride)))
    matrix = layer.weight.flatten(1)
    squares, left = torch.linalg.eigh(matrix @ matrix.T)
    beyond = squares > bound**2
    cut = left[:, beyond] * (1 - bound / squares[beyond].sqrt())
    matrix -= cut @ (left[:, beyond].T @ matrix)


class InfoGANPosterior(nn.Module):
    """Q(c | x): images -> (B, categories + 2 * continuous), as networks.Posterior.

    features: the critic's, where Q shares them.
    """

    def __init__(self, config: InfoGANRunConfig, features: Features | None = None):
        super().__init__()
        self.features = features or Features(config, normed=True)
        self.head = nn.Sequential(
            nn.Linear(config.infogan.hidden, READER_WIDTH), nn.BatchNorm1d(READER_WIDTH), nn.LeakyReLU(SLOPE),
            nn.Linear(READER_WIDTH, config.latent.categories + 2 * config.latent.continuous))
        self.categories = config.latent.categories

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def reading(self, images: Tensor, copies: Tensor) -> Tensor:
        """forward(images), but for the category, which is read from the deformed copies: continuous codes could not
        mean slant or width if these were hidden from Q.
        """
        return torch.cat([self(copies)[:, : self.categories], self(images)[:, self.categories :]], dim=1)


class InfoGAN(nn.Module):
    """The three networks of a run; with shared features these are in the critic and in Q, once."""

    def __init__(self, config: InfoGANRunConfig):
        super().__init__()
        self.generator, self.critic = InfoGANGenerator(config), InfoGANCritic(config)
        self.posterior = InfoGANPosterior(config, self.critic.features if config.infogan.shared else None)


def initial(config: InfoGANRunConfig, rng: np.random.Generator) -> InfoGAN:
    """Networks with initial weights drawn from rng: N(0, INITIAL_SPREAD^2), and by He's rule without batch norm.

    A Wasserstein critic starts within W.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        gan = InfoGAN(config)
        plain = set(gan.critic.modules()) if config.infogan.loss == "wasserstein" else set()
        for layer in gan.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                if layer in plain:
                    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                else:
                    nn.init.normal_(layer.weight, std=INITIAL_SPREAD)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # each of these has one
    gan.critic.into_bounds()
    return gan


# Losses and steps

def information_loss(config: InfoGANRunConfig, posterior: InfoGANPosterior, images: Tensor, code: Tensor,
                     continuous_weight: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """-lambda L_I, the continuous codes weighted; and L_I itself in nats, a lower bound of I(c; G) either way.

    continuous_weight: of these, where the category's is 1.  rng: of the deformations.
    """
    prediction = (posterior.reading(images, deformed(images, rng)) if config.infogan.deformed else posterior(images))
    bound = mutual_info_bound(config.latent, prediction, code)
    of_category = mutual_info_bound(replace(config.latent, continuous=0), prediction[:, : config.latent.categories],
                                    category(config.latent, code))
    weighted = of_category + continuous_weight * (bound - of_category)
    return -config.optimiser.info_weight * weighted, bound.detach()


def gradient_penalty(critic: InfoGANCritic, real: Tensor, fake: Tensor, rng: np.random.Generator) -> Tensor:
    """Mean of (|grad f_w(x)| - 1)^2 at random points between real and generated images (Gulrajani et al. 2017)."""
    share = torch.from_numpy(rng.random((len(real), 1, 1, 1), dtype=np.float32)).to(real.device)
    between = torch.lerp(real, fake, share).requires_grad_()
    slope, = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


def critic_step(config: InfoGANRunConfig, gan: InfoGAN, optimiser: Optimizer, real: Tensor, fake: Tensor, code: Tensor,
                continuous_weight: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One step of critic and Q, then w back into W: the sum of the critic's loss and -lambda L_I.

    real (B, ...), fake (B, ...) of codes (B, code_dim).  optimiser: of both networks' parameters, the features once.
    continuous_weight: of the continuous codes in L_I.
    Returns L_I in nats, and the gradient of -lambda L_I at the fakes, by which the generator learns; both as before
    the step.
    """
    fake = fake.detach().requires_grad_()
    loss = CRITIC_LOSS[config.infogan.loss](gan.critic(real), gan.critic(fake.detach()))
    if config.infogan.gradient_penalty:
        loss = loss + config.infogan.gradient_penalty * gradient_penalty(gan.critic, real, fake.detach(), rng)
    information, bound = information_loss(config, gan.posterior, fake, code, continuous_weight, rng)
    parameters = optimiser.param_groups[0]["params"]
    *gradients, pull = torch.autograd.grad(loss + information, [*parameters, fake])
    _descend(optimiser, gradients)
    gan.critic.into_bounds()
    return bound, pull


def generator_step(config: InfoGANRunConfig, gan: InfoGAN, optimiser: Optimizer, fake: Tensor, pull: Tensor) -> None:
    """One step of G on its loss against the critic, and on -lambda L_I. No data in the signature.

    fake: what G has generated, with its graph.  pull: of critic_step.
    """
    seen = fake.detach().requires_grad_()
    push, = torch.autograd.grad(GENERATOR_LOSS[config.infogan.loss](gan.critic(seen)), seen)
    _descend(optimiser, torch.autograd.grad(fake, optimiser.param_groups[0]["params"], push + pull))


def _descend(optimiser, gradients):
    for parameter, gradient in zip(optimiser.param_groups[0]["params"], gradients):
        parameter.grad = gradient
    optimiser.step()
