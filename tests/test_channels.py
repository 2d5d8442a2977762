"""Channels against closed forms and another integrator; the bound against its law: I = L_I + gap, and gap >= 0."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from dpgan_lib.gan.latent import LOG_STD_RANGE
from dpgan_lib.studies.mutual_information import channels

ROUNDING = 1e-12  # sums of up to 400,000 terms of at most 1 nat, in double precision


def random_table(rng, codes=4, images=7):
    table = rng.exponential(size=(codes, images)) * (rng.random((codes, images)) < 0.7) + 1e-6
    return table / table.sum()


@pytest.mark.parametrize("accuracy", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_a_confusion_matrix_has_its_closed_form(accuracy):
    wrong = (1 - accuracy) * math.log((1 - accuracy) / 9) if accuracy < 1 else 0
    exact = math.log(10) + accuracy * math.log(accuracy) + wrong
    assert channels.mutual_information(channels.confusion(10, accuracy)) == pytest.approx(exact, abs=ROUNDING)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0, 100.0])
def test_a_gaussian_channel_has_its_closed_form(ratio):
    table, code, image = channels.gaussian(ratio)
    assert table.shape == (len(code), len(image))
    assert channels.mutual_information(table) == pytest.approx(0.5 * math.log1p(ratio), abs=ROUNDING)


@pytest.mark.parametrize("means, spreads", [([-1.0, 1.0], [1.0, 1.0]), ([0.0, 1.0, 4.0], [0.3, 2.0, 0.5])])
def test_a_mixture_agrees_with_an_adaptive_integrator(means, spreads):
    def mean_density(x):
        return np.mean([norm.pdf(x, mean, spread) for mean, spread in zip(means, spreads)])

    def integrand(x):
        return -mean_density(x) * math.log(mean_density(x))

    whole, _ = quad(integrand, -15, 20, points=means, limit=400, epsabs=1e-12)
    given_code = np.mean([0.5 * math.log(2 * math.pi * math.e * spread**2) for spread in spreads])
    table, _ = channels.mixture(means, spreads)
    assert channels.mutual_information(table) == pytest.approx(whole - given_code, abs=1e-10)  # the integrator's


@pytest.mark.parametrize("noise", [0.02, 0.3, 2.0])
def test_a_uniform_code_agrees_with_an_adaptive_integrator(noise):
    def entropy_density(x):
        density = (ndtr((x + 1) / noise) - ndtr((x - 1) / noise)) / 2
        return -density * math.log(density) if density > 0 else 0

    edge = max(0, 1 - 9 * noise)  # where the density bends
    whole = sum(quad(entropy_density, *part, limit=400, epsabs=1e-12)[0] for part in ((0, edge), (edge, 1 + 9 * noise)))
    exact = 2 * whole - 0.5 * math.log(2 * math.pi * math.e * noise**2)
    table, *_ = channels.uniform(noise)
    assert channels.mutual_information(table) == pytest.approx(exact, abs=1e-10)  # the integrator's


def test_the_bound_and_the_gap_add_up_for_any_reader_of_any_channel():
    rng = np.random.default_rng(0)
    for _ in range(200):
        table = random_table(rng)
        reader = rng.dirichlet(np.ones(len(table)), table.shape[1]).T
        assert channels.gap(table, reader) > 0
        total = channels.bound(table, reader) + channels.gap(table, reader)
        assert total == pytest.approx(channels.mutual_information(table), abs=ROUNDING)


@pytest.mark.parametrize("table", [channels.confusion(10, 1.0), channels.confusion(5, 0.3), channels.gaussian(3.0)[0],
                                   channels.uniform(0.2)[0], channels.mixture([0.0, 2.0], [1.0, 0.5])[0]])
def test_the_true_posterior_closes_the_gap(table):
    reader = channels.posterior(table)
    assert channels.gap(table, reader) == pytest.approx(0, abs=ROUNDING)
    assert channels.bound(table, reader) == pytest.approx(channels.mutual_information(table), abs=ROUNDING)


def test_independence_is_no_information_and_no_reader_finds_any():
    table = channels.confusion(10, 0.1)
    assert channels.mutual_information(table) == pytest.approx(0, abs=ROUNDING)
    for reader in np.random.default_rng(0).dirichlet(np.ones(10), (50, 10)):
        assert channels.bound(table, reader.T) < 0


# Readers that learn

def linear(image, *powers):
    """Statistics of a reader of two codes that sees these powers of x."""
    return np.array([np.outer([0, 1], image**power) for power in powers])


def test_a_reader_climbs_from_the_prior_to_the_truth_and_never_past_it():
    table, image = channels.mixture([-1.0, 1.0], [1.0, 1.0])
    history = channels.learn(table, linear(image, 0, 1), 150, 0.5)
    assert history[0] == pytest.approx(0, abs=ROUNDING) and np.all(np.diff(history) > -ROUNDING)
    exact = channels.mutual_information(table)
    assert np.all(history <= exact) and history[-1] > 0.999 * exact  # the truth is in reach: it is logistic in x


def test_a_reader_that_cannot_express_the_truth_stops_short_of_it():
    table, image = channels.mixture([0.0, 0.0], [0.5, 2.0])  # the same mean: nothing that is linear in x helps
    weak, strong = (channels.learn(table, linear(image, *powers), 400, 0.03)[-1] for powers in ((0, 1), (0, 1, 2)))
    exact = channels.mutual_information(table)
    assert weak == pytest.approx(0, abs=1e-9) and 0.8 * exact < strong < exact


def test_the_gradient_is_that_of_the_bound():
    """One small step of `learn` against a difference quotient: the first step moves L_I by rate |gradient|^2."""
    table = random_table(np.random.default_rng(1))
    statistics = np.random.default_rng(2).standard_normal((3, *table.shape))
    rate = 1e-6
    reader = np.repeat(table.sum(1, keepdims=True), table.shape[1], 1)
    gradient = np.tensordot(statistics, table - reader * table.sum(0), 2)
    start, end = channels.learn(table, statistics, 1, rate)
    assert end - start == pytest.approx(rate * gradient @ gradient, rel=1e-4)  # the next term is of order rate


# The reader that this book's Q is for a continuous code

def test_a_gaussian_reader_falls_short_of_a_uniform_code_at_every_noise():
    for noise in (0.02, 0.3, 2.0):
        table, code, _ = channels.uniform(noise)
        reader = channels.gaussian_reader(table, code, math.exp(LOG_STD_RANGE[0]))
        assert np.all(reader.sum(0) < 1 + 1e-9)
        assert channels.gap(table, reader) > 1e-3


def test_without_information_the_best_gaussian_reader_has_a_negative_bound():
    table, code, _ = channels.uniform(100.0)
    reader = channels.gaussian_reader(table, code, math.exp(LOG_STD_RANGE[0]))
    exact = math.log(2) - 0.5 * math.log(2 * math.pi * math.e / 3)  # a Gaussian of the prior's mean and variance
    assert channels.bound(table, reader) == pytest.approx(exact, abs=1e-4)  # at noise 100 the image says 2e-5 nats
