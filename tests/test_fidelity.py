"""Fidelity: a distance of Gaussians in closed form, measures by balls where the answer is known, the network."""

import numpy as np
import pytest

from dpgan_lib import data
from dpgan_lib.measures import fidelity
from dpgan_lib.measures.fidelity import feature_network, features, frechet, measure, precision_to_coverage


def draws(count, mean=0.0, scale=1.0, dimensions=4, seed=0):
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dimensions))


def standardised(points):
    """The same points with mean 0 and covariance 1, exactly."""
    points = points - points.mean(0)
    return points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T


def test_the_distance_of_gaussians_is_that_of_the_formula():
    """Commuting covariances: |m - n|^2 + sum (s_i - t_i)^2."""
    base, shift = standardised(draws(50)), np.array([1.0, -2.0, 0.0, 0.5])
    one, other = base * [1, 2, 3, 4], base * [2, 2, 1, 0] + shift
    assert frechet(one, other) == pytest.approx(shift @ shift + 1 + 0 + 4 + 16)


def test_the_distance_of_covariances_that_do_not_commute():
    """By the matrix square root of the product itself."""
    from scipy.linalg import sqrtm

    one, other = draws(100), draws(100, seed=1) @ draws(4, seed=2)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    difference = one.mean(0) - other.mean(0)
    expected = difference @ difference + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(one, other) == pytest.approx(expected) == pytest.approx(frechet(other, one))


def test_a_law_has_no_distance_to_itself():
    assert frechet(draws(50), draws(50)) == pytest.approx(0, abs=1e-9)


def test_two_draws_of_one_law_overlap():
    found = precision_to_coverage(draws(800), draws(800, seed=1))
    assert min(found["precision"], found["recall"], found["coverage"]) > 0.85 and abs(found["density"] - 1) < 0.15


def test_far_apart_nothing_overlaps():
    assert set(precision_to_coverage(draws(50), draws(50, mean=100)).values()) == {0.0}


def test_a_generator_of_one_good_image_is_precise_and_covers_nothing():
    real = draws(500)
    found = precision_to_coverage(real, real[:1] + 1e-6 * draws(500, seed=1))
    assert found["precision"] == 1 and found["recall"] < 0.05 and found["coverage"] < 0.05


def test_outliers_of_the_data_raise_precision_and_not_coverage():
    """What density and coverage were made for: one far real point has a huge ball."""
    real = np.concatenate([draws(200), [[50.0] * 4]])
    found = precision_to_coverage(real, draws(200, mean=20))
    assert found["precision"] == 1 and found["density"] == pytest.approx(1 / fidelity.NEIGHBOURS)
    assert found["coverage"] == pytest.approx(1 / 201)


@pytest.mark.full
def test_measures_of_digits_rank_real_above_noise():
    files = data.load("digits")
    network = feature_network(files.train_images, files.train_labels, 40, np.random.default_rng(0))
    train, test = (features(network, images) for images in (files.train_images, files.test_images))
    assert train.shape == (len(files.train_images), 128) and train.dtype == np.float64
    noise = np.random.default_rng(0).uniform(-1, 1, files.test_images.shape).astype(np.float32)
    good, bad = measure(train[:300], train, test), measure(features(network, noise), train, test)
    assert good["fid_train"] < bad["fid_train"] and good["floor"] < bad["fid_test"]
    assert good["coverage"] > bad["coverage"]
