"""What defines a run with a warm start, beside what defines any run: frozen, public numbers only. Never imports torch."""

import math
from dataclasses import dataclass

from dpgan_lib.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class PrototypeConfig:
    """Public numbers, set by hand and tried on the grown digits and on a held-out part of MNIST's training set.

    rounds: releases; the first gives a mean to each class, each later one splits every style in two.
    candidates: deformations that a record may be matched with.
    level: root mean square of a record's pixels in [0, 1] above which it is dimmed, so that its norm is bounded.
    """

    rounds: int
    candidates: int
    level: float

    @property
    def styles(self) -> int:
        return 2 ** (self.rounds - 1)


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig:
    """What is released before the first critic step, and how a generator is fitted to it. Public numbers.

    release_noise: s, the noise multiplier of one Gaussian mechanism that is as private as all releases together.
    embedding_share: of 1 / s^2, what the embedding's release takes; the first rounds share what is left.
    frequencies: of the random features, half their number.
    steps: of the generator.  batch: images in a step.  rate: Adam's at the start, which falls linearly to 0; images that
    are parameters move at image_rate times it, networks at network_rate times it.  info_weight: lambda, in units of |d|^2 per nat.  averaging: decay of the running mean.
    witness_weight: of the closed-form critic, once there is a trained one beside it.
    """

    release_noise: float
    embedding_share: float
    frequencies: int
    steps: int
    batch: int
    rate: float
    image_rate: float
    network_rate: float
    info_weight: float
    averaging: float
    witness_weight: float

    @property
    def first_rounds(self) -> int:
        raise NotImplementedError

    @property
    def round_noise(self) -> float:
        """The noise multiplier of each release before the embedding's."""
        return self.release_noise * math.sqrt(self.first_rounds / (1 - self.embedding_share))

    @property
    def embedding_noise(self) -> float:
        return self.release_noise / math.sqrt(self.embedding_share)


@dataclass(frozen=True, kw_only=True)
class PrototypeStartConfig(WarmStartConfig):
    """A warm start whose first rounds are of prototypes."""

    prototypes: PrototypeConfig

    @property
    def first_rounds(self) -> int:
        return self.prototypes.rounds


@dataclass(frozen=True, kw_only=True)
class WarmRunConfig(RunConfig):
    """A run whose generator starts from releases. privacy: its epsilon is the whole run's; its noise that of the steps.

    privacy.steps may be 0: releases alone.
    """

    warm_start: PrototypeStartConfig


def release_noise(config: RunConfig) -> float:
    """s of what a run releases before its critic's steps; inf if it releases nothing then."""
    return config.warm_start.release_noise if isinstance(config, WarmRunConfig) else math.inf
