"""A generator fitted to what was released: it comes closer, needs no data, and hands over without a jolt."""

import copy
import inspect

import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.config import WarmStartConfig
from dpgan_lib.gan.latent import category
from dpgan_lib.gan.networks import build_networks
from dpgan_lib.profiles import PROFILES
from dpgan_lib.warm_start.embedding import noisy_sums, squared_distance
from dpgan_lib.warm_start.features import Features
from dpgan_lib.warm_start.fit import draw_codes, fit, fit_step

SMOKE = PROFILES["smoke"]
SETTINGS = WarmStartConfig(
    release_noise=1.0, embedding_share=0.5, frequencies=100, steps=30, batch=60, rate=5e-3, image_rate=1.0,
    network_rate=1.0, info_weight=0.0, averaging=0.8, witness_weight=1.0)


@pytest.fixture(scope="module")
def phi():
    return Features(side=28, channels=1, frequencies=SETTINGS.frequencies)


@pytest.fixture(scope="module")
def released(phi):
    files = data.load("digits")
    categories = torch.from_numpy(files.train_labels[:, None] == np.arange(10)).float()
    return noisy_sums(phi, torch.from_numpy(files.train_images), categories, 0.1, np.random.default_rng(0))


def networks():
    return build_networks(SMOKE.latent, SMOKE.model, np.random.default_rng(0))


def fitted(phi, released, **change):
    generator, _, posterior = networks()
    settings = WarmStartConfig(**{**vars(SETTINGS), **change})
    average = fit(generator, posterior, phi, released, SMOKE.latent, settings, np.random.default_rng)
    return average, generator, posterior


@torch.no_grad()
def distance(generator, phi, released):
    z, code = draw_codes(SMOKE.latent, released.histogram, 1000, np.random.default_rng(99))
    phi_fake = phi(copy.deepcopy(generator).eval()(z, code))
    return squared_distance(released.means, released.noise, phi_fake, category(SMOKE.latent, code)).mean()


def test_the_generator_comes_closer(phi, released):
    average, generator, _ = fitted(phi, released)
    before = distance(networks()[0], phi, released)
    assert distance(generator, phi, released) < before / 4  # a quarter: fixed before it was run
    assert distance(average, phi, released) < before / 4


def test_no_function_is_handed_data():
    for function in (fit, fit_step, draw_codes):
        assert not {"images", "labels", "categories", "real", "records"} & set(inspect.signature(function).parameters)


def test_the_same_numbers_give_the_same_generator(phi, released):
    one, other = (fitted(phi, released, steps=2)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_posterior_learns_only_where_information_has_a_weight(phi, released):
    before = networks()[2].state_dict()
    without = fitted(phi, released, steps=2)[2].state_dict()
    weighed = fitted(phi, released, steps=2, info_weight=0.1)[2].state_dict()
    assert all(torch.equal(before[name], without[name]) for name in before)
    assert any(not torch.equal(before[name], weighed[name]) for name in before)


def test_codes_come_in_the_shares_asked_for():
    shares = torch.tensor([0.3] + [0.7 / 9] * 9)
    z, code = draw_codes(SMOKE.latent, shares, 500, np.random.default_rng(0))
    assert z.shape == (500, SMOKE.latent.z_dim) and code.shape == (500, SMOKE.latent.code_dim)
    torch.testing.assert_close(code[:, :10].sum(0), 2 + 480 * shares, rtol=0, atol=1)
    assert code[:, 10:].abs().max() <= 1
