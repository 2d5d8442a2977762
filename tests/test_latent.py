"""The prior and the bound L_I."""

import math

import numpy as np
import pytest
import torch

from dpgan_lib.config import LatentConfig
from dpgan_lib.gan.latent import LOG_STD_RANGE, category, code_entropy, make_code, mutual_info_bound, sample_latent

LATENT = LatentConfig(z_dim=3, categories=4, continuous=2)


def test_codes_are_one_hot_and_continuous_in_range():
    z, code = sample_latent(LATENT, 4000, np.random.default_rng(0))
    assert z.shape == (4000, 3) and code.shape == (4000, 6) and z.dtype == code.dtype == torch.float32
    assert torch.equal(category(LATENT, code).sum(1), torch.ones(4000))
    assert code[:, 4:].abs().max() <= 1
    # A category's share of 4,000 draws has standard error 0.0068.
    assert torch.allclose(category(LATENT, code).mean(0), torch.full((4,), 0.25), atol=0.035)


def prediction(logits, mean, std, count):
    return torch.cat([torch.tensor(logits).expand(count, 4), torch.tensor(mean).expand(count, 2),
                      torch.full((count, 2), math.log(std))], dim=1)


def test_a_posterior_that_knows_nothing_gives_the_bound_of_its_guess():
    """Q uniform on the category and N(0, s^2) on the rest: E log q has a closed form under the prior."""
    _, code = sample_latent(LATENT, 200_000, np.random.default_rng(0))
    bound = mutual_info_bound(LATENT, prediction([0.0] * 4, [0.0] * 2, 0.8, len(code)), code)
    exact = -math.log(4) - 2 * (0.5 * (1 / 3) / 0.8**2 + math.log(0.8) + 0.5 * math.log(2 * math.pi))
    # The mean of (c / 0.8)^2 / 2 over 400,000 draws has standard error 0.0008.
    assert float(bound) == pytest.approx(exact + code_entropy(LATENT), abs=0.005)
    assert float(bound) < 0  # independent codes: I = 0, and the bound is below


def test_a_posterior_that_knows_the_category_reaches_its_entropy():
    labels = torch.arange(4).repeat(50)
    code = make_code(LatentConfig(z_dim=1, categories=4, continuous=0), labels, torch.zeros(200, 0))
    latent = LatentConfig(z_dim=1, categories=4, continuous=0)
    bound = mutual_info_bound(latent, 50.0 * code, code)
    assert float(bound) == pytest.approx(math.log(4), abs=1e-6)  # float32


def test_the_bound_is_finite_for_a_posterior_that_is_sure():
    code = make_code(LATENT, torch.tensor([1]), torch.zeros(1, 2))
    sure = prediction([0.0, 99.0, 0.0, 0.0], [0.0, 0.0], math.exp(LOG_STD_RANGE[0] - 50), 1)
    assert torch.isfinite(mutual_info_bound(LATENT, sure, code))
