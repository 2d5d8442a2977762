"""The critic: what it sees, and the set W that it is projected onto."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dpgan_lib.gan.networks import build_networks, project_spectral
from dpgan_lib.privacy.clipping import check_separable, clipped_sum
from dpgan_lib.profiles import PROFILES

LATENT, MODEL = PROFILES["smoke"].latent, PROFILES["smoke"].model


def critic(**changes):
    return build_networks(LATENT, replace(MODEL, **changes), np.random.default_rng(0))[1]


def batch(count=5):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 28, 28, generator=rng), torch.eye(10)[torch.arange(count) % 10]


def test_a_critic_of_images_alone_does_not_see_the_category():
    images, category = batch()
    alone, pairs = critic(conditional=False), critic(conditional=True)
    assert alone(images, category).shape == (5,)
    assert torch.equal(alone(images, category), alone(images, category.flip(1)))
    assert not torch.equal(pairs(images, category), pairs(images, category.flip(1)))


def test_the_clipped_sum_of_a_critic_of_images_alone_is_the_explicit_loop():
    model, (images, category) = critic(conditional=False), batch()
    check_separable(model, images, category)
    expected = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for index in range(len(images)):
        gradients = torch.autograd.grad(model(images[index : index + 1], category[index : index + 1]).sum(),
                                        list(model.parameters()))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        for name, gradient in zip(expected, gradients):
            expected[name] += gradient * min(1, 0.5 / norm)
    for name, gradient in clipped_sum(model, (images, category), 0.5).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)  # float32 sums in another order


@pytest.mark.parametrize("layer, shape",
                         [(nn.Linear(12, 5), (12,)), (nn.Conv2d(2, 4, 6, stride=4, padding=1), (2, 12, 12)),
                                          (nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 7, 7)),
                                          (nn.Conv2d(1, 3, 3, padding=1), (1, 6, 6))])
def test_a_projected_layer_stretches_nothing_by_more_than_the_bound(layer, shape):
    with torch.no_grad():
        layer.weight.mul_(10)
    project_spectral(layer, 0.7)
    flat = torch.func.jacrev(
        lambda image: layer(image[None]).flatten() - layer(0 * image[None]).flatten())(torch.ones(shape))
    assert torch.linalg.matrix_norm(flat.flatten(1), ord=2) <= 0.7 * (1 + 1e-5)  # float32


def test_the_projection_is_the_nearest_point_and_keeps_what_lies_within():
    layer = nn.Linear(8, 6)
    before = layer.weight.detach().clone()
    values = torch.linalg.svdvals(before)
    bound = float(values[2])
    project_spectral(layer, bound)
    # Eckart and Young: no matrix within the bound is nearer than the one whose singular values are cut.
    distance = torch.linalg.norm(before - layer.weight)
    torch.testing.assert_close(distance, (values - bound).clamp(min=0).norm(), rtol=1e-4, atol=1e-6)
    inside = layer.weight.detach().clone()
    project_spectral(layer, bound)
    torch.testing.assert_close(layer.weight.detach(), inside)


def test_the_whole_critic_is_as_steep_as_its_layers_allow():
    """In spectral W with bound 1, a product of 1s: the scores of two images lie no further apart than the images."""
    model, (images, category) = critic(weight_clip=math.inf, spectral_norm=1.0, conditional=False), batch(64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(20)
        model.project()
        scores = model(images, category)
    apart = (scores[:, None] - scores).abs()
    assert float(apart.max()) > 0
    assert bool((apart <= (images.flatten(1)[:, None] - images.flatten(1)).norm(dim=2) * (1 + 1e-5)).all())
