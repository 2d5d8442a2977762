"""The metrics of a run on faces: specificity, independence, utility and fidelity, as the study's records hold them."""

import numpy as np
import torch
from torch import nn

from dpgan_lib.config import FaceRunConfig
from dpgan_lib.data import drawn_faces
from dpgan_lib.data.celeba import Faces
from dpgan_lib.gan.latent import make_code
from dpgan_lib.measures import fidelity, specificity
from dpgan_lib.measures.specificity import Read
from dpgan_lib.privacy.streams import stream
from dpgan_lib.warm_start.face_model import category_of, combinations

FIRST_STREAM = 60  # of the "evaluation" streams
COLUMNS = 8  # of a sample grid
READER_SEED = 0  # one reader for all runs of a profile


def measure(config: FaceRunConfig, generator: nn.Module, shares: np.ndarray, faces: dict[str, Faces],
            moved: int) -> dict:
    """All metrics. shares (K,): of the combinations, as the run released them.  moved: images that each code is moved
    in.

    reader: how well attributes are read on real test images.  obeyed, combinations: counts, as specificity's functions
    give them, of images asked for equally often by combination.  counts: real training images by combination.
    effects: (A, A).  utility: how well a network trained on generated images reads real test images.
    """
    asked = _attributes(np.arange(config.evaluation.images) % config.latent.categories, config)
    network = specificity.train_reader(faces["train"].images, faces["train"].attributes, config.evaluation.cnn_steps,
                                       np.random.default_rng(READER_SEED))
    read = _reader(config, network)
    images = specificity.drawn(generator, config.latent, category_of(asked), _rng(config, 0))
    seen = read(images)
    return {"reader": specificity.judged(read(faces["test"].images), faces["test"].attributes),
            "ceiling": specificity.judged(specificity.reading(network)(faces["test"].images), faces["test"].attributes),
            "obeyed": specificity.obeyed(asked, seen), "combinations": specificity.by_combination(asked, seen),
            "counts": np.bincount(category_of(faces["train"].attributes), minlength=config.latent.categories).tolist(),
            "effects": specificity.effects(generator, config.latent, read, moved, _rng(config, 1)).tolist(),
            "utility": _utility(config, generator, shares, faces["test"]),
            "fidelity": _fidelity(config, network, generator, shares, faces)}


def _rng(config, part):
    return stream(config.randomness, "evaluation", FIRST_STREAM + part)


def _attributes(categories, config):
    return (combinations(len(config.names)) > 0).numpy()[categories]


def _reader(config: FaceRunConfig, network: nn.Module) -> Read:
    """A network that learnt from real images; of drawings, one that knows how they are drawn."""
    if config.dataset != "drawn_faces":
        return specificity.reading(network)
    known = drawn_faces.Reader(config.names, config.model.image_side)
    return lambda images: known(specificity.scaled(images).numpy())


def _utility(config, generator, shares, test) -> list[dict]:
    """Train on synthetic, with combinations in the shares that were released; test on real."""
    categories = _rng(config, 2).choice(len(shares), config.evaluation.images, p=shares / shares.sum())
    images = specificity.drawn(generator, config.latent, categories, _rng(config, 3))
    network = specificity.train_reader(images, _attributes(categories, config), config.evaluation.cnn_steps,
                                       _rng(config, 4))
    return specificity.judged(specificity.reading(network)(test.images), test.attributes)


def _fidelity(config, network, generator, shares, faces) -> dict:
    """As fidelity.measure, in the last hidden layer of the network that reads real images."""
    count = len(faces["test"])
    categories = _rng(config, 5).choice(len(shares), count, p=shares / shares.sum())
    images = specificity.drawn(generator, config.latent, categories, _rng(config, 6))
    return fidelity.measure(*(specificity.through(network[:-1], part).astype(np.float64) for part in (
        images, faces["train"].images[:count], faces["test"].images)))


def sample_grid(config: FaceRunConfig, generator: nn.Module) -> np.ndarray:
    """(K, COLUMNS, 3, side, side): one row a combination, the same latent vector down a column, uncurated."""
    latent = config.latent
    z, continuous = specificity.prior(latent, COLUMNS, _rng(config, 7))
    return np.stack([specificity.render(generator, z, make_code(latent, torch.full((COLUMNS,), one), continuous))
                     for one in range(latent.categories)])
