"""Public features phi(x) of images, ||phi(x)|| = 1: a small scattering transform, and random Fourier features of it.

Nothing here is learnt. Every number below was fixed on public stand-ins (the grown digits and drawn strokes), so phi
says nothing about the data that it is later applied to.

Scattering (Bruna, Mallat 2013): phi keeps local averages of |x * psi|, which say how much of each orientation and size
is where, and of ||x * psi_1| * psi_2|, which say how that varies. Small shifts change averages little. All wavelets
are sampled as the rows of matrices: at these sides three matrix products are several times faster than convolutions,
in both directions, and a generator is trained through them.
Random features (Rahimi, Recht 2007): with s the scattering, <phi(x), phi(x')> is about exp(-||s - s'||^2 / 2).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

ORIENTATIONS = 6
ENVELOPE, SLANT, FREQUENCY = 0.8, 0.5, 0.75 * math.pi  # of the finest wavelet: pixels, ratio of widths, radians a pixel
WINDOW = 3.2  # pixels: standard deviation of the local averages, which are taken at every fourth pixel

# Of the three orders of scattering, for one channel. On the grown digits each then has a third of the variance, and the
# mean squared distance of two images is 2 / BANDWIDTH^2.
GAINS = (0.809, 1.903, 3.703)
BANDWIDTH = 2.0
NEGLIGIBLE = 1e-12  # an envelope fades into numbers that are none to float32, and slow many processors down by tens
SMOOTHING = 1e-8  # added under the modulus' root, which has no gradient at 0
FINER_ORIENTATIONS, GROUP = 8, 3  # of the normalised scattering; channels that are normalised together
LEAST_VARIANCE = 1e-3  # of such a group: below it there is nothing to see, and less is made of it
SEED = 20_170  # of the frequencies: a public constant, the same for every run, so that phi is one function


class Features(nn.Module):
    """phi: images (B, channels, side, side) in [-1, 1] -> (B, 2 * frequencies), rows of L2 norm 1 (to rounding).

    side: a multiple of 4.  Channels are transformed apart.  Differentiable in the images; it has no parameters.
    """

    def __init__(self, *, side: int, channels: int, frequencies: int):
        super().__init__()
        if side % 4:
            raise ValueError(f"side={side} must be a multiple of 4: averages are taken at every fourth pixel. Pad to "
                             f"{side + -side % 4}.")
        half, quarter = side // 2, side // 4
        fine, coarse = wavelets(side, half, scale=1), wavelets(side, half, scale=2)
        matrices = {"first": _real_and_imaginary(np.concatenate([fine, coarse])),
                    "second": _real_and_imaginary(wavelets(half, quarter, scale=1)),
                    "average_pixels": windows(side, quarter, WINDOW),
                    "average_first": windows(half, quarter, WINDOW / 2)}
        for name, rows in matrices.items():
            rows = np.where(np.abs(rows) < NEGLIGIBLE, 0, rows)
            self.register_buffer(name, torch.tensor(rows.T, dtype=torch.float32).contiguous())
        self.frequencies = frequencies
        width = channels * quarter**2 * (1 + 2 * ORIENTATIONS + ORIENTATIONS**2)
        normal = np.random.Generator(np.random.Philox(SEED)).standard_normal((frequencies, width), dtype=np.float32)
        self.register_buffer("directions", torch.from_numpy(normal / (BANDWIDTH * math.sqrt(channels))).contiguous())

    @property
    def width(self) -> int:
        return 2 * self.frequencies

    def forward(self, images: Tensor) -> Tensor:
        angles = self.scattering(images) @ self.directions.T
        return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(self.frequencies)

    def scattering(self, images: Tensor) -> Tensor:
        """Local averages of orders 0, 1 and 2, each by its gain: (B, channels * (side/4)^2 * 49)."""
        pixels = (images.flatten(2) + 1) / 2  # (B, channels, side^2) in [0, 1]
        first = _modulus(pixels @ self.first, 2 * ORIENTATIONS)  # fine wavelets, then coarse, at every second pixel
        second = _modulus(first[:, :, :ORIENTATIONS] @ self.second, ORIENTATIONS)  # of the fine alone: finer has none
        orders = (pixels @ self.average_pixels, first @ self.average_first, second)
        return torch.cat([gain * order.flatten(1) for gain, order in zip(GAINS, orders)], dim=1)


class NormalisedScattering(nn.Module):
    """Scattering with more orientations, normalised within an image: (B, channels, side, side) -> (B, outputs).

    A channel of the transform is one orientation and size, or pair of these, or plain pixels: 81 for one channel of the
    image. Channels are taken three by three, in order, and each three have mean 0 and variance 1 over all places of one
    image, as far as they vary at all (a group normalisation). So contrast and stroke width count less; images in
    [-1, 1], side as of Features.
    """

    def __init__(self, *, side: int, channels: int):
        super().__init__()
        half, quarter = side // 2, side // 4
        matrices = {"first": _real_and_imaginary(np.concatenate([
                        oriented_wavelets(side, half, scale, FINER_ORIENTATIONS) for scale in (1, 2)])),
                    "second": _real_and_imaginary(oriented_wavelets(half, quarter, 1, FINER_ORIENTATIONS)),
                    "average_pixels": windows(side, quarter, WINDOW),
                    "average_first": windows(half, quarter, WINDOW / 2)}
        for name, rows in matrices.items():
            rows = np.where(np.abs(rows) < NEGLIGIBLE, 0, rows)
            self.register_buffer(name, torch.tensor(rows.T, dtype=torch.float32).contiguous(), persistent=False)
        self.outputs = channels * quarter**2 * (1 + 2 * FINER_ORIENTATIONS + FINER_ORIENTATIONS**2)

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images.flatten(2) + 1) / 2
        first = _modulus(pixels @ self.first, 2 * FINER_ORIENTATIONS)
        second = _modulus(first[:, :, :FINER_ORIENTATIONS] @ self.second, FINER_ORIENTATIONS)
        orders = [(pixels @ self.average_pixels)[:, :, None], first @ self.average_first, second.flatten(2, 3)]
        joined = torch.cat([gain * order for gain, order in zip(GAINS, orders)], dim=2)  # (B, channels, 81, places)
        groups = joined.unflatten(2, (-1, GROUP))
        variance, mean = torch.var_mean(groups, dim=(3, 4), keepdim=True, correction=0)
        return ((groups - mean) / (variance + LEAST_VARIANCE).sqrt()).flatten(1)


def oriented_wavelets(side: int, places: int, scale: float, orientations: int) -> np.ndarray:
    """As wavelets(), of any number of orientations: complex (orientations * places^2, side^2)."""
    down, right = _offsets(side, places)
    spread, rows = ENVELOPE * scale, []
    for angle in np.arange(orientations) * math.pi / orientations:
        along = right * math.cos(angle) + down * math.sin(angle)
        across = down * math.cos(angle) - right * math.sin(angle)
        envelope = np.exp(-(along**2 + (SLANT * across) ** 2) / (2 * spread**2))
        wave = np.exp(1j * FREQUENCY / scale * along)
        mean = (envelope * wave).sum(1, keepdims=True) / envelope.sum(1, keepdims=True)
        rows.append(envelope * (wave - mean) * SLANT / (2 * math.pi * spread**2))
    return np.concatenate(rows)


def _modulus(products: Tensor, orientations: int) -> Tensor:
    """|x * psi|: (..., 2 * orientations * places), real parts then imaginary ones -> (..., orientations, places)."""
    real, imaginary = products.chunk(2, dim=-1)
    return (real.square() + imaginary.square() + SMOOTHING).sqrt().unflatten(-1, (orientations, -1))


def wavelets(side: int, places: int, scale: float) -> np.ndarray:
    """Oriented waves under Gaussian envelopes, sampled: complex (ORIENTATIONS * places^2, side^2).

    places: a side of the grid of their centres.  scale: 1 for the finest; widths grow with it, and frequencies fall.
    A flat image has no product with any of them, at the border neither. An envelope sums to about 1.
    """
    down, right = _offsets(side, places)
    rows = []
    for angle in np.arange(ORIENTATIONS) * math.pi / ORIENTATIONS:
        along = right * math.cos(angle) + down * math.sin(angle)
        across = down * math.cos(angle) - right * math.sin(angle)
        spread = ENVELOPE * scale
        envelope = np.exp(-(along**2 + (SLANT * across) ** 2) / (2 * spread**2))
        wave = np.exp(1j * FREQUENCY / scale * along)
        mean = (envelope * wave).sum(1, keepdims=True) / envelope.sum(1, keepdims=True)
        rows.append(envelope * (wave - mean) * SLANT / (2 * math.pi * spread**2))
    return np.concatenate(rows)


def windows(side: int, places: int, spread: float) -> np.ndarray:
    """Gaussian averages about a grid of places: (places^2, side^2).  spread: their standard deviation, pixels."""
    down, right = _offsets(side, places)
    return np.exp(-(down**2 + right**2) / (2 * spread**2)) / (2 * math.pi * spread**2)


def _offsets(side: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel lies below and to the right of each place: two of (places^2, side^2), pixels."""
    centres = (np.arange(places) + 0.5) * side / places - 0.5
    offset = np.arange(side) - centres[:, None]  # (places, side)
    shape = (places, places, side, side)
    down = np.broadcast_to(offset[:, None, :, None], shape)
    right = np.broadcast_to(offset[None, :, None, :], shape)
    return down.reshape(places**2, side**2), right.reshape(places**2, side**2)


def _real_and_imaginary(rows):
    return np.concatenate([rows.real, rows.imag])
