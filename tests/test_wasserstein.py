"""Exact distances against other ways to compute them; what a critic can never exceed; the sets that critics live in."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.stats import norm, wasserstein_distance, wasserstein_distance_nd

from dpgan_lib.studies.wasserstein import distance
from dpgan_lib.studies.wasserstein.distance import LIPSCHITZ, STRENGTH


def clouds(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 2)), 0.5 * rng.standard_normal((count, 2)) + 1


def critic(seed=0, inputs=2):
    return distance.mlp((inputs, 16, 16, 1), np.random.default_rng(seed))


@pytest.mark.parametrize("pair", [(0, 1, 2, 0.5), (1, 2, 1, 0.1), (-1, 0.3, 4, 0.3), (0, 1, 0, 1), (3, 0.5, 0, 2)])
def test_gaussians_against_the_integral_of_the_difference_of_their_distributions(pair):
    mean, std, other_mean, other_std = pair
    between, _ = quad(lambda x: abs(norm.cdf(x, mean, std) - norm.cdf(x, other_mean, other_std)), -20, 20,
                      limit=500, epsabs=1e-10, points=(mean, other_mean))
    assert math.isclose(distance.w1_gaussians(*pair), between, abs_tol=1e-8)  # quad's own error is below 1e-9


def test_clouds_against_every_permutation():
    real, fake = clouds(6)
    distances = cdist(real, fake)
    least = min(distances[range(6), order].mean() for order in permutations(range(6)))
    assert math.isclose(distance.w1_clouds(real, fake), least, rel_tol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_clouds_against_scipys_linear_programme(seed):
    real, fake = clouds(30, seed)
    # The programme's solver stops within 1e-7 of its optimum.
    assert math.isclose(distance.w1_clouds(real, fake), wasserstein_distance_nd(real, fake), abs_tol=1e-6)


def test_clouds_on_a_line_against_sorting():
    real, fake = (points[:, :1] for points in clouds(40))
    assert math.isclose(distance.w1_clouds(real, fake), wasserstein_distance(real[:, 0], fake[:, 0]), rel_tol=1e-12)


def test_a_shift_costs_its_length_and_unequal_clouds_are_refused():
    real, _ = clouds(20)
    assert math.isclose(distance.w1_clouds(real, real + [3, 4]), 5, rel_tol=1e-12)
    with pytest.raises(ValueError, match="20 and 19 points and must have equally many"):
        distance.w1_clouds(real, real[:-1])


@pytest.mark.parametrize("lipschitz", LIPSCHITZ)
def test_no_critic_exceeds_w1_at_any_step_and_it_climbs(lipschitz):
    real, fake = clouds(50)
    looks = distance.ascend(critic(), torch.from_numpy(real), torch.from_numpy(fake), lipschitz=lipschitz,
                               strength=STRENGTH[lipschitz], steps=60, rng=np.random.default_rng(0), every=1)
    exact = distance.w1_clouds(real, fake)
    assert max(look["share"] for look in looks) <= exact * (1 + 1e-12)
    # It has learnt, so the bound above was put to the test.
    assert looks[-1]["share"] > 0.5 * exact and looks[-1]["gap"] > looks[0]["gap"]


def test_the_best_linear_critic_of_a_shift_reaches_w1():
    real, _ = clouds(20)
    steepest = torch.nn.Linear(2, 1).double()
    steepest.weight.data = torch.tensor([[-3.0, -4.0]]).double()
    seen = distance.look(steepest, torch.from_numpy(real), torch.from_numpy(real + [3, 4]))
    assert math.isclose(seen["share"], 5, rel_tol=1e-12) and math.isclose(seen["slope"], 5, rel_tol=1e-12)


def test_every_projection_ends_in_its_set_and_stays_there():
    clipped, bounded = critic(), critic()
    for _ in range(2):
        distance.keep_in_w(clipped, "clip", 0.05)
        distance.keep_in_w(bounded, "spectral", 0.5)
        kept = [parameter.clone() for parameter in (*clipped.parameters(), *bounded.parameters())]
    assert max(parameter.abs().max() for parameter in clipped.parameters()) == 0.05
    largest = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in bounded[::2]]
    assert max(largest) <= 0.5 * (1 + 1e-12) and math.isclose(max(largest), 0.5, rel_tol=1e-12)
    distance.keep_in_w(clipped, "clip", 0.05)
    distance.keep_in_w(bounded, "spectral", 0.5)
    for before, after in zip(kept, (*clipped.parameters(), *bounded.parameters())):
        assert torch.allclose(before, after, rtol=0, atol=1e-14)


def test_a_critic_of_spectral_layers_is_lipschitz_in_the_plane():
    bounded = critic()
    distance.keep_in_w(bounded, "spectral", 1.0)
    assert distance.slopes(bounded, torch.from_numpy(clouds(200)[0])).max() <= 1 + 1e-12


def test_slopes_against_finite_differences():
    f, (points, _) = critic().requires_grad_(False), clouds(5)
    differences = [[float(f(torch.from_numpy(point + step)) - f(torch.from_numpy(point - step))) / 2e-6
                    for step in 1e-6 * np.eye(2)] for point in points]
    slopes = distance.slopes(f, torch.from_numpy(points)).detach()
    assert np.allclose(slopes, np.linalg.norm(differences, axis=1), rtol=1e-6)  # rounding: 1e-16 / 1e-6, and to spare


def test_the_penalty_of_a_linear_critic_is_known():
    linear = torch.nn.Linear(2, 1).double()
    linear.weight.data = torch.tensor([[3.0, 4.0]]).double()
    real, fake = map(torch.from_numpy, clouds(7))
    value = distance.penalty(linear, real, fake, torch.rand(7, 1, dtype=torch.float64))
    assert math.isclose(value.detach(), (5 - 1) ** 2, rel_tol=1e-12)
    (gradient,) = torch.autograd.grad(value, linear.weight)
    assert torch.allclose(gradient, 2 * (5 - 1) * linear.weight / 5)
