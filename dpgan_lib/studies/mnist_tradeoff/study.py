"""The MNIST study: privacy against utility, by the paper's method, by this book's, and by each half of this book's."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from dpgan_lib import data
from dpgan_lib.config import (
    EvaluationConfig,
    PrototypeConfig,
    PrototypeStartConfig,
    ReaderConfig,
    ReadRunConfig,
    RunConfig,
    WarmRunConfig,
)
from dpgan_lib.measures import classifiers, utility
from dpgan_lib.privacy import calibration
from dpgan_lib.privacy.calibration import Share
from dpgan_lib.privacy.streams import stream
from dpgan_lib.records.store import Record
from dpgan_lib.report.figures import png
from dpgan_lib.studies.mnist_tradeoff import reading
from dpgan_lib.studies.parameters import RunParameters, configure, require, require_one_of, without_labels
from dpgan_lib.studies.study import SAMPLES, Plan, Study, Trained, weights
from dpgan_lib.warm_start.generators import Z_DIM

# Each takes one ingredient out of "both", or puts a plainer one in its place.
ABLATIONS = {
    "none": {},
    "unaligned": {"candidates": 1},
    "one_style": {"rounds": 1},
    "unfitted": {"fit_steps": 0},
    "no_witness": {"witness_weight": 0.0},
    "unbounded": {"spectral_norm": float("inf")},
    "last_weights": {"averaging": 0.0},
}
ABLATION_WORDS = {
    "none": "all of it",
    "unaligned": "records are not aligned before they are averaged",
    "one_style": "one prototype a class",
    "unfitted": "prototypes alone: no step is taken towards the mean embedding",
    "no_witness": "the trained critic without the closed-form one",
    "unbounded": "the critic's layers without a bound on their norm",
    "last_weights": "the generator's last weights, not their running mean",
}
RELEASE_SHARE = 0.7  # of epsilon, what the releases alone would spend where DP-SGD follows

# A run with a reader: its parts' shares of epsilon, in the order in which they run; and the reader's sizes by profile.
SHARES = {"release": 0.4, "reader": 0.4, "critic": 0.2}
READERS = {
    "smoke": dict(expected_batch=200, steps=10, images=200, directions=50),
    "laptop": dict(expected_batch=8_192, steps=200, images=10_000, directions=800),
    "paper": dict(expected_batch=8_192, steps=200, images=10_000, directions=800),
}
READER_RATE, LARGEST_RATE = 800.0, 1_000.0  # of the reader, times its noise multiplier: less noise, larger steps

SIZES = {  # profile -> what its warm start and its evaluation take
    "smoke": dict(most_rounds=2, candidates=8, frequencies=100, fit_steps=5, batch=60, steps=24, images=600,
                  cnn_steps=14),
    "laptop": dict(most_rounds=6, candidates=64, frequencies=1_000, fit_steps=300, batch=200, steps=600, images=60_000,
                   cnn_steps=2_100),
    "paper": dict(most_rounds=6, candidates=256, frequencies=4_000, fit_steps=3_000, batch=500, steps=20_000,
                  images=60_000, cnn_steps=7_500),
}


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
    """As for any run. method: one of METHODS.  ablation: of ABLATIONS, for the method "both"."""

    method: str = "both"
    ablation: str = "none"

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        super().check()
        require_one_of("method", self.method, METHODS)
        require_one_of("ablation", self.ablation, ABLATIONS)
        require(self.ablation == "none" or self.method == "both", "ablation", self.ablation,
                'takes something out of method="both": leave it at "none" for another method')


def run_of(asked: Parameters, records: int | None = None) -> RunConfig:
    """The run that is asked for, its noise calibrated. Opens no data. Raises ValueError for what makes no sense.

    records: N, where it is not the data set's.
    """
    asked.check()
    return METHODS[asked.method].run_of(asked, records or data.card(asked.dataset).records)


def plan(asked: Parameters) -> Plan:
    return Plan(run=run_of(asked), card=data.card(asked.dataset))


def _from_the_first_step(asked: Parameters, records: int) -> RunConfig:
    sizes = SIZES[asked.profile]
    return replace(configure(_base(asked), records),
                   evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["cnn_steps"]))


def _as_in_the_paper(asked: Parameters, records: int) -> RunConfig:
    return without_labels(_from_the_first_step(asked, records))


def _base(asked, **changes):
    values = {field.name: getattr(asked, field.name) for field in fields(RunParameters)}
    return RunParameters(**values | changes)


def _warm(asked: Parameters, records: int) -> WarmRunConfig:
    """A run with a warm start. Its numbers were chosen on the grown digits, and on a held-out part of MNIST's training
    set where the page says so.
    """
    steps = SIZES[asked.profile]["steps"] if asked.method == "both" else 0
    rate = configure(_base(asked, epsilon="inf"), records).privacy.sampling_rate
    return _warm_with(asked, records, steps, *noises(asked, rate, steps), ABLATIONS[asked.ablation])


def _warm_with(asked: RunParameters, records: int, steps: int, release_noise: float, noise: float,
               ablation: dict) -> WarmRunConfig:
    sizes = _sizes(asked.profile, asked.target_epsilon) | ablation
    config = configure(_base(asked, epsilon="inf"), records)
    weight, info = sizes["witness_weight"], float(asked.info_weight)
    warm_start = PrototypeStartConfig(
        release_noise=release_noise, embedding_share=0.2,
        prototypes=PrototypeConfig(rounds=sizes["rounds"], candidates=sizes["candidates"], level=0.35),
        frequencies=sizes["frequencies"], steps=sizes["fit_steps"], batch=sizes["batch"], rate=0.01, image_rate=0.3,
        network_rate=0.1, info_weight=info / 10, averaging=sizes["averaging"], witness_weight=weight)
    changes = dict(
        latent=replace(config.latent, z_dim=Z_DIM),
        model=replace(config.model, conditional=True, spectral_norm=sizes["spectral_norm"]),
        privacy=replace(config.privacy, epsilon=asked.target_epsilon, steps=steps, noise_multiplier=noise,
                        clip_norm=1.0 if noise else config.privacy.clip_norm),
        optimiser=replace(config.optimiser, critic_rate=1e-3, generator_rate=1e-3, info_weight=info, fakes=128,
                          pool=512, critic_steps=4, averaging=sizes["averaging"]),
        evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["cnn_steps"]))
    return WarmRunConfig(**vars(config) | changes, warm_start=warm_start)


@lru_cache(maxsize=256)
def noises_of_three(epsilon: float, delta: float, *shares: Share) -> tuple[float, ...]:
    """The noise multipliers of parts that spend epsilon together; zeros without privacy."""
    return tuple(part.noise_multiplier
                 for part in calibration.split_among(epsilon=epsilon, delta=delta, shares=shares))


def _sizes(profile: str, epsilon: float) -> dict:
    sizes = SIZES[profile]
    return sizes | {"rounds": min(rounds_at(epsilon), sizes["most_rounds"]), "witness_weight": 10.0,
                    "spectral_norm": 1.0, "averaging": 0.95}


@lru_cache(maxsize=256)  # a chapter asks several times for what takes seconds
def noises(asked: Parameters, sampling_rate: float, steps: int) -> tuple[float, float]:
    """(release_noise, noise_multiplier) that spend epsilon together; zeros without privacy."""
    if asked.target_epsilon == float("inf"):
        return 0.0, 0.0
    return calibration.split_budget(epsilon=asked.target_epsilon, delta=asked.delta,
                                    sampling_rate=sampling_rate, steps=steps,
                                    release_share=RELEASE_SHARE if steps else 1.0)


def rounds_at(epsilon: float) -> int:
    """Rounds of prototypes: more styles where there is less noise. A public rule, fitted to the grown digits."""
    return 6 if epsilon == float("inf") else int(np.clip(np.floor(4 + 2 * np.log10(epsilon)), 2, 6))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method. words: what it is.  name: in tables.  info_weight: lambda of its published runs.

    run_of: (what is asked for, N) -> the configuration of its run.
    """

    words: str
    name: str
    info_weight: float
    run_of: Callable[[Parameters, int], RunConfig]


METHODS = {
    "paper": Recipe(words="as in the paper: a critic of images alone, DP-SGD from the first step",
                    name="as in the paper",
                    info_weight=1.0, run_of=_as_in_the_paper),
    "dp_sgd": Recipe(words="a critic of images with labels, DP-SGD from the first step", name="DP-SGD alone",
                     info_weight=0.1, run_of=_from_the_first_step),
    "releases": Recipe(words="releases alone, and a generator fitted to them", name="releases alone",
                       info_weight=0.1, run_of=_warm),
    "both": Recipe(words="this book's: releases, then DP-SGD", name="this book's", info_weight=0.1, run_of=_warm),
}


# What is measured

def measure(asked: Parameters, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """Utility and fidelity; a sample grid and the weights."""
    config = plan.run
    metrics = utility.measure(config, trained, files, progress)
    grid = classifiers.sample_grid(trained.average, config.latent, stream(config.randomness, "evaluation", 2))
    return metrics, {SAMPLES: png(grid)} | weights(trained)


def trained(records: list[Record]) -> list[Record]:
    """The records of the study that are of trained generators."""
    return [record for record in records if record.kind == STUDY.kind]


def _published(method: str, epsilon: float | str, seed: int = 0, ablation: str = "none") -> Parameters:
    return Parameters(method=method, epsilon=epsilon, seed=seed, ablation=ablation,
                      info_weight=METHODS[method].info_weight)


def _relative(values: dict) -> dict:
    """Lambda follows from the method: where no label ties a code to a digit it must be larger."""
    return values | {"info_weight": values["info_weight"] / METHODS[values["method"]].info_weight}


SEEDED, SEEDS = (1.0, 10.0, "inf"), (0, 1, 2)
BETWEEN = (0.2, 0.5, 2.0, 5.0)  # epsilons with one seed
ABLATED_AT = 2.0  # epsilon: where noise matters
STUDY = Study(
    chapter="mnist_tradeoff", asked=Parameters, plan=plan, measure=measure,
    vary=("epsilon", "seed", "method", "ablation"), compared=_relative,
    grid=(*(_published(method, epsilon, seed) for seed in SEEDS for method in ("both", "paper") for epsilon in SEEDED),
          *(_published("both", epsilon) for epsilon in BETWEEN),
          *(_published("both", ABLATED_AT, ablation=ablation) for ablation in ABLATIONS if ablation != "none"),
          *(_published(method, epsilon, seed) for seed in SEEDS for method in ("dp_sgd", "releases")
            for epsilon in SEEDED if epsilon != "inf")))


# The ceiling: the same classifiers, trained on real images

@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Real training images in the place of generated ones. Its record is disclosed: it reads data and claims no
    epsilon.
    """

    dataset: str = "mnist"
    profile: str = "laptop"

    def check(self) -> None:
        """Raises ValueError as Parameters does."""
        Parameters(dataset=self.dataset, profile=self.profile).check()


def plan_ceiling(asked: Ceiling) -> Plan:
    sizes = SIZES[asked.profile]
    recipe = EvaluationConfig(images=sizes["images"], cnn_steps=sizes["cnn_steps"])
    return Plan(run=recipe, card=data.card(asked.dataset), claims_epsilon=False, config={
        "experiment": "real images (ceiling)", "dataset": asked.dataset, "profile": asked.profile,
        "images": recipe.images, "cnn_steps": recipe.cnn_steps})


def measure_ceiling(asked: Ceiling, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    """The classifiers' accuracies after learning from real images: from as many as there are, if fewer are."""
    recipe = plan.run
    real = utility.of_images(files.train_images[: recipe.images], files.train_labels[: recipe.images],
                             (files.test_images, files.test_labels), recipe, np.random.default_rng(0), pair_cnns=True)
    return {"real": real}, {}


CEILING = Study(chapter="mnist_tradeoff", kind="ceiling", asked=Ceiling, plan=plan_ceiling, training_set=None,
                measure=measure_ceiling, grid=(Ceiling(),))


# With a private reader

@dataclass(frozen=True, kw_only=True)
class ReadParameters(RunParameters):
    """As for any run, by this book's method with a private reader between its releases and DP-SGD."""


def run_with_reader(asked: ReadParameters) -> ReadRunConfig:
    asked.check()
    return configure_with_reader(asked, data.card(asked.dataset).records)


def configure_with_reader(asked: RunParameters, records: int) -> ReadRunConfig:
    """The whole method on data of that many records, with a private reader before the critic's steps, for parameters
    that were checked. The reader's numbers were chosen on a held-out part of MNIST's training set, with published
    generators.
    """
    sizes, steps = READERS[asked.profile], SIZES[asked.profile]["steps"]
    expected_batch = min(sizes["expected_batch"], records // 2)
    critic_rate = configure(_base(asked, epsilon="inf"), records).privacy.sampling_rate
    release_noise, reader_noise, noise = noises_of_three(
        asked.target_epsilon, asked.delta, Share(share=SHARES["release"], sampling_rate=1.0, steps=1),
        Share(share=SHARES["reader"], sampling_rate=expected_batch / records, steps=sizes["steps"]),
        Share(share=SHARES["critic"], sampling_rate=critic_rate, steps=steps))
    rate = min(READER_RATE / reader_noise, LARGEST_RATE) if reader_noise else LARGEST_RATE
    return ReadRunConfig(
        **vars(_warm_with(asked, records, steps, release_noise, noise, ABLATIONS["none"])),
        reader=ReaderConfig(share=SHARES["reader"], **sizes | {"expected_batch": expected_batch}, clip_norm=0.1,
                            noise_multiplier=reader_noise, rate=rate, exponent=0.25, floor=0.01))


def plan_with_reader(asked: ReadParameters) -> Plan:
    return Plan(run=run_with_reader(asked), card=data.card(asked.dataset))


READING = Study(chapter="mnist_tradeoff", kind="reader", asked=ReadParameters, plan=plan_with_reader,
                measure=reading.measure,
                grid=tuple(ReadParameters(epsilon=epsilon, seed=seed) for seed in SEEDS
                           for epsilon in (BETWEEN[0], *SEEDED)))
