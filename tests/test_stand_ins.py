"""The embedded digits and the stand-in grown from them: fixed bytes, fixed splits, plausible distortions."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dpgan_lib import data
from dpgan_lib.data import stand_ins


def test_digits_fill_the_centre_white_on_black():
    dataset = data.load("digits")
    assert dataset.train_images.shape == (1437, 1, 28, 28)
    assert dataset.test_images.shape == (360, 1, 28, 28)
    images = np.concatenate([dataset.train_images, dataset.test_images])[:, 0]
    border = np.pad(np.zeros((20, 20), bool), 4, constant_values=True)
    assert (images[:, border] == -1).all()
    assert images.min() == -1 and images.max() == 1
    assert set(np.unique(dataset.train_labels)) == set(range(10))


def test_the_split_keeps_every_digit_once():
    train_images, train_labels, test_images, test_labels = stand_ins.digits()
    whole = stand_ins.enlarge(load_digits().images.astype(np.int64))
    split = np.concatenate([train_images, test_images])
    assert sorted(image.tobytes() for image in split) == sorted(image.tobytes() for image in whole)
    np.testing.assert_array_equal(
        np.bincount(np.concatenate([train_labels, test_labels])), np.bincount(load_digits().target)
    )


def test_enlarging_is_catmull_rom_interpolation():
    source = np.random.default_rng(1).integers(0, 17, (3, 8, 8))

    def kernel(distance):
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        return np.where(distance < 1, near, np.where(distance < 2, far, 0))

    weights = kernel(np.abs(((np.arange(20) + 0.5) * 8 / 20 - 0.5)[:, None] - np.arange(8)))
    expected = np.clip(weights @ source @ weights.T * 255 / 16, 0, 255)
    # Half a grey level, the rounding to bytes, and 1e-9 for this oracle's own floating point.
    np.testing.assert_allclose(stand_ins.enlarge(source)[:, 4:24, 4:24], expected, rtol=0, atol=0.5 + 1e-9)


def test_changed_pixels_are_refused(monkeypatch):
    train_images, *rest = stand_ins.digits()
    changed = train_images.copy()
    changed[0, 14, 14] ^= 1
    monkeypatch.setattr(stand_ins, "digits", lambda: (changed, *rest))
    with pytest.raises(ValueError, match=data.card("digits").pixels_sha256):
        data.check("digits")


def test_undistorted_growth_is_the_source_sharpened():
    images = stand_ins.digits()[0][:5]
    grown = stand_ins._distort(images, np.zeros((5, 7), np.float32))
    values = images.astype(np.float64)
    np.testing.assert_array_equal(grown, np.rint(np.clip(2 * (values - 110) + 127.5, 0, 255) * (values > 8)))


def test_a_shift_moves_the_picture_down_and_right():
    images = stand_ins.digits()[0][:5]
    draws = np.zeros((5, 7), np.float32)
    still = stand_ins._distort(images, draws)
    draws[:, 4], draws[:, 5] = 1, -0.5  # two pixels down, one to the left
    np.testing.assert_array_equal(stand_ins._distort(images, draws)[:, 2:, :-1], still[:, :-2, 1:])


def test_thicker_strokes_have_more_ink():
    images = stand_ins.digits()[0][:50]
    thin, thick = np.zeros((2, 50, 7), np.float32)
    thin[:, 6], thick[:, 6] = -1, 1
    thin_ink, thick_ink = (stand_ins._distort(images, draws).sum((1, 2), dtype=int) for draws in (thin, thick))
    assert (thick_ink > thin_ink).all()


def test_grown_digits_are_many_different_and_split_by_their_source():
    dataset = data.load("grown_digits")
    assert dataset.train_images.shape == (60_000, 1, 28, 28)
    assert dataset.test_images.shape == (10_000, 1, 28, 28)
    assert len({image.tobytes() for image in dataset.train_images[:10_000]}) == 10_000
    _, train_labels, _, test_labels = stand_ins.digits()
    np.testing.assert_array_equal(dataset.train_labels, np.resize(train_labels, 60_000))
    np.testing.assert_array_equal(dataset.test_labels, np.resize(test_labels, 10_000))
