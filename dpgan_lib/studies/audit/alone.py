"""Canaries: records whose gradients an auditor chose, sampled, clipped and hidden in noise by the real mechanism.

A canary is a row of the training set. Where the mechanism sums clipped gradients, a canary's row gives a gradient of
its own in place of a network's: long, clipped to C as any record's, and orthogonal to those of all other canaries. So a
release's projection on a canary's direction holds C if the canary was in and drawn, plus noise, plus what the data has
there. Nothing of the mechanism is replaced but that sum's input, and it is the library's own.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.state import device, new_state
from dpgan_lib.privacy import audit, mechanism

LENGTH = 10.0  # of a canary's gradient before it is clipped, in units of the claimed C: a dropped clip then shows
TEST_LEVEL = 0.05  # of one test against a trade-off curve


class Canaries:
    """m orthonormal directions of parameter space, and which of the canaries are in.

    The d coordinates are dealt out at random to m canaries, d // m each; a direction has entries +-1 / sqrt(d // m) on
    its own coordinates, with random signs, and 0 elsewhere. So directions are exactly orthogonal, and each meets the
    data's gradients on coordinates from all layers.
    """

    def __init__(self, model: nn.Module, count: int, length: float, rng: np.random.Generator):
        """included: m fair coins.  length: of a gradient before it is clipped.  Raises ValueError if m > d."""
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        size = sum(shape.numel() for shape in self.shapes.values())
        if count > size:
            raise ValueError(f"canaries={count} must be at most {size}: no more directions are orthogonal here.")
        self.length = length
        self.included = rng.random(count) < 0.5
        self.places = torch.from_numpy(rng.permutation(size)[: size // count * count].reshape(count, -1))  # (m, d // m)
        signs = rng.choice([-1.0, 1.0], self.places.shape) / np.sqrt(self.places.shape[1])
        self.entries = torch.from_numpy(signs.astype(np.float32))

    def __len__(self) -> int:
        return len(self.places)

    def project(self, gradients: dict[str, Tensor]) -> np.ndarray:
        """Coordinates (m,) of a gradient along the directions."""
        flat = torch.cat([gradients[name].flatten() for name in self.shapes]).cpu()
        return (flat[self.places] * self.entries).sum(1).double().numpy()

    def combine(self, weights: np.ndarray) -> dict[str, Tensor]:
        """The sum of the directions with weights (m,), by parameter."""
        flat = torch.zeros(sum(shape.numel() for shape in self.shapes.values()))
        flat[self.places] = self.entries * torch.from_numpy(weights.astype(np.float32))[:, None]
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts)}

    def rows(self, image_shape: tuple[int, ...], categories: int) -> loop.Records:
        """The canaries as rows of a training set: of no category, and each image filled with the canary's number."""
        numbers = torch.arange(float(len(self))).view(-1, *[1] * len(image_shape))
        return loop.Records(numbers.expand(-1, *image_shape), torch.zeros(len(self), categories))

    def pick(self, batch: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], np.ndarray]:
        """A batch without its canaries, and how often each canary that is in was drawn, (m,): 0 or 1."""
        images, categories = batch
        is_record = categories.any(1)
        numbers = images[~is_record].flatten(1)[:, 0].long().cpu().numpy()
        drawn = np.bincount(numbers, minlength=len(self)) * self.included
        return (images[is_record], categories[is_record]), drawn


@dataclass
class Heard:
    """Sums over the steps of projections on the canaries' directions, (m,) each.

    released: of what the mechanism released, in units of its sum.  data: of the data's part of that sum.
    """

    released: np.ndarray
    data: np.ndarray

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """By auditor. The definition's knows every record but the canary, and which of them were drawn; so it subtracts
        what they add. The other one sees the releases alone.
        """
        return {"knows the data": self.released - self.data, "sees releases": self.released}


class Planted:
    """The private mean of a critic's step with canaries in its sum, and what is heard of it.

    Where the mechanism sums clipped gradients, this adds those of the canaries that were drawn; then it listens to what
    is released. All else is the library's own.
    """

    def __init__(self, canaries: Canaries):
        self.canaries = canaries
        self.heard = Heard(np.zeros(len(canaries)), np.zeros(len(canaries)))

    def private_mean(self, model: nn.Module, inputs: tuple[Tensor, Tensor], *, expected_batch: int,
             **public) -> dict[str, Tensor]:
        """As mechanism.noisy_mean."""
        released = steps.noisy_mean(model, inputs, expected_batch=expected_batch, sum_of=self.sum_of, **public)
        self.heard.released += expected_batch * self.canaries.project(released)
        return released

    def sum_of(self, model: nn.Module, inputs: tuple[Tensor, Tensor], clip_norm: float) -> dict[str, Tensor]:
        """As clipping.clipped_sum."""
        data, drawn = self.canaries.pick(inputs)
        sums = mechanism.clipped_sum(model, data, clip_norm)
        self.heard.data += self.canaries.project(sums)
        for name, part in self.canaries.combine(drawn * min(self.canaries.length, clip_norm)).items():
            sums[name] += part.to(sums[name].device)
        return sums


def audited_run(config: RunConfig, images: np.ndarray, labels: np.ndarray, canaries: int, claimed_clip: float,
                rng: np.random.Generator) -> tuple[Heard, np.ndarray]:
    """Train a run with canaries in its training set. Returns what was heard, and which were in, (m,).

    images (N, channels, side, side), labels (N,): the declared N does not count the canaries, which the divisor needs.
    claimed_clip: the C that the canaries' length is a multiple of; the run may have dropped it.
    """
    state = new_state(config, device())
    planned = Canaries(state.critic, canaries, LENGTH * claimed_clip, rng)
    data, rows = loop.on_device(config, images, labels), planned.rows(images.shape[1:], config.latent.categories)
    records = loop.Records(torch.cat([data.images, rows.images.to(data.images.device)]),
                           torch.cat([data.categories, rows.categories.to(data.images.device)]))
    planted = Planted(planned)
    while state.step < config.privacy.steps:
        loop.train_block(config, state, records, partial(steps.critic_step, private_mean=planted.private_mean))
    return planted.heard, planned.included


def isolated(privacy: PrivacyConfig, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The mechanism alone: T steps on canaries, without any data. Each canary is an independent trial.

    Returns the scores and which canaries were in, (trials,) each. A trial has one coordinate, and so noise of its own.
    """
    model = nn.Linear(trials, 1, bias=False)
    planned = Canaries(model, trials, LENGTH * privacy.clip_norm, rng)
    rows = planned.rows((1,), 1)
    planted = Planted(planned)
    for _ in range(privacy.steps):
        batch = torch.from_numpy(mechanism.poisson_sample(trials, privacy.sampling_rate, rng))
        planted.private_mean(model, (rows.images[batch], rows.categories[batch]), clip_norm=privacy.clip_norm,
                     noise_multiplier=privacy.noise_multiplier, expected_batch=privacy.expected_batch, rng=rng)
    return planted.heard.released, planned.included


def repeated(privacy: PrivacyConfig, count: int, *, canaries: int, level: float, trials: int,
             rng: np.random.Generator) -> dict:
    """Audits and tests of the mechanism alone, each on canaries of its own, so that they can be counted.

    count: audits of m canaries each, at the level.  trials: of each test against the claimed trade-off curve, at 5%, of
    the mechanism as claimed and with its noise halved.
    Returns bounds (one an audit) and, for "correct" and "halved", how many of how many tests refuted the claim.
    """
    scores, included = isolated(privacy, count * canaries, rng)
    bounds = [audit.audit(*each, delta=privacy.delta, level=level).epsilon
              for each in _chunks(scores, included, canaries)]
    claimed = audit.curve(privacy)
    halved = isolated(replace(privacy, noise_multiplier=privacy.noise_multiplier / 2), len(scores), rng)
    return {"bounds": bounds} | {
        name: _refuted(*each, trials, audit.midpoint(privacy), claimed)
        for name, each in {"correct": (scores, included), "halved": halved}.items()}


def _chunks(scores, included, size):
    for start in range(0, len(scores) - size + 1, size):
        yield scores[start : start + size], included[start : start + size]


def _refuted(scores, included, trials, threshold, claimed):
    outcomes = [audit.is_refuted(*each, threshold=threshold, claimed=claimed, level=TEST_LEVEL)
                for each in _chunks(scores, included, trials)]
    return {"refuted": sum(outcomes), "tests": len(outcomes)}
