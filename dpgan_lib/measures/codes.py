"""What a generator's codes do, measured on generated images: who can read them, what they draw, what they move.

Every recipe was fixed before any result. None reads a training record: only generated images, and public digits that
name them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor, nn

from dpgan_lib import data
from dpgan_lib.config import LatentConfig, RunConfig
from dpgan_lib.gan.latent import category, mutual_info_bound, sample_latent
from dpgan_lib.gan.networks import Generator, Posterior
from dpgan_lib.gan.state import State
from dpgan_lib.measures.classifiers import train_cnn
from dpgan_lib.privacy.streams import stream

DIGITS = 10
PRESENT = 0.01  # a digit counts as drawn if it makes up this share of a run's images
COLLAPSED = 5  # a run that draws fewer digits than this has collapsed
SWEEP = np.linspace(-1, 1, 9)  # the values that a continuous code takes while all else stands still
SWEPT = 200  # draws of all else
READER_BATCH, READER_RATE = 128, 1e-3
FIRST_STREAM = 10  # of the "evaluation" streams; the first few draw a run's sample grid and its utility


def measure(config: RunConfig, state: State, files: data.Dataset,
            progress: Callable[[], object] = lambda: None) -> dict:
    """The metrics of a run: what the codes of its released generator do.

    files: of these only the public test set is read, to say how well the judge names real digits.
    """
    latent, generator, settings = config.latent, state.average.cpu(), config.evaluation
    to_learn, to_test, learning, sweeping = (stream(config.randomness, "evaluation", FIRST_STREAM + part)
                                             for part in range(4))
    learnt, new = (draw(generator, latent, settings.images, rng) for rng in (to_learn, to_test))
    metrics = {"readers": readers(config, state.posterior.cpu(), learnt, new, learning)}
    progress()
    judge = public_judge("digits" if config.dataset == "digits" else "grown_digits", settings.cnn_steps)
    metrics |= {"digits": agreement(categories(latent, new[1]), named(judge, new[0]), latent.categories),
                "judge": agreement(files.test_labels, named(judge, files.test_images), DIGITS)}
    progress()
    return metrics | {"moves": moves(generator, latent, new, sweeping)}


# Drawing

def draw(generator: Generator, latent: LatentConfig, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    """Images (B, 1, side, side) from the prior on (z, c), and their codes (B, code_dim)."""
    z, code = sample_latent(latent, count, rng)
    return render(generator, z, code), code


@torch.no_grad()
def render(generator: Generator, z: Tensor, code: Tensor) -> np.ndarray:
    """Images (B, 1, side, side) float32 in [-1, 1], each independent of its neighbours."""
    generator.eval()
    return torch.cat([generator(*part) for part in zip(z.split(1000), code.split(1000))]).numpy()


def sweep(generator: Generator, latent: LatentConfig, which: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Images (B, len(SWEEP), side, side): along a row continuous code number `which` moves, all else stands still."""
    z, code = (part.repeat_interleave(len(SWEEP), dim=0) for part in sample_latent(latent, count, rng))
    code[:, latent.categories + which] = torch.from_numpy(np.tile(SWEEP, count)).float()
    images = render(generator, z, code)
    return images.reshape(count, len(SWEEP), *images.shape[2:])


# Who can read the code

def readers(config: RunConfig, posterior: Posterior, learnt: tuple[np.ndarray, Tensor],
            new: tuple[np.ndarray, Tensor], rng: np.random.Generator) -> dict[str, dict]:
    """What each of three readers makes of new images: reading() by name. learnt, new: (images, codes) of one generator.

    posterior: Q.  independent: a network of Q's shape that met neither Q nor G, taught by the learnt images.
    strokes: another such, that sees where there is ink and nothing else.
    """
    (images, code), (new_images, new_code) = learnt, new
    independent, strokes = (teach(config, seen, code, rng) for seen in (images, ink(images)))
    seen = {"posterior": (posterior, new_images), "independent": (independent, new_images),
            "strokes": (strokes, ink(new_images))}
    return {name: reading(config.latent, reader, shown, new_code) for name, (reader, shown) in seen.items()}


def teach(config: RunConfig, images: np.ndarray, code: Tensor, rng: np.random.Generator) -> Posterior:
    """A new reader of codes (B, code_dim) from images: Adam on L_I, a fixed number of steps, no early stop."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        reader = Posterior(config.latent, config.model)
    optimiser = torch.optim.Adam(reader.parameters(), READER_RATE)
    for _ in range(config.evaluation.cnn_steps):
        batch = rng.integers(len(images), size=READER_BATCH)
        loss = -mutual_info_bound(config.latent, reader(torch.from_numpy(images[batch])), code[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return reader


@torch.no_grad()
def reading(latent: LatentConfig, reader: Posterior, images: np.ndarray, code: Tensor) -> dict:
    """The bound of each part of the code, and "accuracy": the share of images whose category is read right.

    The bounds, "category" and "continuous" (a list), are in nats and add up to L_I, for Q has one factor a part.
    """
    prediction = torch.cat([reader(part) for part in torch.from_numpy(images).split(1000)])
    logits, mean, log_std = prediction.split([latent.categories, latent.continuous, latent.continuous], dim=1)
    alone = mutual_info_bound(replace(latent, continuous=0), logits, category(latent, code))
    # A category of one value says nothing: its part of the bound is 0.
    number, sure = replace(latent, categories=1, continuous=1), torch.ones(len(code), 1)
    columns = zip(mean.split(1, 1), log_std.split(1, 1), code[:, latent.categories :].split(1, 1))
    each = [mutual_info_bound(number, torch.cat([sure, centre, spread], 1), torch.cat([sure, value], 1))
            for centre, spread, value in columns]
    right = logits.argmax(1).numpy() == categories(latent, code)
    return {"accuracy": float(right.mean()), "category": float(alone), "continuous": [float(bound) for bound in each]}


def categories(latent: LatentConfig, code: Tensor) -> np.ndarray:
    """The category of each code (B, code_dim) as a number, (B,) int64."""
    return category(latent, code).argmax(1).numpy()


def ink(images: np.ndarray) -> np.ndarray:
    """Where an eye sees a stroke: 1 above the middle grey, -1 elsewhere. A code written in faint greys is gone."""
    return np.where(images > 0, 1, -1).astype(np.float32)


# What the code draws

@cache
def public_judge(dataset: str, steps: int) -> nn.Module:
    """A CNN that names digits, trained on public ones. So a code gets its name without a private label."""
    files = data.load(dataset, progress=False)
    return train_cnn(files.train_images, files.train_labels, steps, np.random.default_rng(0))


@torch.no_grad()
def named(judge: nn.Module, images: np.ndarray) -> np.ndarray:
    """The digit that the judge sees in each image, (B,) int64."""
    return torch.cat([judge(part) for part in torch.from_numpy(images).split(1000)]).argmax(1).numpy()


def agreement(codes: np.ndarray, digits: np.ndarray, count: int) -> dict:
    """How far codes (B,) in 0..count-1 and digits (B,) tell each other.

    table (count, 10): images of each code by digit.  purity: share of images that are their code's commonest digit.
    nmi: I(code; digit) over the mean of both entropies. Both lie in [0, 1].  drawn: how many digits are PRESENT.
    """
    table = np.zeros((count, DIGITS), dtype=int)
    np.add.at(table, (codes, digits), 1)
    return {"table": table.tolist(), "purity": float(table.max(1).sum() / table.sum()),
            "nmi": float(normalized_mutual_info_score(codes, digits)),
            "drawn": int((table.sum(0) >= PRESENT * table.sum()).sum())}


# What the code moves

def moves(generator: Generator, latent: LatentConfig, new: tuple[np.ndarray, Tensor],
          rng: np.random.Generator) -> list[dict[str, dict]]:
    """For each continuous code, Spearman's correlation with the slant and with the stroke width of images.

    new: (images, codes) from the prior.  random: over these, where all else is random, so that a faint effect counts
    little.  fixed: along sweeps, where all else stands still, so that a faint effect counts as much as a strong one.
    """
    images, code = new
    found = []
    for which in range(latent.continuous):
        values, swept = code[:, latent.categories + which].numpy(), sweep(generator, latent, which, SWEPT, rng)
        found.append({name: {"random": correlation(values, measure(images[:, 0])), "fixed": along(measure(swept))}
                      for name, measure in MEASURES.items()})
    return found


def along(values: np.ndarray) -> float:
    """The correlation of SWEEP with values (B, len(SWEEP)), each row counted from its own mean."""
    return correlation(np.tile(SWEEP, len(values)), (values - values.mean(1, keepdims=True)).ravel())


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's; 0 if nothing moves."""
    return float(spearmanr(one, other).statistic) if np.ptp(other) else 0.0


def slant(images: np.ndarray) -> np.ndarray:
    """The tangent of a digit's slant, positive to the right, by second moments: -mu_xy / mu_yy, y down the image.

    images (..., side, side) in [-1, 1].  0 for an image without ink.
    """
    weight = _weights(images)
    y, x = np.mgrid[: images.shape[-2], : images.shape[-1]].astype(float)
    y, x = (place - (weight * place).sum((-2, -1), keepdims=True) for place in (y, x))
    mu_xy, mu_yy = ((weight * product).sum((-2, -1)) for product in (x * y, y * y))
    return -mu_xy / np.maximum(mu_yy, 1e-9)


def _weights(images: np.ndarray) -> np.ndarray:
    """Ink (..., side, side) as a distribution over pixels; all zero for an image without ink."""
    amount = (images.astype(float) + 1) / 2
    return amount / np.maximum(amount.sum((-2, -1), keepdims=True), 1e-9)


def stroke_width(images: np.ndarray) -> np.ndarray:
    """Pixels: twice the ink's area over the length of its edge, which a long stroke has on both sides.

    images (..., side, side) in [-1, 1].  The length is the total variation, sum |grad ink|.  0 without ink.
    """
    amount = np.pad((images.astype(float) + 1) / 2, [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)])
    down, right = np.diff(amount, axis=-2)[..., :-1], np.diff(amount, axis=-1)[..., :-1, :]
    return 2 * amount.sum((-2, -1)) / np.maximum(np.hypot(down, right).sum((-2, -1)), 1e-9)


MEASURES = {"slant": slant, "width": stroke_width}
