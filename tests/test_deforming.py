"""The generator that deforms prototypes: it starts at them, obeys its codes, and every part of it can be trained."""

import copy

import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.config import LatentConfig, PrototypeConfig
from dpgan_lib.gan.latent import sample_latent
from dpgan_lib.measures import codes
from dpgan_lib.warm_start.generators import Z_DIM, Correction, DeformingGenerator, sharpen
from dpgan_lib.warm_start.prototypes import learn

LATENT = LatentConfig(z_dim=Z_DIM, categories=10, continuous=2)


@pytest.fixture(scope="module")
def generator():
    files = data.load("digits")
    categories = torch.from_numpy(files.train_labels[:, None] == np.arange(10)).float()
    settings = PrototypeConfig(rounds=3, candidates=16, level=0.35)
    return DeformingGenerator(LATENT, learn(torch.from_numpy(files.train_images), categories, settings, 0.0,
                                            np.random.default_rng))


@pytest.mark.full
def test_images_are_in_range_and_of_the_class_asked_for(generator):
    z, code = sample_latent(LATENT, 500, np.random.default_rng(0))
    images = generator(z, code)
    assert images.shape == (500, 1, 28, 28) and images.abs().max() <= 1
    judge = codes.public_judge("digits", 60)
    obeyed = codes.named(judge, images.detach().numpy()) == codes.categories(LATENT, code)
    share = obeyed.mean()
    assert share > 0.5  # most; chance is 0.1


@pytest.mark.parametrize("which, measure", [(0, codes.slant), (1, codes.stroke_width)])
def test_the_continuous_codes_are_slant_and_stroke_width(generator, which, measure):
    images = codes.sweep(generator, LATENT, which, 100, np.random.default_rng(0))
    assert abs(codes.along(measure(images))) > 0.8  # of 1


@pytest.mark.full
def test_a_slant_leaves_the_class_alone(generator):
    images = codes.sweep(generator, LATENT, 0, 50, np.random.default_rng(1))
    seen = codes.named(codes.public_judge("digits", 60), images.reshape(-1, 1, 28, 28)).reshape(50, -1)
    assert (seen == seen[:, [4]]).mean() > 0.8


@pytest.mark.full
def test_every_parameter_has_a_gradient(generator):
    generator = copy.deepcopy(generator)
    z, code = sample_latent(LATENT, 2000, np.random.default_rng(0))
    weight = torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(0))
    (generator(z, code) * weight).mean().backward()
    waiting = [name for name, parameter in generator.named_parameters() if not parameter.grad.any()]
    inner = [name for name, _ in generator.named_parameters() if name.startswith("correction.") and ".out." not in name]
    assert waiting == inner  # what the correction adds is 0 at first, so its inner layers learn from the second step on
    optimiser = torch.optim.SGD(generator.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    (generator(z, code) * weight).mean().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in generator.parameters())


def test_at_first_the_correction_changes_nothing_but_the_extremes(generator):
    correction = Correction(4, 1, 28)
    pixels = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(correction(pixels, torch.randn(3, 4)), pixels.clamp(0.01, 0.99))


def test_an_empty_generator_takes_the_weights_of_a_trained_one(generator):
    other = DeformingGenerator.empty(LATENT, generator.images.shape)
    other.load_state_dict(generator.state_dict())
    z, code = sample_latent(LATENT, 20, np.random.default_rng(0))
    assert torch.equal(generator(z, code), other(z, code))


def test_styles_come_in_their_shares(generator):
    drawn = torch.linspace(-4, 4, 20_001)[1:]
    weights = torch.exp(-drawn.square() / 2)
    style = (generator.steps[[3]] < torch.special.ndtr(drawn)[:, None]).sum(1)
    shares = torch.zeros(generator.images.shape[1]).index_add_(0, style, weights) / weights.sum()
    expected = torch.diff(torch.cat([torch.zeros(1), generator.steps[3], torch.ones(1)]))
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-3)


def test_other_sizes_of_the_latent_are_refused(generator):
    with pytest.raises(ValueError, match="z_dim=3"):
        DeformingGenerator(LatentConfig(z_dim=3, categories=10, continuous=2), None)


def test_sharpening_keeps_black_and_steepens_the_threshold():
    pixels = torch.linspace(0, 1, 11).view(1, 1, 1, 11)
    out = sharpen(pixels, torch.tensor([20.0]), torch.tensor([0.5]))[0, 0, 0]
    assert out[0] == 0 and out[-1] > 0.99 and (out.diff() > 0).all() and out[6] - out[4] > 0.7
