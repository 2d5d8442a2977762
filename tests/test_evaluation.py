"""Utility: what the classifiers must and must not be able to do, and images that are what was asked for."""

import numpy as np
import pytest
import torch

from dpgan_lib import profiles
from dpgan_lib.config import EvaluationConfig, LatentConfig
from dpgan_lib.gan import latent, networks
from dpgan_lib.measures import classifiers, utility

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


def blobs(count, informative, seed):
    """Images with a bright patch whose place is the label, or is not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    places = labels if informative else rng.permutation(labels)
    images = rng.normal(-1, 0.1, (count, 1, 28, 28)).astype(np.float32)
    images[np.arange(count), 0, 2 * places, 14] = 1
    return images, labels


@pytest.mark.full
@pytest.mark.parametrize("informative", [True, False])
def test_classifiers_learn_what_is_there_and_nothing_else(informative):
    train, test = blobs(3000, informative, 0), blobs(1000, True, 1)
    result = utility.of_images(*train, test, EvaluationConfig(images=3000, cnn_steps=120), np.random.default_rng(0),
                               pair_cnns=False)
    assert len(result["pairs"]) == 45 and result["pairs_worst"] == min(value for _, _, value in result["pairs"])
    if informative:
        assert result["pairs_logistic"] > 0.95 and result["ten_logistic"] > 0.95 and result["ten_cnn"] > 0.9
    else:
        # Chance is 0.5 and 0.1; a pair has 200 test images of 2 distinct places, so one pair alone may be far off.
        assert abs(result["pairs_logistic"] - 0.5) < 0.15 and result["ten_logistic"] < 0.3
