"""Memorisation, as far as generated images show it: nearest neighbours in pixel space, and attacks on membership.

None of this is a proof of safety. A test that finds nothing has found nothing, with this metric and this many images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import binomtest

from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.state import device, new_state
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy.streams import stream

SWAPS = 9_999  # random ones of the permutation test: its p-value is at least 1 / (SWAPS + 1)
QUANTILES = np.linspace(0, 1, 51)  # that stand for a distribution of distances
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Parts:
    """Disjoint index sets of equal size, (n,) each, dealt out at random: any record may be in any of them.

    train: what the GAN learns from.  held_out: what it might have learnt from instead.  reference: other images, which
    an attacker has.  calibration: images that set the attacker's threshold.
    """

    train: np.ndarray
    held_out: np.ndarray
    reference: np.ndarray
    calibration: np.ndarray


def deal(records: int, size: int, seed: int) -> Parts:
    """Deal out records. The seed alone says how, so that runs at every epsilon have the same parts."""
    return Parts(*np.random.default_rng(seed).permutation(records)[: 4 * size].reshape(4, size))


def distances(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distances (B, N) in pixel space. images, others: (B or N, channels, side, side) in [-1, 1]."""
    one, other = (torch.from_numpy(each).flatten(1).double() for each in (images, others))
    return torch.cdist(one, other).numpy()


def release(config: RunConfig, images: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Images (count, channels, side, side) of a GAN trained on these images, as many of each class, in turns."""
    state, records = new_state(config, device()), loop.on_device(config, images, labels)
    while state.step < config.privacy.steps:
        loop.train_block(config, state, records)
    return classifiers.synthesise(state.average.cpu(), config.latent, classes(config, count),
                                  stream(config.randomness, "evaluation", 0))


def classes(config: RunConfig, count: int) -> np.ndarray:
    """The classes asked for in release(), (count,)."""
    return np.arange(count) % config.latent.categories


# Nearest neighbours

def share_nearer(to_train: np.ndarray, to_held_out: np.ndarray) -> float:
    """The share of generated images whose nearest neighbour is a training image; a tie counts half.

    to_train, to_held_out: distances (B, n).
    """
    margin = to_held_out.min(1) - to_train.min(1)
    return float(np.mean((margin > 0) + (margin == 0) / 2))


def swap_test(to_train: np.ndarray, to_held_out: np.ndarray, rng: np.random.Generator) -> float:
    """P-value, one-sided, of the share of generated images that are nearer to a training image.

    Null hypothesis: the generator does not depend on which image of each pair (training i, held-out i) it learnt from.
    Both were dealt out at random, so under the null a fair coin may swap each pair. The p-value is the rank of the
    share among those after SWAPS rounds of swapping, (1 + #{at least as large}) / (1 + SWAPS). Generated images need
    not be independent of each other: they stay fixed.
    """
    seen = share_nearer(to_train, to_held_out)
    reached = 0
    for _ in range(SWAPS):
        swapped = rng.random(to_train.shape[1]) < 0.5
        reached += share_nearer(np.where(swapped, to_held_out, to_train),
                                np.where(swapped, to_train, to_held_out)) >= seen
    return (1 + reached) / (1 + SWAPS)


# Membership, from generated images alone

def distance_scores(images: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Minus the distance to the nearest generated image, (n,): higher speaks for a training image."""
    return -distances(images, generated).min(1)


def likelihood_scores(images: np.ndarray, generated: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log likelihood ratio, (n,): a kernel density of the generated images against one of the reference images.

    An image that is merely ordinary is likely under both. The kernel is a Gaussian; its width is the median distance
    from a reference image to the next one.
    """
    apart = distances(reference, reference)
    np.fill_diagonal(apart, np.inf)
    width = np.median(apart.min(1))
    return _log_density(images, generated, width) - _log_density(images, reference, width)


def _log_density(images, centres, width):
    """Up to a constant, the same for all centres."""
    return logsumexp(-(distances(images, centres) ** 2) / (2 * width**2), axis=1) - np.log(len(centres))


def advantage(members: np.ndarray, others: np.ndarray, calibration: np.ndarray) -> dict:
    """True minus false positive rate of "a score above the calibration images' median is a member's".

    members, others, calibration: scores (n,) of the training images, of held-out images, and of those that set the
    threshold.  Returns hits, false_alarms, advantage, and low and high: exact intervals of both rates, each at half of
    what CONFIDENCE leaves, subtracted. They cover what the advantage is on average over images of a generator that does
    not depend on any single one.
    """
    threshold = np.median(calibration)
    hits, false_alarms = (binomtest(int(np.sum(scores > threshold)), len(scores)) for scores in (members, others))
    one, other = (each.proportion_ci((1 + CONFIDENCE) / 2, method="exact") for each in (hits, false_alarms))
    return {"hits": hits.statistic, "false_alarms": false_alarms.statistic,
            "advantage": hits.statistic - false_alarms.statistic,
            "low": one.low - other.high, "high": one.high - other.low}


def attacks(parts: dict[str, np.ndarray], generated: np.ndarray) -> dict[str, dict]:
    """advantage() of both attacks, by distance and by likelihood. parts: images by the names of Parts."""
    judged = [parts[name] for name in ("train", "held_out", "calibration")]
    scores = {"distance": [distance_scores(images, generated) for images in judged],
              "likelihood": [likelihood_scores(images, generated, parts["reference"]) for images in judged]}
    return {name: advantage(*of_parts) for name, of_parts in scores.items()}


def nearest(parts: dict[str, np.ndarray], generated: np.ndarray, rng: np.random.Generator) -> dict:
    """Nearest neighbours of generated images: share_nearer, p_value, and QUANTILES of both distances."""
    to_train, to_held_out = (distances(generated, parts[name]) for name in ("train", "held_out"))
    return {"share_nearer": share_nearer(to_train, to_held_out), "p_value": swap_test(to_train, to_held_out, rng),
            "to_train": np.quantile(to_train.min(1), QUANTILES).tolist(),
            "to_held_out": np.quantile(to_held_out.min(1), QUANTILES).tolist()}


def neighbours(parts: dict[str, np.ndarray], generated: np.ndarray) -> np.ndarray:
    """Images (3, B, side, side) in [-1, 1]: the generated ones, nearest training images, nearest held-out images."""
    rows = [parts[name][distances(generated, parts[name]).argmin(1)] for name in ("train", "held_out")]
    return np.stack([generated, *rows])[:, :, 0]
