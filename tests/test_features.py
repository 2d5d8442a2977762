"""The public features: a bound that holds for every image, no data behind them, oracles for their products."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dpgan_lib.data import stand_ins
from dpgan_lib.warm_start import features
from dpgan_lib.warm_start.features import Features, wavelets, windows

ROUNDING = 1e-5  # of float32 sums of a few thousand squares
NO_DATA = """
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name in {"dpgan_lib.data", "dpgan_lib.data.cards", "dpgan_lib.data.stand_ins", "sklearn"}:
            raise ImportError(name)

sys.meta_path.insert(0, Refusal())
import torch
from dpgan_lib.warm_start.features import Features

ramp = torch.linspace(-1, 1, 784).view(1, 1, 28, 28)
print(*Features(side=28, channels=1, frequencies=8)(ramp)[0].tolist())
"""


@pytest.fixture(scope="module")
def phi():
    return Features(side=28, channels=1, frequencies=200)


def images(count, channels=1, side=28):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.uniform(-1, 1, (count, channels, side, side)).astype(np.float32))


@pytest.mark.parametrize("side, channels", [(28, 1), (28, 3), (32, 1), (32, 3)])
def test_every_row_has_norm_1(side, channels):
    phi = Features(side=side, channels=channels, frequencies=50)
    extremes = torch.stack([torch.full((channels, side, side), value) for value in (-1.0, 0.0, 1.0)])
    rows = phi(torch.cat([images(3, channels, side), extremes]))
    assert rows.shape == (6, phi.width) == (6, 100)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(6), rtol=0, atol=ROUNDING)


def test_no_data_set_can_be_loaded_and_the_features_are_the_same(tmp_path):
    bare = dict(os.environ, DPGAN_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    printed = subprocess.run([sys.executable, "-c", NO_DATA], capture_output=True, text=True, check=True, env=bare)
    ramp = torch.linspace(-1, 1, 784).view(1, 1, 28, 28)
    here = Features(side=28, channels=1, frequencies=8)(ramp)[0]
    torch.testing.assert_close(torch.tensor(list(map(float, printed.stdout.split()))), here, rtol=0, atol=ROUNDING)


def test_nothing_in_them_is_trained(phi):
    assert list(phi.parameters()) == []


def test_the_inner_product_is_the_gaussian_kernel(phi):
    batch = images(6)
    batch[1] = batch[0] + 0.1 * batch[2]  # a near pair among far ones
    s, rows = phi.scattering(batch), Features(side=28, channels=1, frequencies=20_000)(batch)
    kernel = torch.exp(-torch.cdist(s, s).square() / (2 * features.BANDWIDTH**2))
    # an average of 20,000 cosines: 5 standard errors of at most 1 / sqrt(20,000)
    torch.testing.assert_close(rows @ rows.T, kernel, rtol=0, atol=5 / math.sqrt(20_000))


def test_gradients_are_those_of_finite_differences():
    phi = Features(side=8, channels=1, frequencies=3).double()
    assert torch.autograd.gradcheck(phi, images(2, side=8).double().requires_grad_())


def test_a_flat_image_gives_a_wavelet_nothing():
    for scale in (1, 2):
        assert np.abs(wavelets(28, 14, scale).sum(1)).max() < 1e-12  # rounding


def test_the_fine_wavelets_are_a_convolution():
    image = images(1).double()
    offset = np.arange(-7.5, 8)  # centres lie between pixels
    down, right = np.meshgrid(offset, offset, indexing="ij")
    angle = 2 * math.pi / features.ORIENTATIONS  # the third orientation
    along, across = (right * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - right * math.sin(angle))
    envelope = np.exp(-(along**2 + (features.SLANT * across) ** 2) / (2 * features.ENVELOPE**2))
    wave = np.exp(1j * features.FREQUENCY * along)
    kernel = envelope * (wave - (envelope * wave).sum() / envelope.sum())
    kernel *= features.SLANT / (2 * math.pi * features.ENVELOPE**2)
    expected = sum(unit * F.conv2d(image[:, :, 1:, 1:], torch.from_numpy(part)[None, None], stride=2)
                   for unit, part in ((1, kernel.real), (1j, kernel.imag)))  # centres 8.5, 10.5, ...
    products = (wavelets(28, 14, 1)[2 * 196 : 3 * 196] @ image.flatten().numpy()).reshape(14, 14)
    # within 7.5 pixels lies all of an envelope but e^-11, and of its mean as much
    np.testing.assert_allclose(products[4:10, 4:10], expected[0, 0].numpy(), rtol=0, atol=1e-3)


def test_a_window_is_an_average_where_it_is_whole():
    rows = windows(28, 7, features.WINDOW)
    np.testing.assert_allclose(rows[24].sum(), 1, atol=1e-3)  # the central one, whole to 4 standard deviations
    assert np.unravel_index(rows[24].argmax(), (28, 28)) in {(13, 13), (13, 14), (14, 13), (14, 14)}


def test_the_gains_are_those_of_the_grown_digits(phi):
    pixels = stand_ins._grow(*stand_ins.digits()[:2], 2000, seed=1)[0]
    s = phi.scattering(torch.from_numpy(pixels[:, None] / np.float32(127.5) - 1))
    variances = [part.var(dim=0).sum().item() for part in s.split([49, 588, 1764], dim=1)]
    np.testing.assert_allclose(variances, 1 / 3, rtol=0.05)  # 2,000 of 60,000 images


@pytest.mark.parametrize("side", [27, 30])
def test_a_side_that_does_not_divide_is_refused(side):
    with pytest.raises(ValueError, match=f"side={side} must be a multiple of 4: .* Pad to "):
        Features(side=side, channels=1, frequencies=2)
