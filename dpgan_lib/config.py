"""What defines a run: frozen, public numbers only. Their JSON and its hash travel with every result.

Nothing here is computed from data. What cannot change a result (device, threads, folders) lives elsewhere.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, is_dataclass


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """The prior on (z, c): z ~ N(0, I), c = one-hot categorical (uniform) + continuous in [-1, 1]."""

    z_dim: int
    categories: int
    continuous: int

    @property
    def code_dim(self) -> int:
        return self.categories + self.continuous


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Network sizes, and the set W that the critic lives in.

    conditional: the critic scores pairs (x, y); else images alone, and codes have but lambda L_I to hold on to.
    W = {w : |w_i| <= weight_clip, each layer's operator norm <= spectral_norm}; inf lifts either bound.
    """

    image_side: int
    channels: int
    generator_width: int
    critic_width: int
    conditional: bool
    weight_clip: float
    spectral_norm: float


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """The private step, T times. The unit is one record; neighbours differ by adding or removing one.

    records: N, declared.  expected_batch: q N, the public divisor.  steps: T critic steps.
    clip_norm: C, L2 over the critic's whole gradient (inf: no clipping).
    noise_multiplier: sigma; the noise's standard deviation is sigma * C (0: no privacy).
    """

    epsilon: float
    delta: float
    records: int
    expected_batch: int
    steps: int
    clip_norm: float
    noise_multiplier: float

    @property
    def sampling_rate(self) -> float:
        return self.expected_batch / self.records

    @property
    def is_private(self) -> bool:
        return self.noise_multiplier > 0 and math.isfinite(self.clip_norm)


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """How Eq. 1 is optimised. Learning rates are Adam's; info_weight is lambda, in units of f_w per nat.

    fakes: generated images in a critic step and in a generator step.
    pool: images generated between two generator steps, where G stands still; its critic steps take theirs from these.
    clip_fakes: clip the fake half per example too, with the same C (it costs no privacy and keeps the balance).
    critic_steps: critic steps for each generator step.  averaging: decay of the generator's running mean.
    """

    critic_rate: float
    generator_rate: float
    info_weight: float
    fakes: int
    pool: int
    clip_fakes: bool
    critic_steps: int
    averaging: float

    def __post_init__(self):
        if self.pool % self.fakes:
            raise ValueError(f"pool={self.pool} must be a multiple of fakes={self.fakes}: critic steps take it in turns")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Train on synthetic, test on real: how many images the classifiers learn from, and the CNN's optimiser steps."""

    images: int
    cnn_steps: int


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a result depends on but the data and the source.

    seed: names the random numbers of a demonstration, which is repeatable; None makes the run a release, whose noise
    nobody can repeat and subtract.
    """

    dataset: str
    profile: str
    seed: int | None
    latent: LatentConfig
    model: ModelConfig
    privacy: PrivacyConfig
    optimiser: OptimiserConfig
    evaluation: EvaluationConfig

    def to_dict(self) -> dict:
        """Plain JSON types; an infinite number becomes the string "inf", for strict JSON has no such number."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """Inverse of to_dict. Raises TypeError on a missing or an unknown field."""
        return _build(cls, values)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()

    @property
    def is_release(self) -> bool:
        return self.seed is None

    @property
    def randomness(self) -> str | None:
        """What streams.stream is told of the run: its hash, or nothing for a release."""
        return None if self.is_release else self.hash


def canonical_json(value) -> str:
    """Strict JSON, one spelling for each value: sorted keys, no spaces. Raises ValueError on nan or an infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value):
    """The value, a dict or a number, with "inf" for an infinity."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _build(cls, values: dict):
    types = {field.name: field.type for field in fields(cls)}
    return cls(**{name: _convert(types.get(name), value) for name, value in values.items()})


def _convert(kind, value):
    if is_dataclass(kind):
        return _build(kind, value)
    return float(value) if kind is float else value
