"""What codes do, measured on images whose answer is known: bars, generators made by hand, honest and secret codes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dpgan_lib.config import EvaluationConfig, LatentConfig
from dpgan_lib.gan.latent import mutual_info_bound, sample_latent
from dpgan_lib.measures import codes
from dpgan_lib.studies import parameters

LATENT = LatentConfig(z_dim=4, categories=4, continuous=2)


def bar(tangent=0.0, width=4.0, side=28):
    """A straight stroke of 18 rows, leaning to the right by its tangent, with soft edges; (side, side) in [-1, 1]."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    edge = np.clip(width / 2 - np.abs(x + tangent * y) + 0.5, 0, 1)
    return 2 * edge * (np.abs(y) < 9) - 1


@pytest.mark.parametrize("tangent", [-0.5, 0.0, 0.3])
def test_the_slant_of_a_bar_is_its_tangent(tangent):
    assert codes.slant(bar(tangent)) == pytest.approx(tangent, abs=0.01)  # pixels


def test_the_stroke_width_of_a_bar_is_its_width_and_slant_does_not_change_it_much():
    # Its two ends are edge too: a stroke of 18 by w measures 18 w / (18 + w).
    for width in (2.0, 4.0, 6.0):
        assert codes.stroke_width(bar(width=width)) == pytest.approx(18 * width / (18 + width), rel=0.02)
    assert codes.stroke_width(bar(0.3)) == pytest.approx(codes.stroke_width(bar()), rel=0.1)


def test_an_image_without_ink_has_neither_slant_nor_width():
    blank = np.full((2, 28, 28), -1.0)
    assert np.all(codes.slant(blank) == 0) and np.all(codes.stroke_width(blank) == 0)


class Drawn(nn.Module):
    """Made by hand: the first continuous code leans a bar, the second thickens it; z and category do nothing."""

    def forward(self, z, code):
        bars = [bar(0.4 * float(lean), 4 + 2 * float(thick)) for lean, thick in code[:, -2:]]
        return torch.from_numpy(np.array(bars)).float()[:, None]


def test_moves_tells_which_code_moves_what():
    new = codes.draw(Drawn(), LATENT, 400, np.random.default_rng(1))
    first, second = codes.moves(Drawn(), LATENT, new, np.random.default_rng(0))
    for rest in ("random", "fixed"):  # a slanted bar's edges are longer, and a wider one's moments differ: by far less
        assert first["slant"][rest] > 0.95 > 2 * abs(first["width"][rest])
        assert second["width"][rest] > 0.95 > 2 * abs(second["slant"][rest])


def test_a_faint_effect_shows_where_all_else_is_fixed_and_drowns_where_it_is_random():
    rng = np.random.default_rng(0)
    faint = rng.standard_normal((500, 1)) + 0.01 * codes.SWEEP
    assert codes.along(faint) > 0.99
    assert abs(codes.correlation(np.tile(codes.SWEEP, 500), faint.ravel())) < 0.1


def test_what_stands_still_follows_nothing():
    assert codes.along(np.ones((3, len(codes.SWEEP)))) == 0.0


def test_along_a_sweep_one_code_moves_and_all_else_stands_still():
    class Echo(nn.Module):
        def forward(self, z, code):
            return torch.cat([z, code], 1)[:, None, None]

    row = codes.sweep(Echo(), LATENT, 1, 3, np.random.default_rng(0))[:, :, 0]  # (3, values, z and code)
    assert row[0, :, -1] == pytest.approx(codes.SWEEP, abs=1e-6)  # float32
    assert np.all(row[:, :, :-1] == row[:, :1, :-1])


# Readers

def test_the_parts_of_the_bound_add_up_to_it():
    z, code = sample_latent(LATENT, 500, np.random.default_rng(0))
    prediction = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    found = codes.reading(LATENT, lambda images: prediction, np.zeros((500, 1, 28, 28), np.float32), code)
    whole = mutual_info_bound(LATENT, prediction, code)
    assert found["category"] + sum(found["continuous"]) == pytest.approx(float(whole), abs=1e-4)  # float32


def images_with(code, loud, faint):
    """Grey noise, and the category written into pixel rows: loud as ink, or faint as a shade of the background."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-0.9, -0.5, (len(code), 1, 28, 28)).astype(np.float32)
    for image, label in zip(images, codes.categories(LATENT, code)):
        image[0, 4 + 5 * label : 7 + 5 * label] += loud * 1.4 + faint * 0.3
    return images


@pytest.mark.full
@pytest.mark.parametrize("loud, faint, read, seen", [(1, 0, True, True), (0, 1, True, False), (0, 0, False, False)])
def test_a_code_in_faint_greys_is_read_by_a_network_and_not_by_one_that_sees_strokes(loud, faint, read, seen):
    config = parameters.plan_run(parameters.RunParameters(profile="smoke", dataset="digits", epsilon="inf"))
    config = parameters.replace(config, latent=LATENT, evaluation=EvaluationConfig(images=600, cnn_steps=60))
    drawn = []
    for seed in (0, 1):
        _, code = sample_latent(LATENT, 600, np.random.default_rng(seed))
        drawn.append((images_with(code, loud, faint), code))
    posterior = codes.teach(config, *drawn[0], np.random.default_rng(2))
    found = codes.readers(config, posterior, *drawn, np.random.default_rng(3))
    for name, expected in (("posterior", read), ("independent", read), ("strokes", seen)):
        assert (found[name]["accuracy"] > 0.9) if expected else (found[name]["accuracy"] < 0.4), name  # chance is 0.25
        assert found[name]["category"] <= math.log(4) + 1e-6


# Names

def test_agreement_of_codes_that_are_digits_that_are_not_and_that_are_half():
    digits = np.arange(1000) % 10
    perfect = codes.agreement((digits + 3) % 10, digits, 10)
    assert perfect["purity"] == perfect["nmi"] == pytest.approx(1)
    assert np.array(perfect["table"]).sum() == 1000 and perfect["table"][3][0] == 100
    none = codes.agreement(np.arange(1000) // 100, digits, 10)
    assert none["purity"] == pytest.approx(0.1) and none["nmi"] == pytest.approx(0)
    assert codes.agreement(digits // 2, digits, 5)["purity"] == pytest.approx(0.5)


def test_a_collapsed_generator_is_pure_and_tells_nothing():
    always_one = codes.agreement(np.arange(100) % 10, np.ones(100, int), 10)
    assert always_one["purity"] == 1 and always_one["nmi"] == pytest.approx(0)
