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
            raise ValueError(f"pool={self.pool} must be a multiple of fakes={self.fakes}: critic steps take it in "
                             "turns")


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
    steps: of the generator.  batch: images in a step.  rate: Adam's at the start, which falls linearly to 0; images
    that are parameters move at image_rate times it, networks at network_rate times it.  info_weight: lambda, in units
    of |d|^2 per nat.  averaging: decay of the running mean.
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


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """The private reader: its step, taken `steps` times, and what it starts from. Public numbers, chosen on a held-out
    part of MNIST's training set. Unit, neighbours and N are those of the run that it belongs to.

    share: of epsilon, what its steps may spend.  expected_batch, clip_norm, noise_multiplier: as of PrivacyConfig, for
    the reader's whole gradient.
    rate: at the start, times the clip norm: how far one step may go where every record of a batch is clipped and all
    agree. It falls linearly to 0.
    images: of the generator, whose features are whitened and read before the first step.  directions: of largest
    variance among them, which are kept; each is divided by (its variance / their mean + floor)^exponent.
    """

    share: float
    expected_batch: int
    steps: int
    clip_norm: float
    noise_multiplier: float
    rate: float
    images: int
    directions: int
    exponent: float
    floor: float


@dataclass(frozen=True, kw_only=True)
class ReadRunConfig(WarmRunConfig):
    """A run with a private reader, which learns between the noisy sums and the critic's steps.

    privacy: its epsilon is that of all three; its noise that of the critic's steps.
    """

    reader: ReaderConfig


def reader_steps(config: RunConfig) -> dict | None:
    """The private reader's mechanism: noise_multiplier, sampling_rate and steps; None for a run without one."""
    if not isinstance(config, ReadRunConfig):
        return None
    reader = config.reader
    return {"noise_multiplier": reader.noise_multiplier, "steps": reader.steps,
            "sampling_rate": reader.expected_batch / config.privacy.records}


@dataclass(frozen=True, kw_only=True)
class FaceModelConfig:
    """What is released of faces before the embedding. Public numbers, set by hand on drawings and on CelebA's
    validation part, which trains nothing.

    luma, chroma: sides of the squares of low frequencies that are kept of brightness and of each of two colours.
    level: root mean square of an image's pixels in [-1, 1] above which it is dimmed, so that its norm is bounded.
    attribute_weight: of all attributes together in a record's row, where pixels weigh at most 1.
    components: eigenfaces of a generator; those that noise hides are 0 to start with.
    """

    luma: int
    chroma: int
    level: float
    attribute_weight: float
    components: int

    @property
    def width(self) -> int:
        """Frequencies kept of an image."""
        return self.luma**2 + 2 * self.chroma**2


@dataclass(frozen=True, kw_only=True)
class FaceStartConfig(WarmStartConfig):
    """A warm start whose first and only round releases second moments."""

    face_model: FaceModelConfig

    @property
    def first_rounds(self) -> int:
        return 1


@dataclass(frozen=True, kw_only=True)
class FaceRunConfig(WarmRunConfig):
    """A run on faces. A category of its code is a combination of attributes.

    attributes: their names, with commas between.  unit: whom epsilon protects, "image" or "person".
    """

    warm_start: FaceStartConfig
    attributes: str
    unit: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.attributes.split(","))


SUMS, READER, CRITIC = "noisy sums", "reader steps", "critic steps"  # parts of a run that a release is charged for


def mechanisms(config: RunConfig) -> tuple[tuple[str, dict], ...]:
    """All that a run spends epsilon on, in order: (SUMS, READER or CRITIC, {noise_multiplier, sampling_rate, steps}).

    What is charged as one part may be of several mechanisms, for the last noisy sum has other noise than those before.
    """
    found = []
    if isinstance(config, WarmRunConfig):
        start = config.warm_start
        found = [(SUMS, {"noise_multiplier": noise, "sampling_rate": 1.0, "steps": steps})
                 for noise, steps in ((start.round_noise, start.first_rounds), (start.embedding_noise, 1))]
    if reader := reader_steps(config):
        found.append((READER, reader))
    privacy = config.privacy
    critic = {"noise_multiplier": privacy.noise_multiplier, "sampling_rate": privacy.sampling_rate,
              "steps": privacy.steps}
    return (*found, (CRITIC, critic))


def charges(config: RunConfig) -> dict[str, int]:
    """How many steps, or sums, a release is charged for in all, by part."""
    found: dict[str, int] = {}
    for part, mechanism in mechanisms(config):
        found[part] = found.get(part, 0) + mechanism["steps"]
    return found


@dataclass(frozen=True, kw_only=True)
class InfoGANConfig:
    """What an InfoGAN has beside a run's networks and optimisers (Chen et al. 2016, section 7 and appendix C).

    loss: "js", whose critic's score is the logit of a discriminator, or "wasserstein".
    gradient_penalty: of the critic's gradient norm, about 1, between real and generated images (0: none).
    deformed: Q reads the category from a randomly deformed copy of the image.
    shared: Q reads the critic's features, and teaches them; else it has layers of its own.
    hidden: of the generator's first layer, and of the features.
    continuous_weight: of the continuous codes in L_I, where the category's is 1; 0 for the first continuous_after
        updates, so that categories have found what they mean before numbers can.
    falling: the share of the updates, the last ones, in which all rates fall to 0 on a line.
    """

    loss: str
    gradient_penalty: float
    deformed: bool
    shared: bool
    hidden: int
    continuous_weight: float
    continuous_after: int
    falling: float


@dataclass(frozen=True, kw_only=True)
class InfoGANRunConfig(RunConfig):
    """A run of an InfoGAN, without privacy.

    Of the optimiser's settings, `averaging`, `pool` and `clip_fakes` have no part in it.
    """

    infogan: InfoGANConfig


def config_from(values: dict) -> RunConfig:
    """The run that a dict describes, of the class of configurations that has just these fields.

    Raises TypeError where no class has: for a missing or an unknown field.
    """
    for kind in _kinds(RunConfig):
        if {field.name for field in fields(kind)} == set(values):
            return kind.from_dict(values)
    return RunConfig.from_dict(values)


def _kinds(kind: type[RunConfig]) -> list[type[RunConfig]]:
    """A class and all that are derived from it, in modules that have been loaded."""
    return [kind, *(below for child in kind.__subclasses__() for below in _kinds(child))]
