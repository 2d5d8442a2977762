"""The three networks of Eq. 1: generator G(z, c), critic f_w(x, y) with its projection onto W, posterior Q(c | x).

And a second posterior, of the category alone: the reader Q(y | phi(x)), small enough to learn from real data privately.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import LatentConfig, ModelConfig

POSTERIOR_WIDTH = 16  # Q reads generated images alone, so its size costs time but no privacy


class Generator(nn.Module):
    """G(z, c): a linear map to a quarter of the side, then two doublings by convolution and pixel shuffle.

    z (B, z_dim), code (B, code_dim) -> images (B, channels, side, side) in [-1, 1].
    """

    def __init__(self, latent: LatentConfig, model: ModelConfig):
        super().__init__()
        width, quarter = model.generator_width, model.image_side // 4
        self.layers = nn.Sequential(
            nn.Linear(latent.z_dim + latent.code_dim, 2 * width * quarter**2),
            nn.Unflatten(1, (2 * width, quarter, quarter)),
            nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1), nn.PixelShuffle(2),
            nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * (width // 2), 3, padding=1), nn.PixelShuffle(2),
            nn.BatchNorm2d(width // 2), nn.ReLU(),
            nn.Conv2d(width // 2, model.channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        return self.layers(torch.cat([z, code], dim=1))


class Critic(nn.Module):
    """f_w(x, y): one linear score for each category on shared features, read out at y. Or f_w(x): one for all.

    images (B, channels, side, side), category (B, categories) one-hot -> scores (B,), unbounded: no sigmoid. No layer
    mixes records. The first convolution goes in strides of 4: few positions are left, and the fewer there are, the
    cheaper is a per-example gradient's norm.
    """

    def __init__(self, latent: LatentConfig, model: ModelConfig):
        super().__init__()
        width, quarter = model.critic_width, model.image_side // 4
        self.features = nn.Sequential(nn.Conv2d(model.channels, width, 6, stride=4, padding=1), nn.LeakyReLU(0.2),
                                      nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.LeakyReLU(0.2))
        self.scores = nn.Linear(2 * width * math.ceil(quarter / 2) ** 2, latent.categories if model.conditional else 1)
        self.model = model
        self.project()

    def forward(self, images: Tensor, category: Tensor) -> Tensor:
        features = self.features(images).movedim(1, -1).flatten(1)  # copies nothing of images with channels last
        scores = self.scores(features)
        return (scores * category).sum(1) if self.model.conditional else scores.sum(1)

    @torch.no_grad()
    def project(self) -> None:
        """Move w to the nearest point of W: post-processing, so it costs no epsilon."""
        for parameter in self.parameters():
            parameter.clamp_(-self.model.weight_clip, self.model.weight_clip)
        if math.isfinite(self.model.spectral_norm):
            for layer in (*self.features[::2], self.scores):  # type: ignore[misc]  # a slice of nn.Sequential is one
                project_spectral(layer, self.model.spectral_norm)


@torch.no_grad()
def project_spectral(layer: nn.Linear | nn.Conv2d, bound: float) -> None:
    """Move a layer's weights to the nearest ones (in the Euclidean norm) whose largest singular value is in bound.

    bound: for the layer's Lipschitz constant. A convolution's is at most its matrix's norm times the root of the number
    of patches that share a pixel, ceil(kernel / stride) in each direction.
    """
    if isinstance(layer, nn.Conv2d):
        bound /= math.sqrt(math.prod(math.ceil(kernel / step) for kernel, step in zip(layer.kernel_size, layer.stride)))
    left, values, right = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
    layer.weight.copy_(((left * values.clamp(max=bound)) @ right).view_as(layer.weight))


class Posterior(nn.Module):
    """Q(c | x), apart from the critic: the private critic then has no second use.

    images (B, channels, side, side) -> (B, categories + 2 * continuous): logits, means, log standard deviations.
    """

    def __init__(self, latent: LatentConfig, model: ModelConfig):
        super().__init__()
        width, quarter = POSTERIOR_WIDTH, model.image_side // 4
        self.layers = nn.Sequential(
            nn.Conv2d(model.channels, width, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 5, stride=2, padding=2), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(2 * width * quarter**2, 128), nn.LeakyReLU(0.2),
            nn.Linear(128, latent.categories + 2 * latent.continuous))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Reader(nn.Module):
    """Q(y | phi(x)): the softmax of a linear map of public features. It starts from the uniform distribution.

    features (B, inputs), category (B, categories) one-hot -> log Q(y | phi) (B,), nats; 0 for a row without a category.
    """

    def __init__(self, inputs: int, categories: int):
        super().__init__()
        self.logits = nn.Linear(inputs, categories)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, features: Tensor, category: Tensor) -> Tensor:
        return (F.log_softmax(self.logits(features), dim=1) * category).sum(1)


def build_networks(latent: LatentConfig, model: ModelConfig,
                   rng: np.random.Generator) -> tuple[Generator, Critic, Posterior]:
    """The three networks with initial weights drawn from rng (PyTorch's default distributions)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        return Generator(latent, model), Critic(latent, model), Posterior(latent, model)
