"""Two ways to draw: as asked for, or wide and labelled by Q."""

import numpy as np
import pytest
import torch
from torch import nn

from dpgan_lib.config import LatentConfig
from dpgan_lib.measures import drawing

LATENT = LatentConfig(z_dim=1, categories=4, continuous=1)


class Painter(nn.Module):
    """An image of one grey: the category asked for, moved up by one where z is above a threshold."""

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold

    def forward(self, z, code):
        grey = code[:, :4].argmax(1).float() + (z[:, 0] > self.threshold)
        return grey[:, None, None, None].expand(-1, 1, 2, 2).clone()


class Reader(nn.Module):
    """Names the grey, among four categories, and says nothing of the continuous code."""

    def forward(self, images):
        logits = -(images[:, 0, 0, :1] - torch.arange(4.0)).abs()
        return torch.cat([logits, torch.zeros(len(images), 2)], dim=1)


def rng():
    return np.random.default_rng(0)


def test_faithful_images_are_drawn_again_until_they_are_read_as_asked_for():
    labels = np.arange(2000) % 3  # the fourth category would stay itself
    shares = {tries: drawing.faithful(Painter(0.0), Reader(), LATENT, labels, rng(), tries)[1] for tries in (1, 2, 4)}
    assert shares == {1: pytest.approx(1 / 2, abs=0.05), 2: pytest.approx(3 / 4, abs=0.05),
                      4: pytest.approx(15 / 16, abs=0.03)}
    images, share = drawing.faithful(Painter(0.0), Reader(), LATENT, labels, rng(), 30)
    assert share == 1 and np.array_equal(images[:, 0, 0, 0], labels)


def test_an_image_that_never_comes_as_asked_for_is_kept_all_the_same():
    images, share = drawing.faithful(Painter(-np.inf), Reader(), LATENT, np.zeros(50, dtype=int), rng(), 3)
    assert share == 0 and np.array_equal(images[:, 0, 0, 0], np.ones(50))


def test_wide_images_have_the_label_that_is_read_in_them_and_classes_are_balanced():
    images, labels, share = drawing.wide(Painter(1.0), Reader(), LATENT, 4000, rng(), spread=2.0)
    assert np.array_equal(labels, np.minimum(images[:, 0, 0, 0], 3)) and len(images) == 4000
    assert np.array_equal(np.bincount(labels), [1000] * 4)
    # Half a standard deviation, after spreading: three in ten are moved.
    assert share == pytest.approx(0.75, abs=0.05)


def test_a_class_that_is_never_drawn_is_made_up_for_by_others():
    _, labels, _ = drawing.wide(Painter(-np.inf), Reader(), LATENT, 400, rng(), spread=1.0)
    counts = np.bincount(labels, minlength=4)
    assert counts[0] == 0 and counts.sum() == 400 and counts[1:].min() >= 100


def test_the_same_numbers_draw_the_same_images():
    first, second = (drawing.wide(Painter(0.0), Reader(), LATENT, 200, rng(), spread=1.5) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
