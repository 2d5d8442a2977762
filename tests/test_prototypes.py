"""Private prototypes: what one record moves, the noise, the matching, and what is made of released sums."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from dpgan_lib import data
from dpgan_lib.config import PrototypeConfig
from dpgan_lib.privacy import exact
from dpgan_lib.warm_start import prototypes
from dpgan_lib.warm_start.deformations import PARAMETERS, SPREAD, affine, candidates, inverse, warp
from dpgan_lib.warm_start.prototypes import Prototypes, bounded_rows, learn, noisy_sums, shrink, split, style_sums

CLASSES = 10
ROUNDING = 1e-9  # of float64 sums of some hundred numbers below 1
SETTINGS = PrototypeConfig(rounds=3, candidates=8, level=0.35)


@pytest.fixture(scope="module")
def digits():
    files = data.load("digits")
    return torch.from_numpy(files.train_images), one_hot(torch.from_numpy(files.train_labels), CLASSES).float()


@pytest.fixture(scope="module")
def found(digits):
    return learn(*digits, SETTINGS, 0.0, np.random.default_rng)


@pytest.fixture(params=[False, True], ids=["first round", "later round"])
def guess(request, found):
    return split(found) if request.param else None


# Sensitivity


ADVERSARIAL = {"white": torch.ones(1, 28, 28), "huge": torch.full((1, 28, 28), 1e30),
               "not a number": torch.full((1, 28, 28), math.nan), "infinite": torch.full((1, 28, 28), math.inf),
               "half of it": torch.linspace(-1, 1, 784).view(1, 28, 28) / torch.tensor([0.0, 1.0]).repeat(14),
               "noise": torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1}
LABELS = {"a class": one_hot(torch.tensor(3), CLASSES).float(), "none": torch.zeros(CLASSES),
          "all": torch.ones(CLASSES), "two": one_hot(torch.tensor([3, 4]), CLASSES).sum(0).float(),
          "huge": torch.full((CLASSES,), -1e30), "not a number": torch.full((CLASSES,), math.nan),
          "part": one_hot(torch.tensor(3), CLASSES) * math.nan, "infinite": torch.full((CLASSES,), math.inf)}


@pytest.mark.parametrize("image", ADVERSARIAL)
@pytest.mark.parametrize("label", LABELS)
def test_a_record_moves_the_sums_by_at_most_1(digits, guess, image, label):
    images, categories = (part[:20] for part in digits)
    more = torch.cat([images, ADVERSARIAL[image][None]]), torch.cat([categories, LABELS[label][None]])
    moved = style_sums(guess, *more, SETTINGS) - style_sums(guess, images, categories, SETTINGS)
    assert moved.isfinite().all() and moved.norm() <= 1
    assert (moved.norm() > 0) == (label == "a class")


def test_each_digit_moves_one_style_of_its_class(digits, guess):
    images, categories = (part[:30] for part in digits)
    whole = style_sums(guess, images, categories, SETTINGS).view(CLASSES, -1, 784 + 1 + 2 * PARAMETERS)
    for row in range(len(images)):
        rest = torch.arange(len(images)) != row
        moved = whole - style_sums(guess, images[rest], categories[rest], SETTINGS).view_as(whole)
        (label, _), = (moved.abs().amax(2) > ROUNDING).nonzero().tolist()
        assert label == categories[row].argmax() and 0.5 < moved.norm() <= 1


@pytest.mark.parametrize("level", [1e-6, 0.35, 1e6])
def test_no_row_is_longer_than_1(level):
    extreme = torch.tensor([[1e30] * PARAMETERS, [-1e30] * PARAMETERS, [0.0] * PARAMETERS])
    for value in (0.0, 0.5, 1.0):
        rows = bounded_rows(torch.full((3, 1, 28, 28), value), extreme, level)
        assert rows.norm(dim=1).max() <= 1 + 1e-12


def test_blocks_of_another_size_change_nothing(digits, guess, monkeypatch):
    whole = style_sums(guess, *digits, SETTINGS)
    monkeypatch.setattr(exact, "BLOCK", 7)
    # float32 pixels by other kernels
    torch.testing.assert_close(style_sums(guess, *digits, SETTINGS), whole, rtol=1e-5, atol=1e-5)


def test_no_record_at_all(guess):
    sums = style_sums(guess, torch.zeros(0, 1, 28, 28), torch.zeros(0, CLASSES), SETTINGS)
    assert len(sums) == CLASSES * (guess.images.shape[1] if guess else 1) and not sums.any()


# Noise


@pytest.mark.parametrize("later", [False, True], ids=["first round", "later round"])
def test_noise_has_the_calibrated_spread_in_every_entry(digits, found, later):
    before = found if later else None
    noisy = noisy_sums(before, *digits, SETTINGS, 3.0, np.random.default_rng(0))
    noise = (noisy - style_sums(split(before), *digits, SETTINGS)) / 3.0
    count = noise.numel()
    assert abs(noise.mean()) < 5 / math.sqrt(count) and abs(noise.square().mean() - 1) < 5 * math.sqrt(2 / count)
    parts = noise.split([784, 1, 2 * PARAMETERS], dim=1)
    assert all(abs(part.std() - 1) < 5 / math.sqrt(2 * part.numel() - 2) for part in parts)


def test_data_is_read_by_style_sums_alone():
    for function in (split, prototypes.read, shrink):
        assert not {"categories", "pixels"} & set(inspect.signature(function).parameters)


# What is found


def test_prototypes_look_like_their_class(digits, found):
    """Nearest prototypes name most digits, though few styles stand for a class."""
    images, categories = digits
    alive = found.counts.flatten() > 0
    flat = found.images.flatten(0, 1)[alive].flatten(1)
    owner = torch.arange(CLASSES).repeat_interleave(SETTINGS.styles)[alive]
    nearest = torch.cdist((images.flatten(1) + 1) / 2, flat).argmin(1)
    assert (owner[nearest] == categories.argmax(1)).float().mean() > 0.5  # most; chance is 0.1


def test_what_is_found_has_its_ranges(digits, found):
    assert found.images.shape == (CLASSES, SETTINGS.styles, 1, 28, 28)
    assert 0 <= found.images.min() and found.images.max() <= 1
    assert torch.allclose(found.shares.sum(1), torch.ones(CLASSES)) and (found.spread > 0).all()
    members = digits[1].sum(0)
    assert ((found.counts.sum(1) - members).abs() <= 30 * SETTINGS.styles).all()  # what styles given up had


def test_deformed_copies_of_one_image_are_aligned():
    """The mean of slanted, moved copies is blurred; after alignment it is not, and the spread is found."""
    image = torch.full((1, 1, 28, 28), -1.0)
    image[:, :, 6:22, 12:16] = 1
    maps = candidates(SETTINGS.candidates)
    some = maps[torch.arange(800) % len(maps)]
    copies = 2 * warp((image.expand(800, -1, -1, -1) + 1) / 2, affine(some)) - 1
    settings = PrototypeConfig(rounds=4, candidates=SETTINGS.candidates, level=0.5)
    result = learn(copies, torch.ones(800, 1), settings, 0.0, np.random.default_rng)
    blurred, best = ((copies.mean(0) + 1) / 2)[0], result.images[0, result.counts[0].argmax(), 0]

    def blur(picture):
        return (picture * (1 - picture)).sum()

    assert blur(best) < 0.7 * blur(blurred)
    assert (result.spread[0] > 0.2 * torch.tensor(SPREAD)).all()


def test_noise_is_shrunk_away_and_a_clear_difference_is_kept():
    rng = torch.Generator().manual_seed(0)
    guess = torch.zeros(1, 1, 1, 28, 28, dtype=torch.float64)
    noisy = guess + 0.1 * torch.randn(guess.shape, generator=rng, dtype=torch.float64)
    noisy[..., 10:18, 10:18] += 1
    result = shrink(noisy, guess, torch.full((1, 1), 0.1))
    far, block = result[..., :7, :], result[..., 11:17, 11:17]
    assert far.square().mean() < 0.3 * 0.1**2 and abs(block.mean() - 1) < 0.05


def test_without_a_clear_record_a_class_keeps_its_guess(found):
    """No data at all in a later round: noise must not invent a style."""
    nothing = torch.zeros(0, 1, 28, 28), torch.zeros(0, CLASSES)
    sums = noisy_sums(found, *nothing, SETTINGS, 1.0, np.random.default_rng(0))
    after = prototypes.read(found, sums, nothing[0].shape[1:], SETTINGS, 1.0)
    assert (after.counts.sum(1) > 0).all() and after.images.isfinite().all()
    assert torch.allclose(after.shares.sum(1), torch.ones(CLASSES))


def test_an_inverse_undoes_a_map():
    maps = affine(candidates(20))
    points = torch.randn(20, 2, 1, generator=torch.Generator().manual_seed(0))
    there = maps[:, :, :2] @ points + maps[:, :, 2:]
    back = inverse(maps)
    torch.testing.assert_close(back[:, :, :2] @ there + back[:, :, 2:], points, rtol=1e-4, atol=1e-5)


def test_split_keeps_counts_and_dead_styles(found):
    dead = Prototypes(found.images, found.counts * torch.tensor([1.0, 0, 1, 1]), found.mean, found.spread)
    halves = split(dead)
    assert torch.allclose(halves.counts.sum(1), dead.counts.sum(1)) and not halves.counts[:, 2:4].any()
