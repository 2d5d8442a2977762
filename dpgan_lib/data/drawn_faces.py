"""Drawn faces: a stand-in for CelebA with the same interface, whose attributes are known because we draw them.

They are drawings, made by formulas: no photograph and no person is in them. What an attribute looks like is the same in
every drawing; all else varies: skin, background, place, size, where the face looks.
"""

import numpy as np

from dpgan_lib.data.celeba import Faces

ATTRIBUTES = ("Smiling", "Eyeglasses", "Blond_Hair", "Bangs")
SHARES = (0.5, 0.2, 0.3, 0.4)  # of drawings that have each; they are independent
COUNTS = {"train": 3_000, "valid": 300, "test": 600}
IMAGES_OF_A_PERSON = 3  # with the same skin, hair and glasses
SEED = 20_210
OVERSAMPLED = 3  # each pixel is the mean of so many in each direction

# Where each shows: top, bottom, left and right, as shares of a side.
WINDOWS = {"Smiling": (0.60, 0.88, 0.28, 0.72), "Eyeglasses": (0.34, 0.60, 0.20, 0.80),
           "Blond_Hair": (0.06, 0.20, 0.36, 0.64), "Bangs": (0.18, 0.38, 0.32, 0.68)}
BANK = 4_000  # drawings that the reader compares with
DARK, BLOND, INK, LIPS, FRAME = ((0.20, 0.13, 0.10), (0.90, 0.76, 0.42), (0.10, 0.08, 0.10), (0.70, 0.20, 0.25),
                                 (0.05, 0.05, 0.15))


def load(attributes: tuple[str, ...] = ATTRIBUTES, side: int = 32, *, progress: bool = False) -> dict[str, Faces]:
    """The parts "train", "valid" and "test", always the same. Raises ValueError for an attribute that is not drawn."""
    if unknown := [name for name in attributes if name not in ATTRIBUTES]:
        raise ValueError(f"attribute={unknown[0]!r} must be one of {', '.join(ATTRIBUTES)}: no other is drawn")
    columns = [ATTRIBUTES.index(name) for name in attributes]
    parts = {}
    for number, (part, count) in enumerate(COUNTS.items()):
        images, values, people = drawings(count, side, np.random.default_rng([SEED, number]))
        parts[part] = Faces(images, values[:, columns], people)
    return parts


def drawings(count: int, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (count, 3, side, side) uint8, attributes (count, 4) bool, people (count,)."""
    people = np.arange(count) // IMAGES_OF_A_PERSON
    persons = people.max() + 1
    values = (rng.random((persons, len(ATTRIBUTES))) < SHARES)[people]
    values[:, 0] = rng.random(count) < SHARES[0]  # a person smiles in some images and not in others
    skin = np.array([0.95, 0.76, 0.62]) * rng.uniform(0.45, 1.0, (persons, 1))[people]
    background = rng.uniform(0.2, 0.9, (count, 3))
    pose = rng.uniform(-1, 1, count)
    shift, scale = rng.uniform(-0.08, 0.08, (count, 2)), rng.uniform(0.9, 1.05, count)
    chunks = np.array_split(np.arange(count), -(-count // 200))
    images = [_draw(side, values[rows], skin[rows], background[rows], pose[rows], shift[rows], scale[rows])
              for rows in chunks]
    return np.concatenate(images), values, people


def _draw(side, values, skin, background, pose, shift, scale) -> np.ndarray:
    """Layers from back to front. Coordinates are half-sides, first to the right, then down."""
    smiling, glasses, blond, bangs = (values[:, column, None, None] for column in range(4))
    ticks = (np.arange(side * OVERSAMPLED) + 0.5) / (side * OVERSAMPLED) * 2 - 1
    x = (ticks[None, None, :] - shift[:, 0, None, None]) / scale[:, None, None]
    y = (ticks[None, :, None] - shift[:, 1, None, None]) / scale[:, None, None]
    look = x - 0.10 * pose[:, None, None]  # features move with the pose, the head does not
    canvas = np.broadcast_to(background[:, :, None, None], (len(values), 3, len(ticks), len(ticks))).copy()
    hair = np.where(blond, np.array(BLOND)[:, None, None, None], np.array(DARK)[:, None, None, None]).swapaxes(0, 1)

    def paint(where, colour):
        np.copyto(canvas, colour, where=np.broadcast_to(where[:, None], canvas.shape))

    def flat(colour):
        return np.array(colour)[None, :, None, None]

    paint((x / 0.72) ** 2 + ((y + 0.10) / 0.85) ** 2 < 1, hair)
    paint((x / 0.55) ** 2 + ((y - 0.08) / 0.72) ** 2 < 1, skin[:, :, None, None])
    paint(((x / 0.56) ** 2 + ((y + 0.52) / 0.26) ** 2 < 1) & (y < -0.28) & bangs, hair)
    eyes = np.minimum(np.hypot(look - 0.22, y + 0.08), np.hypot(look + 0.22, y + 0.08))
    paint(eyes < 0.07, flat(INK))
    curve = 0.42 + np.where(smiling, 0.16 - 2.2 * look**2, 0.04 + 0.3 * look**2)
    paint((np.abs(y - curve) < np.where(smiling, 0.06, 0.04)) & (np.abs(look) < np.where(smiling, 0.27, 0.18)),
          flat(LIPS))
    bridge = (np.abs(y + 0.08) < 0.03) & (np.abs(look) < 0.1)
    paint(((np.abs(eyes - 0.16) < 0.035) | bridge) & glasses, flat(FRAME))
    pooled = canvas.reshape(len(values), 3, side, OVERSAMPLED, side, OVERSAMPLED).mean((3, 5))
    return np.rint(255 * pooled).astype(np.uint8)


class Reader:
    """Reads each attribute by the nearest of many drawings, whose attributes are known, in the window where it shows.

    Images as of Faces.scaled().
    """

    def __init__(self, attributes: tuple[str, ...] = ATTRIBUTES, side: int = 32):
        images, values, _ = drawings(BANK, side, np.random.default_rng([SEED, 9]))
        scaled = Faces(images, values, np.arange(BANK)).scaled()
        self.side = side
        self.bank = {name: (self._seen(scaled, name), values[:, ATTRIBUTES.index(name)]) for name in attributes}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, A) bool of images (n, 3, side, side) in [-1, 1]."""
        read = []
        for name, (bank, values) in self.bank.items():
            squares = (bank**2).sum(1) / 2
            nearest = [(squares - self._seen(part, name) @ bank.T).argmin(1)
                       for part in np.array_split(images, -(-len(images) // 500))]
            read.append(values[np.concatenate(nearest)])
        return np.stack(read, 1)

    def _seen(self, images, name):
        """The window of an attribute, each colour less its mean there: skin and background are not in question."""
        top, bottom, left, right = (round(edge * self.side) for edge in WINDOWS[name])
        window = images[:, :, top:bottom, left:right]
        if name != "Blond_Hair":
            window = window - window.mean((2, 3), keepdims=True)
        return window.reshape(len(images), -1)
