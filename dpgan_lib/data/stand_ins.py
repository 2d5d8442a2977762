"""Digits that need no download: scikit-learn's 8x8 ones at 28x28, and a public stand-in for MNIST grown from them.

Both are the same bytes on every platform: integer arithmetic, or elementwise float32 operations that IEEE 754 rounds
in one way, and NumPy's RandomState, whose streams are frozen. No sine, no matrix product in floats.
"""

import numpy as np
from sklearn.datasets import load_digits

SIDE = 28
TRAIN_RECORDS = 1437


def digits() -> tuple[np.ndarray, ...]:
    """The 1,797 digits, split by a fixed permutation into 1,437 to train and 360 to test.

    Returns images (N, 28, 28) and labels (N,) of the train part, then of the test part; all uint8.
    """
    source = load_digits()
    order = np.random.RandomState(0).permutation(len(source.target))
    images = enlarge(source.images.astype(np.int64))[order]
    labels = source.target.astype(np.uint8)[order]
    return images[:TRAIN_RECORDS], labels[:TRAIN_RECORDS], images[TRAIN_RECORDS:], labels[TRAIN_RECORDS:]


def grown_digits() -> tuple[np.ndarray, ...]:
    """60,000 + 10,000 distorted digits; the train part comes from the train digits alone, the test part likewise.

    Shapes and types as in digits().
    """
    train_images, train_labels, test_images, test_labels = digits()
    return (*_grow(train_images, train_labels, 60_000, seed=1), *_grow(test_images, test_labels, 10_000, seed=2))


def enlarge(images: np.ndarray) -> np.ndarray:
    """Bicubic from 8x8 to the central 20x20 of 28x28 (where MNIST has its digits), in integers.

    images: (N, 8, 8) int64 in 0..16.  Returns (N, 28, 28) uint8 in 0..255, white on black.
    """
    weights = _cubic_weights()
    rows = np.einsum("ai,nij->naj", weights, images)
    pixels = np.einsum("bj,naj->nab", weights, rows) * 255
    whole = 16 * 2000**2
    central = np.clip((pixels + whole // 2) // whole, 0, 255).astype(np.uint8)
    return np.pad(central, ((0, 0), (4, 4), (4, 4)))


def _cubic_weights() -> np.ndarray:
    """(20, 8) weights of the Catmull-Rom kernel, times 2000; black outside the source.

    Output i lies at 0.4 i - 0.3 source pixels: every distance is a whole number of tenths, so every weight is exact.
    """
    tenths = np.abs((4 * np.arange(20) - 3)[:, None] - 10 * np.arange(8))
    near = 3 * tenths**3 - 50 * tenths**2 + 2000
    far = -(tenths**3) + 50 * tenths**2 - 800 * tenths + 4000
    return np.where(tenths < 10, near, np.where(tenths < 20, far, 0))


def _grow(images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 28, 28) distorted images, each source digit in its turn, and their (count,) labels."""
    source = np.arange(count) % len(images)
    draws = np.random.RandomState(seed).uniform(-1, 1, size=(count, 7)).astype(np.float32)
    grown = np.empty((count, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, count, 500):  # 500 images' coordinates stay in a CPU's cache
        part = slice(start, start + 500)
        grown[part] = _distort(images[source[part]], draws[part])
    return grown, labels[source]


def _distort(images: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Rotate, shear, scale, shift and thicken or thin each image by its draws, (B, 7) float32 in [-1, 1].

    The greatest: 0.2 rotation (its tangent) and as much shear, 15% scale each way, 2 pixels of shift each way.
    """
    turn, shear, tall, wide, down, right, thick = draws.T[:, :, None, None]
    centre = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) - centre
    y, x = y - 2 * down, x - 2 * right
    from_y = (1 + 0.15 * tall) * y - 0.2 * turn * x
    from_x = (0.2 * turn + 0.2 * shear) * y + (1 + 0.15 * wide) * x
    ink = _bilinear(images, from_y + centre, from_x + centre)
    # A steep ramp about a moving threshold moves the strokes' edges, and leaves them as crisp as MNIST's.
    return np.rint(np.clip(2 * (ink - 110 + 50 * thick) + 127.5, 0, 255) * (ink > 8)).astype(np.uint8)


def _bilinear(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values (B, 28, 28) of images (B, 28, 28) at the places y, x (B, 28, 28); black outside."""
    flat = np.pad(images, ((0, 0), (1, 2), (1, 2))).astype(np.float32).ravel()
    y, x = np.clip(y, -1, SIDE) + 1, np.clip(x, -1, SIDE) + 1
    top, left = np.floor(y), np.floor(x)
    dy, dx = y - top, x - left
    pitch = SIDE + 3
    first = np.arange(len(images), dtype=np.int32)[:, None, None] * pitch**2
    corner = first + top.astype(np.int32) * pitch + left.astype(np.int32)
    upper = flat[corner] * (1 - dx) + flat[corner + 1] * dx
    lower = flat[corner + pitch] * (1 - dx) + flat[corner + pitch + 1] * dx
    return upper * (1 - dy) + lower * dy
