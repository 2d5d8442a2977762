"""Fixed public features: their length and slope, the release's sensitivity and noise, and a fit that reads no data."""

import math

import numpy as np
import pytest
import torch

from dpgan_lib.studies.wasserstein import distance, linear_critic, toy


def points(count, seed=0):
    return torch.from_numpy(toy.ring(count, np.random.default_rng(seed)))


def omega(width=0.3, count=100):
    return linear_critic.frequencies(count, width, np.random.default_rng(1))


def test_features_have_length_1_and_approximate_the_gaussian_kernel():
    x, waves = points(20), omega(count=20_000)
    features = linear_critic.phi(x, waves)
    assert torch.allclose(features.norm(dim=1), torch.ones(20, dtype=torch.float64))
    kernel = torch.exp(-torch.cdist(x, x) ** 2 / (2 * 0.3**2))
    # The error of a mean of 20,000 terms in [-1, 1] is 0.007 a standard deviation, in 400 entries.
    assert (features @ features.T - kernel).abs().max() < 0.04


@pytest.mark.parametrize("seed", range(3))
def test_no_unit_critic_is_steeper_than_steepest_and_one_is_as_steep(seed):
    waves, place = omega(count=5), points(1, seed)[0]
    jacobian = torch.func.jacrev(lambda point: linear_critic.phi(point[None], waves)[0])(place)
    assert math.isclose(torch.linalg.matrix_norm(jacobian, 2), linear_critic.steepest(waves), rel_tol=1e-12)


def test_the_distance_of_means_over_the_slope_is_at_most_w1():
    real, fake = points(60), 0.5 * points(60, seed=2)
    for width in (0.1, 0.5, 3.0):
        means = [linear_critic.phi(cloud, omega(width)).mean(0) for cloud in (real, fake)]
        bound = float((means[0] - means[1]).norm()) / linear_critic.steepest(omega(width))
        assert bound <= distance.w1_clouds(real.numpy(), fake.numpy())


def test_without_noise_the_release_is_the_mean():
    x = points(50)
    released = linear_critic.noisy_mean(x, omega(), 0.0, np.random.default_rng(0))
    assert torch.allclose(released, linear_critic.phi(x, omega()).mean(0))


class Recorder:
    """Noise that is one and the same, so that two releases differ by their sums."""

    def standard_normal(self, size):
        return np.linspace(1, 2, size)


def test_one_point_moves_the_released_sum_by_exactly_1():
    x, noise = points(40), 5.0

    def total(data):  # undoes the division by the noisy count, the last entry
        count = torch.tensor([len(data) / math.sqrt(2) + noise * 2], dtype=torch.float64)
        return torch.cat([linear_critic.noisy_mean(data, omega(), noise, Recorder()) * count, count])

    assert math.isclose(float((total(x) - total(x[:-1])).norm()), 1, rel_tol=1e-9)


def test_a_fit_approaches_its_target_and_repeats_itself():
    target = linear_critic.phi(points(2000), omega()).mean(0)
    first, again, longer = (linear_critic.fit(target, omega(), np.random.default_rng(3), steps).requires_grad_(False)
                            for steps in (20, 20, 200))
    z = torch.from_numpy(np.random.default_rng(4).standard_normal((2000, 2)))
    away = [float((linear_critic.phi(generator(z), omega()).mean(0) - target).norm()) for generator in (first, longer)]
    assert torch.equal(first(z), again(z)) and away[1] < 0.5 * away[0]
