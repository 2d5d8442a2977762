"""The private GAN in the plane: its gradients against two other ways, its bound, its noise and its randomness."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpgan_lib.privacy import clipping
from dpgan_lib.studies.wasserstein import toy
from dpgan_lib.studies.wasserstein.distance import LIPSCHITZ, mlp
from dpgan_lib.studies.wasserstein.study import Parameters, plan_toy

CLIP = 0.3


def points(count, seed=0):
    return torch.from_numpy(toy.ring(count, np.random.default_rng(seed)))


def critic(seed=0):
    return mlp(toy.CRITIC, np.random.default_rng(seed))


class Scores(torch.nn.Module):
    """A critic as dpgan_lib.privacy.clipping wants it: one score a record."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, rows):
        return self.layers(rows).squeeze(1)


@pytest.mark.parametrize("clip_norm", [CLIP, math.inf])
def test_clipped_sums_against_the_books_own_way(clip_norm):
    f, rows = critic(), points(30)
    below = (1 - clipping.MARGIN) * clip_norm  # which the book's own leaves to float32
    ours = toy.clip(toy.example_gradients(f, toy.fake_loss, rows), below).sum(0)
    theirs = clipping.clipped_sum(Scores(f), (rows,), clip_norm)
    # float64, sums of 30 terms in two orders
    assert torch.allclose(ours, torch.cat([gradient.flatten() for gradient in theirs.values()]), rtol=1e-9, atol=1e-12)


def test_penalised_gradients_against_a_loop_of_autograd():
    f, x, y, mix = critic(), points(5), points(5, seed=1), torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    rows = toy.example_gradients(f, lambda *row: toy.penalised_loss(*row, weight=2.0), x, y, mix)
    for row, one, other, share in zip(rows, x, y, mix):
        point = (share * one + (1 - share) * other).requires_grad_()
        (slope,) = torch.autograd.grad(f(point), point, create_graph=True)
        loss = -f(one).squeeze() + 2.0 * (slope.norm() - 1) ** 2
        gradients = torch.autograd.grad(loss, list(f.parameters()), allow_unused=True, materialize_grads=True)
        assert torch.allclose(row, torch.cat([gradient.flatten() for gradient in gradients]), rtol=1e-9, atol=1e-12)


def test_one_record_moves_the_penalised_sum_by_at_most_C():
    f, x, y, mix = critic(), points(8), points(8, seed=1), torch.rand(8, 1, dtype=torch.float64)
    x[-1] *= 1e6
    rows = toy.clip(toy.example_gradients(f, lambda *row: toy.penalised_loss(*row, weight=10.0), x, y, mix), CLIP)
    moved = float((rows.sum(0) - rows[:-1].sum(0)).norm())
    assert CLIP * (1 - 1e-9) < moved <= CLIP * (1 + 1e-9)  # it reaches the bound, or nothing was tested


def test_equal_clouds_move_no_critic_unless_only_one_half_is_clipped():
    f, same = critic(), points(200)
    moved = {balance: float(toy.balanced(f, same, same, CLIP, balance).norm()) for balance in toy.BALANCES}
    assert moved["both halves"] < 1e-15 and moved["the pair"] < 1e-15  # float64's rounding of a difference of means
    assert moved["real alone"] > 0.1 * CLIP


def test_without_clipping_the_three_balances_are_one_gradient():
    f, real, fake = critic(), points(50), points(50, seed=1)
    first, *others = (toy.balanced(f, real, fake, math.inf, balance) for balance in toy.BALANCES)
    assert all(torch.allclose(first, other) for other in others)


def game(**changes):
    config = replace(plan_toy(Parameters(profile="smoke", **changes)).run, ratios=(1,))
    return config, toy.new_game(config, 1)


def released(config, players, batch, noise_multiplier):
    """The gradient that one critic step hands to the optimiser."""
    config = replace(config, privacy=replace(config.privacy, noise_multiplier=noise_multiplier, clip_norm=CLIP))
    toy.critic_step(config, players, batch, np.random.default_rng(0), np.random.default_rng(1))
    return torch.cat([parameter.grad.flatten() for parameter in players.critic.parameters()])


@pytest.mark.parametrize("lipschitz", LIPSCHITZ)
@pytest.mark.parametrize("count", [20, 0])
def test_the_noise_has_the_stated_deviation_whatever_the_batch(lipschitz, count):
    config, players = game(lipschitz=lipschitz)
    loud = released(config, players, points(count), 2.0)
    config, players = game(lipschitz=lipschitz)
    noise = (loud - released(config, players, points(count), 0.0)) * config.privacy.expected_batch / (2.0 * CLIP)
    # 1,185 numbers from N(0, 1): their standard deviation is within 0.1 of 1 but for once in a million seeds.
    assert abs(float(noise.std()) - 1) < 0.1 and abs(float(noise.mean())) < 0.15


@pytest.mark.parametrize("lipschitz, inside", [
    ("clip", lambda weight: weight.abs().max() <= 0.1),
    ("spectral", lambda weight: torch.linalg.matrix_norm(weight, 2) <= 1 + 1e-9)])
def test_noise_does_not_drive_a_projected_critic_out_of_W(lipschitz, inside):
    config, players = game(lipschitz=lipschitz)
    released(config, players, points(20), 100.0)
    assert all(inside(layer.weight) for layer in players.critic[::2])


def test_a_run_repeats_itself_and_shares_no_randomness_with_another():
    config = plan_toy(Parameters(profile="smoke")).run
    data = points(config.privacy.records).numpy()
    first, again = (toy.measure(config, data) for _ in range(2))
    assert first == again
    assert [run["ratio"] for run in first["runs"]] == list(config.ratios)
    other = plan_toy(Parameters(profile="smoke", epsilon=2.0)).run
    draws = {each.stream(ratio, "noise", 3).standard_normal() for each in (config, other) for ratio in config.ratios}
    assert len(draws) == 2 * len(config.ratios)


def test_a_better_generator_has_a_smaller_distance():
    config = plan_toy(Parameters(profile="smoke")).run

    def perfect(z):  # the ring's eight centres, by the angle of z
        angle = torch.round(torch.atan2(z[:, 1], z[:, 0]) / (math.pi / 4)) * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    near, far = (toy.distance(config, generator, np.random.default_rng(0)) for generator in (perfect, torch.zeros_like))
    assert near < 0.5 < far < 1.2
