"""The noisy sums and what is made of it: sensitivity, noise, counts, an estimate without bias, the maximiser."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from dpgan_lib import data
from dpgan_lib.privacy import exact
from dpgan_lib.warm_start import embedding
from dpgan_lib.warm_start.embedding import (
    Embedding,
    class_sums,
    draw_labels,
    noisy_sums,
    scores,
    squared_distance,
    witness,
)
from dpgan_lib.warm_start.features import Features

CLASSES = 10
CUT = 1e-8  # a row of 61 numbers, each cut by less than 2^-30, is shorter by less than sqrt(61) * 2^-30


@pytest.fixture(scope="module")
def phi():
    return Features(side=28, channels=1, frequencies=30)


@pytest.fixture(scope="module")
def digits():
    files = data.load("digits")
    return torch.from_numpy(files.train_images), one_hot(torch.from_numpy(files.train_labels), CLASSES).float()


def thinned(digits, label, keep):
    """The digits, with all but `keep` of one class removed."""
    images, categories = digits
    rank = categories[:, label].cumsum(0) * categories[:, label]
    kept = rank <= keep
    return images[kept], categories[kept]


# Sensitivity


ADVERSARIAL = {"white": torch.ones(1, 28, 28), "huge": torch.full((1, 28, 28), 1e30),
               "not a number": torch.full((1, 28, 28), math.nan), "infinite": torch.full((1, 28, 28), -math.inf),
               "half of it": torch.linspace(-1, 1, 784).view(1, 28, 28) / torch.tensor([0.0, 1.0]).repeat(14)}
LABELS = {"a class": one_hot(torch.tensor(3), CLASSES).float(), "none": torch.zeros(CLASSES),
          "all": torch.ones(CLASSES), "huge": torch.full((CLASSES,), -1e30),
          "not a number": torch.full((CLASSES,), math.nan), "infinite": torch.full((CLASSES,), math.inf)}


@pytest.mark.parametrize("image", ADVERSARIAL)
@pytest.mark.parametrize("label", LABELS)
def test_a_record_moves_the_sums_by_at_most_1(phi, digits, image, label):
    images, categories = (part[:20] for part in digits)
    more = torch.cat([images, ADVERSARIAL[image][None]]), torch.cat([categories, LABELS[label][None]])
    moved = class_sums(phi, *more) - class_sums(phi, images, categories)
    assert moved.norm() <= 1
    if label == "a class":
        assert moved.norm() > 1 - CUT  # the bound is the sensitivity


def test_each_digit_moves_the_sums_by_1_in_its_class(phi, digits):
    images, categories = (part[:50] for part in digits)
    whole = class_sums(phi, images, categories)
    for row in range(len(images)):
        rest = torch.arange(len(images)) != row
        moved = whole - class_sums(phi, images[rest], categories[rest])
        assert 1 - CUT < moved.norm() <= 1
        assert not moved[categories[row] == 0].any()


def test_blocks_of_another_size_change_nothing(phi, digits, monkeypatch):
    whole = class_sums(phi, *digits)
    monkeypatch.setattr(exact, "BLOCK", 7)
    # float32 features by other kernels
    torch.testing.assert_close(class_sums(phi, *digits), whole, rtol=1e-5, atol=1e-5)


def test_no_record_at_all(phi):
    sums = class_sums(phi, torch.zeros(0, 1, 28, 28), torch.zeros(0, CLASSES))
    assert sums.shape == (CLASSES, phi.width + 1) and not sums.any()


# Noise and counts


def test_the_noise_is_what_was_asked_for(phi):
    nothing = torch.zeros(0, 1, 28, 28), torch.zeros(0, CLASSES)
    noise = noisy_sums(phi, *nothing, 2.5, np.random.default_rng(0)).sums
    # the mean square of n normal numbers has a standard deviation of sqrt(2 / n): 5 of them
    assert noise.square().mean() == pytest.approx(2.5**2, rel=5 * math.sqrt(2 / noise.numel()))
    assert len(noise.unique()) == noise.numel()
    assert not torch.equal(noise, noisy_sums(phi, *nothing, 2.5, np.random.default_rng(1)).sums)


def test_without_noise_counts_and_means_are_exact(phi, digits):
    images, categories = digits
    told = noisy_sums(phi, images, categories, 0.0, np.random.default_rng(0))
    torch.testing.assert_close(told.counts, categories.sum(0).double(), rtol=1e-6, atol=0)  # float32 features
    means = categories.T @ phi(images) / categories.sum(0)[:, None]
    torch.testing.assert_close(told.means, means, rtol=0, atol=1e-5)  # float32 sums of 150 numbers
    assert not told.noise.any()


@pytest.mark.parametrize("keep", [3, pytest.param(30, marks=pytest.mark.full)])
def test_counts_of_a_thinned_class_are_right_and_noisy(phi, digits, keep):
    noise = 2.0
    images, categories = thinned([part[:400] for part in digits], 4, keep)
    counts = torch.stack([noisy_sums(phi, images, categories, noise, np.random.default_rng(seed)).counts
                          for seed in range(40)])
    error = counts - categories.sum(0)
    spread = noise / embedding.SHARE
    assert error.mean(0).abs().max() < 5 * spread / math.sqrt(40)  # 5 standard errors
    assert error.std() == pytest.approx(spread, rel=5 * math.sqrt(1 / 2 / error.numel()))


def test_what_is_divided_by_depends_on_what_was_released_alone(phi, digits):
    told = noisy_sums(phi, *thinned(digits, 4, 3), 2.0, np.random.default_rng(0))
    assert vars(told).keys() == {"sums", "noise_multiplier"}  # no true count is kept
    assert told.divisors.min() >= 2.0 / embedding.SHARE  # a count below its own noise says nothing
    assert told.histogram.sum() == pytest.approx(1) and told.histogram.min() > 0


def test_the_noise_of_means_is_declared(phi, digits):
    exact = noisy_sums(phi, *digits, 0.0, np.random.default_rng(0))
    noisy = Embedding(exact.sums + 3.0 * torch.randn(exact.sums.shape, generator=torch.manual_seed(0)), 3.0)
    # each class divides by its own noisy count, which scales its mean too: a tenth
    error = (noisy.means - exact.means * (exact.divisors / noisy.divisors)[:, None].float()).std(1)
    torch.testing.assert_close(error, noisy.noise, rtol=5 * math.sqrt(1 / 2 / phi.width), atol=0)


# What a generator is fitted by


def test_labels_have_the_shares_asked_for_and_pairs_of_each_class():
    shares = torch.tensor([0.5, 0.3, 0.199, 0.001])
    counts = torch.bincount(draw_labels(shares, 1000, np.random.default_rng(0)))
    assert (counts >= 2).all() and counts.sum() == 1000
    np.testing.assert_allclose(counts, 2 + 992 * shares, atol=1)
    assert {len(draw_labels(shares, 8, np.random.default_rng(seed))) for seed in range(9)} == {8}


def test_the_estimate_has_no_bias():
    """The mean over every batch that three points can give is the squared distance itself."""
    rng = np.random.default_rng(0)
    points = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((3, 5))), dim=1)
    target, category = torch.from_numpy(rng.standard_normal((1, 5))), torch.ones(3, 1, dtype=torch.float64)
    estimates = [squared_distance(target, torch.zeros(1), points[list(batch)], category)
                 for batch in itertools.product(range(3), repeat=3)]
    exact = (target[0] - points.mean(0)).square().sum()
    assert torch.stack(estimates).mean() == pytest.approx(exact.item(), abs=1e-12)


def test_the_target_s_noise_is_taken_off():
    rng = np.random.default_rng(0)
    phi = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((6, 50))), dim=1)
    category, true, noise = torch.ones(6, 1).double(), torch.zeros(1, 50).double(), torch.tensor([0.2]).double()
    exact = squared_distance(true, torch.zeros(1), phi, category)
    estimates = torch.stack([squared_distance(true + 0.2 * torch.from_numpy(rng.standard_normal((1, 50))), noise, phi,
                                              category) for _ in range(2000)])
    assert estimates.mean() == pytest.approx(exact.item(), abs=5 * estimates.std().item() / math.sqrt(2000))


def test_classes_are_estimated_apart():
    rng = np.random.default_rng(0)
    phi = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((8, 5))), dim=1)
    labels, target = torch.tensor([0, 1, 0, 1, 1, 0, 0, 0]), torch.from_numpy(rng.standard_normal((2, 5)))
    together = squared_distance(target, torch.zeros(2), phi, one_hot(labels).double())
    for label in (0, 1):
        alone = squared_distance(target[label : label + 1], torch.zeros(1), phi[labels == label],
                                 torch.ones((labels == label).sum(), 1).double())
        assert together[label] == pytest.approx(alone.item(), abs=1e-12)


def test_the_witness_is_the_best_critic():
    rng = np.random.default_rng(0)
    target, generated = torch.from_numpy(rng.standard_normal((2, 3, 5)))
    best = witness(target, generated)

    def penalised(w):
        return 2 * (w * (target - generated)).sum() - w.square().sum()

    w = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    for _ in range(60):
        w = (w + 0.25 * torch.autograd.grad(penalised(w), w)[0]).detach().requires_grad_()
    torch.testing.assert_close(w.detach(), best, rtol=0, atol=1e-12)  # gradient ascent from 0 ends there
    assert penalised(best) == pytest.approx((target - generated).square().sum().item())
    # and in the unit ball no direction scores a class higher than its own
    directions = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((1000, 3, 5))), dim=2)
    assert ((directions * best).sum(2) <= best.norm(dim=1) + 1e-12).all()


def test_scores_read_the_witness_of_the_label():
    w, phi = torch.arange(6.0).view(2, 3), torch.eye(3)[:2]
    category = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(scores(w, phi, category), torch.tensor([3.0, 1.0]))
