"""Specificity: counts, intervals, the correction for a reader's errors, effects of codes, and readers that learn."""

import numpy as np
import pytest
import torch
from torch import nn

from dpgan_lib.config import LatentConfig
from dpgan_lib.data import drawn_faces
from dpgan_lib.measures import specificity
from dpgan_lib.warm_start.face_model import combinations

LATENT = LatentConfig(z_dim=3, categories=4, continuous=2)


class Obedient(nn.Module):
    """Draws pixel j of the first row white if attribute j is asked for; the last attribute leaks into the first, if
    told.
    """

    def __init__(self, leak=0.0):
        super().__init__()
        self.leak = leak

    def forward(self, z, code):
        signs = code[:, :4] @ combinations(2)
        images = torch.zeros(len(z), 3, 4, 4)
        images[:, :, 0, :2] = signs[:, None]
        images[:, :, 0, 0] += self.leak * signs[:, None, 1]
        return images


def read(images):
    return images[:, 0, 0, :2] > 0


def test_counts_of_what_was_asked_for():
    asked = np.array([[True, False], [True, True], [False, False]])
    seen = np.array([[True, False], [False, True], [False, True]])
    assert specificity.obeyed(asked, seen) == [{"with": [1, 2], "without": [1, 1]}, {"with": [1, 1], "without": [1, 2]}]
    assert specificity.by_combination(asked, seen) == [[0, 1], [0, 0], [1, 1], [0, 1]]


def test_an_interval_covers_at_least_as_often_as_it_says():
    """By the binomial law itself, at several true shares."""
    from scipy.stats import binom

    for share in (0.02, 0.5, 0.97):
        hits = np.arange(41)
        inside = [low <= share <= high for low, high in (specificity.interval(int(each), 40) for each in hits)]
        assert binom.pmf(hits, 40, share) @ inside >= specificity.LEVEL
    assert specificity.interval(0, 10)[0] == 0 and specificity.interval(10, 10)[1] == 1


def test_a_readers_errors_are_undone():
    true, right_with, right_without = 0.3, 0.9, 0.8
    seen = true * right_with + (1 - true) * (1 - right_without)
    assert specificity.corrected(seen, right_with, right_without) == pytest.approx(true)
    assert specificity.corrected(0.05, 0.9, 0.8) == 0.0
    with pytest.raises(ValueError, match="tells nothing"):
        specificity.corrected(0.5, 0.4, 0.6)


def test_a_code_that_moves_its_attribute_alone():
    rng = np.random.default_rng(0)
    matrix = specificity.effects(Obedient(), LATENT, read, 200, rng)
    assert (matrix == np.eye(2)).all() and specificity.independence(matrix) == 1.0


def test_a_code_that_moves_another_attribute_too_is_seen():
    matrix = specificity.effects(Obedient(leak=2.0), LATENT, read, 200, np.random.default_rng(0))
    assert matrix.tolist() == [[0.0, 0.0], [1.0, 1.0]]  # the leak drowns the first code
    assert specificity.independence(matrix) == 0.5
    assert specificity.independence(np.zeros((2, 2))) == 0.0


def test_a_reader_learns_what_is_drawn():
    faces = drawn_faces.load(("Eyeglasses", "Blond_Hair"), 16)
    model = specificity.train_reader(faces["train"].images, faces["train"].attributes, 60, np.random.default_rng(0))
    found = specificity.judged(specificity.reading(model)(faces["test"].images), faces["test"].attributes)
    # 0.8 and 0.7 are the shares of the commoner answer; 60 steps must do better than to give that
    assert found[0]["accuracy"] > 0.85 and found[1]["accuracy"] > 0.85


def test_a_reader_repeats_to_the_bit():
    faces = drawn_faces.load(("Eyeglasses",), 16)["train"]
    one, again = (specificity.train_reader(faces.images, faces.attributes, 3, np.random.default_rng(1))
                  for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one.state_dict().values(), again.state_dict().values()))


def test_bytes_and_scaled_images_are_read_alike():
    images = drawn_faces.load(("Eyeglasses",), 16)["test"].images[:5]
    assert torch.equal(specificity.scaled(images),
                       specificity.scaled((images / np.float32(127.5) - 1).astype(np.float32)))


def test_an_attribute_that_all_have_cannot_be_judged():
    with pytest.raises(ValueError, match="attribute 2 is in 3 of 3"):
        specificity.judged(np.ones((3, 2), bool), np.array([[True, True], [False, True], [False, True]]))
