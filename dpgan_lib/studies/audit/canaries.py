"""Canaries: records of an auditor's choice, among those that a GAN is trained on, and what each noisy sum says of them.

A canary is an image with a label. It takes the path of any record: the coin of Poisson sampling, the critic, the clip
of its gradient, the sum, the noise. Nothing of the mechanism is replaced; who listens, hears what it releases.

The auditor knows the canaries and, before each step, the critic. So they know the gradient that a canary would add,
clipped: its direction at that step. A canary's score is the sum over the steps of the noisy sums' projections on it.
The directions should be orthogonal, or canaries hide each other. A canary is zero, an even grey, but for a small patch
of huge pixels: zeros leave all but a few of the critic's positions at rest, huge ones outweigh its biases, and two
canaries meet only where patches, or labels, do. Pixels beyond [-1, 1] are no abuse: the promise is made for any record.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.state import device, new_state
from dpgan_lib.privacy import audit
from dpgan_lib.privacy.clipping import tape

STRIDE = 4  # pixels between two patches: the critic's first convolution has this stride,
FIRST = 1  # and patches of PATCH pixels a side from here on lie in one of its windows alone
PATCH = 2
LOUD = 1e3  # length of a patch's pixels: its gradient is far longer than any clip norm


def chosen(count: int, image_shape: tuple[int, int, int], categories: int,
           rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, *image_shape) float32 and labels (count,) of canaries.

    All categories take turns, in each all places do, and in each place the rows of an orthogonal matrix.
    """
    images = np.zeros((count, *image_shape), dtype=np.float32)
    channels, *sides = image_shape
    rows, columns = (np.arange(FIRST, side - PATCH + 1, STRIDE) for side in sides)
    pixels, cells = channels * PATCH**2, categories * len(rows) * len(columns)
    patterns = np.linalg.qr(rng.standard_normal((count // (cells * pixels) + 1, cells, pixels, pixels)))[0]
    for i, image in enumerate(images):
        turn, cell = divmod(i, cells)
        row, column = divmod(cell // categories, len(columns))
        image[:, rows[row] : rows[row] + PATCH, columns[column] : columns[column] + PATCH] = (
            LOUD * patterns[turn // pixels, cell, turn % pixels]).reshape(channels, PATCH, PATCH)
    return images, np.arange(count) % categories


class Directions:
    """The clipped gradients of records at a critic's weights, in factors.

    By formulas of its own, not by the clip that is audited: what that gets wrong would be wrong here too.
    """

    def __init__(self, critic: nn.Module, rows: tuple[Tensor, Tensor], clip_norm: float):
        """rows: images (m, ...), one-hot categories (m, K).  clip_norm: inf for none."""
        self.critic, self.rows = critic, rows
        self.layers, self.activations, self.output_gradients = tape(critic, rows)
        with torch.no_grad():
            squares = sum(_squared_norms(*each) for each in self._each())
            self.lengths = squares.sqrt().clamp(max=clip_norm)  # type: ignore[union-attr]  # a critic has layers
            self.scale = torch.where(squares > 0, self.lengths / squares.sqrt(), 0)  # type: ignore[union-attr,operator]

    def _each(self):
        return zip(self.layers.values(), self.activations, self.output_gradients)

    def total(self, which: np.ndarray) -> dict[str, Tensor]:
        """The sum of some of the clipped gradients, by parameter. which: (m,) booleans."""
        chosen = torch.from_numpy(which).to(self.scale.device)
        parameters = dict(self.critic.named_parameters())
        scores = self.critic(*(each[chosen] for each in self.rows))
        weighted = (self.scale[chosen] * scores).sum()
        return dict(zip(parameters, torch.autograd.grad(weighted, list(parameters.values()))))

    @torch.no_grad()
    def project(self, vector: dict[str, Tensor]) -> np.ndarray:
        """Inner products (m,) of the clipped gradients with a vector of parameter space, by parameter."""
        products = torch.zeros_like(self.scale)
        for name, (layer, activation, output_gradient) in zip(self.layers, self._each()):
            given = {key: vector[f"{name}.{key}" if name else key] for key, _ in layer.named_parameters(recurse=False)}
            moved = torch.func.functional_call(layer, given, activation)  # what the layer's output moves by
            products += (moved * output_gradient).flatten(1).sum(1)
        return (self.scale * products).double().cpu().numpy()


def _squared_norms(layer, activation, output_gradient):
    """Of each record's gradient in one layer, (m,): |sum_t g_t a_t^T|^2 = sum_(t,s) (a_t . a_s)(g_t . g_s)."""
    if isinstance(layer, nn.Linear):
        return (activation.square().sum(1) + (layer.bias is not None)) * output_gradient.square().sum(1)
    a = F.unfold(activation, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (m, d, T)
    g = output_gradient.flatten(2)  # (m, p, T)
    bias = g.sum(2).square().sum(1) if layer.bias is not None else 0
    return ((a.mT @ a) * (g.mT @ g)).sum((1, 2)) + bias


@dataclass
class Heard:
    """Sums over the steps of projections on the canaries' directions, (m,) each, in units of the noisy sum.

    released: of the noisy sums.  data: of what the data adds to them, on average over the batches.  inside, outside:
    the same of the canaries that are in, and of those that are out, were they in.  own: of a canary's gradient on
    itself, its squared length; T C^2 if it was always clipped.
    """

    released: np.ndarray
    data: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    own: np.ndarray

    @classmethod
    def nothing(cls, canaries: int) -> "Heard":
        """Before the first step."""
        return cls(*np.zeros((5, canaries)))


@dataclass(frozen=True)
class Known:
    """What the auditor knows: the data, the canaries, and which of them are in; records as a model takes them."""

    data: loop.Records
    canaries: loop.Records
    included: np.ndarray

    def hear(self, heard: Heard, model: nn.Module, noisy_sum: dict[str, Tensor], claimed) -> None:
        """Add a step to what was heard. model: before the step.  claimed: what is said of its mechanism."""
        data, directions = (Directions(model, (each.images, each.categories), claimed.clip_norm)
                            for each in (self.data, self.canaries))
        heard.released += directions.project(noisy_sum)
        everyone = np.ones(len(self.data.images), dtype=bool)
        for each, total in ((heard.data, data.total(everyone)), (heard.inside, directions.total(self.included)),
                            (heard.outside, directions.total(~self.included))):
            each += claimed.sampling_rate * directions.project(total)
        heard.own += directions.lengths.double().square().cpu().numpy()


def _some(records, which):
    rows = torch.from_numpy(np.flatnonzero(which)).to(records.images.device)
    return loop.Records(records.images[rows], records.categories[rows])


def audited_run(config: RunConfig, claimed: PrivacyConfig, images: np.ndarray, labels: np.ndarray, canaries: int,
                rng: np.random.Generator) -> tuple[Heard, np.ndarray]:
    """Train a run with canaries in its training set. Returns what was heard, and which were in, (m,).

    images (N, channels, side, side), labels (N,): the declared N does not count the canaries, which the divisor needs.
    claimed: what the run says of itself, which it may have broken.
    """
    included = rng.random(canaries) < 0.5
    loud, names = chosen(canaries, images.shape[1:], config.latent.categories, rng)
    data, all_canaries = (loop.on_device(replace(config, privacy=replace(config.privacy, records=len(each[0]))), *each)
                          for each in ((images, labels), (loud, names)))
    inside = _some(all_canaries, included)
    records = loop.Records(torch.cat([data.images, inside.images]), torch.cat([data.categories, inside.categories]))
    heard, known = Heard.nothing(canaries), Known(data, all_canaries, included)

    def private_mean(model: nn.Module, inputs: tuple[Tensor, Tensor], *, expected_batch: int,
                     **public) -> dict[str, Tensor]:
        """As mechanism.noisy_mean. The batch is passed on unseen: what the auditor knows of the data, they know."""
        released = steps.noisy_mean(model, inputs, expected_batch=expected_batch, **public)
        known.hear(heard, model, {name: expected_batch * mean for name, mean in released.items()}, claimed)
        return released

    state = new_state(config, device())
    while state.step < config.privacy.steps:
        loop.train_block(config, state, records, partial(steps.critic_step, private_mean=private_mean))
    return heard, included


KNOWS_DATA, SEES_RELEASES = "knows the data", "sees releases"


def guessing(heard: Heard, claimed) -> dict[str, np.ndarray]:
    """Scores (m,) for guesses, by auditor. Neither has seen a coin, so both subtract half of the other canaries.

    The definition's auditor knows every record but the canaries, though not the draws, and subtracts what the data adds
    on average. The other one sees the releases alone.
    """
    expected = (heard.inside + heard.outside - claimed.sampling_rate * heard.own) / 2
    return {KNOWS_DATA: heard.released - expected - heard.data, SEES_RELEASES: heard.released - expected}


def fitted(heard: Heard, included: np.ndarray, claimed) -> np.ndarray:
    """Scores (m,) in units of the claimed noise, for the Gaussian estimators.

    Each canary's is what the definition's adversary computes, who knows every other record, and so every other coin.
    """
    others = heard.inside - included * claimed.sampling_rate * heard.own
    return (heard.released - heard.data - others) / noise(heard, claimed)


def noise(heard: Heard, claimed) -> np.ndarray:
    """Standard deviation (m,) of the claimed noise in what was heard."""
    return claimed.noise_multiplier * claimed.clip_norm * np.sqrt(heard.own)


def length(heard: Heard, claimed) -> float:
    """Of the canaries' clipped gradients, root mean square in units of C: 1, if all were always clipped."""
    return float(np.sqrt(heard.own.mean() / claimed.steps) / claimed.clip_norm)


def outcome(guesses: dict[str, np.ndarray], scores: np.ndarray, included: np.ndarray, *, shift: float, delta: float,
            levels: dict[str, float]) -> dict[str, dict]:
    """By auditor, what was guessed and all bounds that the auditor may compute, at each of the levels, by their names.

    guesses: scores (m,) for guessing, by auditor.  scores: fitted ones, (m,).  shift: of an ideal canary.
    fit: of the auditor who knows the data, the difference of means and the spreads about them, in units of the noise,
    beside that shift.
    """
    found: dict[str, dict] = {}
    for auditor, guessed in guesses.items():
        found[auditor] = {"correct": audit.correct_guesses(guessed, included),
                          "guesses": 2 * audit.guessed(len(included))}
        for name, level in levels.items():
            bounds = audit.bounds(guessed, scores, included, threshold=shift / 2, delta=delta, level=level)
            if auditor != KNOWS_DATA:  # the Gaussian ones take the data's part for known
                bounds = {estimator: bounds[estimator] for estimator in (audit.ONE_RUN, audit.F_DP)}
            found[auditor][name] = bounds
    inside, outside = scores[included], scores[~included]
    found[KNOWS_DATA]["fit"] = {"shift": float(inside.mean() - outside.mean()), "ideal": shift,
                                "spread_in": float(inside.std(ddof=1)), "spread_out": float(outside.std(ddof=1))}
    return found
