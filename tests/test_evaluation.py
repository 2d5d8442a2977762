"""Utility: what the classifiers must and must not be able to do, and images that are what was asked for."""

import numpy as np
import torch

from dpgan_lib import profiles
from dpgan_lib.config import LatentConfig
from dpgan_lib.gan import latent, networks
from dpgan_lib.measures import classifiers

LATENT = LatentConfig(z_dim=2, categories=10, continuous=2)


class Painter(torch.nn.Module):
    """Draws the category it is asked for as the grey level of the whole image."""

    def forward(self, z, code):
        return (code[:, :10].argmax(1).float() / 9)[:, None, None, None].expand(-1, 1, 28, 28)


def test_synthesise_asks_for_the_labels_given():
    labels = np.array([3, 0, 9, 3])
    images = classifiers.synthesise(Painter(), LATENT, labels, np.random.default_rng(0))
    assert images.shape == (4, 1, 28, 28) and np.allclose(images[:, 0, 0, 0] * 9, labels)


def test_an_image_does_not_depend_on_its_neighbours():
    profile = profiles.PROFILES["smoke"]
    generator = networks.build_networks(profile.latent, profile.model, np.random.default_rng(0))[0]
    many = classifiers.synthesise(generator, profile.latent, np.arange(50) % 10, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((50, profile.latent.z_dim), dtype=np.float32))[:1]
    continuous = torch.from_numpy(rng.uniform(-1, 1, (50, 2)))[:1]
    alone = generator(z, latent.make_code(profile.latent, torch.tensor([0]), continuous)).detach().numpy()
    assert np.allclose(many[:1], alone, atol=1e-5)  # float32 convolutions in another blocking


def test_a_grid_has_a_row_for_each_category():
    grid = classifiers.sample_grid(Painter(), LATENT, np.random.default_rng(0))
    assert grid.shape == (10, 10, 28, 28) and np.allclose(grid[:, :, 0, 0] * 9, np.arange(10)[:, None])
