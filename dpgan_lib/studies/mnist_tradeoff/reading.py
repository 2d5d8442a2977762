"""The study of a private reader: what Q, taught by real images privately, adds to the generator and to its images.

One record a run. Each of its sets of images has its accuracies and its fidelity together, so that no table takes one
figure from images that look well and another from images that teach well.
"""

import numpy as np
import torch

from dpgan_lib import data
from dpgan_lib.config import RunConfig
from dpgan_lib.measures import classifiers, drawing, fidelity, utility
from dpgan_lib.privacy.streams import stream
from dpgan_lib.report.figures import png
from dpgan_lib.studies.study import SAMPLES, Plan, Trained, weights

TRIES = 4  # draws of a faithful image, at most
SPREAD = 2.0  # of wide images: on held-out training images, at epsilon 10, 1.5 and 2 taught alike, and 1 less
WIDE_SAMPLES = "wide.png"
FIRST_STREAM = 30  # of the "evaluation" streams


def measure(asked, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """reader: its own accuracy on test images.  plain, faithful and wide: of each set of images, what classifiers learn
    from it ("synthetic"), how near it is to real images ("fidelity"), and "agreement" of requests with what Q reads.

    Plain images are as asked for, and teach the CNN alone.
    """
    config, generator, posterior = plan.run, trained.average.eval(), trained.posterior.eval()
    latent, recipe = config.latent, config.evaluation
    labels = np.arange(recipe.images) % latent.categories
    test = files.test_images, files.test_labels
    near = _Fidelity(config, files)
    metrics = {"reader": {"accuracy": _read_right(posterior, latent.categories, *test)}}
    progress()

    images, agreement = drawing.faithful(generator, posterior, latent, labels, _rng(config, 0), tries=1)
    cnn = classifiers.train_cnn(images, labels, recipe.cnn_steps, _rng(config, 1), classifiers.FALLING)
    metrics["plain"] = {"synthetic": {"ten_cnn": classifiers.cnn_accuracy(cnn, *test)}, "fidelity": near(images, 2),
                        "agreement": agreement}
    progress()
    images, agreement = drawing.faithful(generator, posterior, latent, labels, _rng(config, 3), TRIES)
    metrics["faithful"] = {
        "synthetic": utility.of_images(images, labels, test, recipe, _rng(config, 4), pair_cnns=False),
        "fidelity": near(images, 5), "agreement": agreement}
    progress()
    images, read, agreement = drawing.wide(generator, posterior, latent, recipe.images, _rng(config, 6), SPREAD)
    metrics["wide"] = {
        "synthetic": utility.of_images(images, read, test, recipe, _rng(config, 7),
                                       pair_cnns=config.privacy.epsilon in utility.PAIRS_AT),
        "fidelity": near(images, 8), "agreement": agreement}
    progress()
    grid = classifiers.sample_grid(generator, latent, _rng(config, 9))
    return metrics, {SAMPLES: png(grid), WIDE_SAMPLES: png(_grid_of(images, read, latent.categories))} | weights(
        trained, with_posterior=True)


def _rng(config: RunConfig, part: int) -> np.random.Generator:
    return stream(config.randomness, "evaluation", FIRST_STREAM + part)


class _Fidelity:
    """fidelity.measure of images against real ones, with one feature network for all sets: that of utility.measure."""

    def __init__(self, config: RunConfig, files: data.Dataset):
        self.config = config
        self.network = fidelity.feature_network(files.train_images, files.train_labels,
                                                config.evaluation.cnn_steps // utility.FEATURE_STEPS,
                                                np.random.default_rng(0))
        self.count = len(files.test_images)
        self.real = [fidelity.features(self.network, part) for part in (files.train_images[: self.count],
                                                                        files.test_images)]

    def __call__(self, images: np.ndarray, part: int) -> dict[str, float]:
        """part: of the random numbers, which choose as many images as there are for testing."""
        chosen = _rng(self.config, part).permutation(len(images))[: self.count]
        return fidelity.measure(fidelity.features(self.network, images[chosen]), *self.real)


@torch.no_grad()
def _read_right(posterior: torch.nn.Module, categories: int, images: np.ndarray, labels: np.ndarray) -> float:
    read = torch.cat([posterior(part)[:, :categories].argmax(1) for part in torch.from_numpy(images).split(1000)])
    return float((read.numpy() == labels).mean())


def _grid_of(images: np.ndarray, labels: np.ndarray, categories: int, columns: int = 10) -> np.ndarray:
    """The first images of each label, a row a label, as classifiers.sample_grid; black where there are too few."""
    grid = np.full((categories, columns, *images.shape[2:]), -1, dtype=np.float32)
    for label in range(categories):
        mine = images[labels == label][:columns, 0]
        grid[label, : len(mine)] = mine
    return grid
