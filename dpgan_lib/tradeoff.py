"""The MNIST study: privacy against utility, by the paper's method, by this book's, and by each half of this book's."""

import time
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from dpgan_lib import accounting, data, experiment, results, runs, utility
from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.deforming import Z_DIM
from dpgan_lib.experiment import require
from dpgan_lib.results import Record
from dpgan_lib.state import hardware
from dpgan_lib.studies import Study
from dpgan_lib.warm_config import PrototypeConfig, PrototypeStartConfig, WarmRunConfig

STUDY_NAME = "mnist_tradeoff"
METHODS = {
    "paper": "as in the paper: a critic of images alone, DP-SGD from the first step",
    "dp_sgd": "a critic of images with labels, DP-SGD from the first step",
    "releases": "releases alone, and a generator fitted to them",
    "both": "this book's: releases, then DP-SGD",
}
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
INFO_WEIGHTS = {"paper": 1.0, "dp_sgd": 0.1, "releases": 0.1, "both": 0.1}  # lambda of the published runs, by method
RELEASE_SHARE = 0.7  # of epsilon, what the releases alone would spend where DP-SGD follows
SIZES = {  # profile -> what its warm start and its evaluation take
    "smoke": dict(most_rounds=2, candidates=8, frequencies=100, fit_steps=5, batch=60, steps=24, images=600,
                  cnn_steps=14),
    "laptop": dict(most_rounds=6, candidates=64, frequencies=1_000, fit_steps=300, batch=200, steps=600, images=60_000,
                   cnn_steps=1_400),
    "paper": dict(most_rounds=6, candidates=256, frequencies=4_000, fit_steps=3_000, batch=500, steps=20_000,
                  images=60_000, cnn_steps=5_000),
}


@dataclass(frozen=True, kw_only=True)
class Parameters(experiment.Parameters):
    """As for any run. method: one of METHODS.  ablation: of ABLATIONS, for the method "both"."""

    method: str = "both"
    ablation: str = "none"

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        super().check()
        for name, known in (("method", METHODS), ("ablation", ABLATIONS)):
            value = getattr(self, name)
            require(isinstance(value, str) and value in known, name, value,
                    f"must be one of {', '.join(known)}" + experiment.suggestion(str(value), known))
        require(self.ablation == "none" or self.method == "both", "ablation", self.ablation,
                'takes something out of method="both": leave it at "none" for another method')


def plan(parameters: Parameters, records: int | None = None) -> RunConfig:
    """The run that the parameters ask for, its noise calibrated. Opens no data. Raises ValueError as experiment's.

    records: N, where it is not the data set's.
    """
    parameters.check()
    records = records or data.card(parameters.dataset).records
    if parameters.method in ("releases", "both"):
        return _warm(parameters, records)
    config = experiment.configure(_base(parameters), records)
    config = experiment.without_labels(config) if parameters.method == "paper" else config
    sizes = SIZES[parameters.profile]
    return replace(config, evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["cnn_steps"]))


def _base(parameters, **changes):
    values = {field.name: getattr(parameters, field.name) for field in fields(experiment.Parameters)}
    return experiment.Parameters(**values | changes)


def _warm(parameters: Parameters, records: int) -> WarmRunConfig:
    """A run with a warm start. Its numbers were chosen on the grown digits, and on a held-out part of MNIST's training
    set where the page says so.
    """
    sizes = _sizes(parameters.profile, parameters.target_epsilon) | ABLATIONS[parameters.ablation]
    steps = sizes["steps"] if parameters.method == "both" else 0
    config = experiment.configure(_base(parameters, epsilon="inf"), records)
    release_noise, noise = noises(parameters, config.privacy.sampling_rate, steps)
    weight, info = sizes["witness_weight"], float(parameters.info_weight)
    warm_start = PrototypeStartConfig(
        release_noise=release_noise, embedding_share=0.2,
        prototypes=PrototypeConfig(rounds=sizes["rounds"], candidates=sizes["candidates"], level=0.35),
        frequencies=sizes["frequencies"], steps=sizes["fit_steps"], batch=sizes["batch"], rate=0.01, image_rate=0.3,
        network_rate=0.1, info_weight=info / 10, averaging=sizes["averaging"], witness_weight=weight)
    changes = dict(
        latent=replace(config.latent, z_dim=Z_DIM),
        model=replace(config.model, conditional=True, spectral_norm=sizes["spectral_norm"]),
        privacy=replace(config.privacy, epsilon=parameters.target_epsilon, steps=steps, noise_multiplier=noise,
                        clip_norm=1.0 if noise else config.privacy.clip_norm),
        optimiser=replace(config.optimiser, critic_rate=1e-3, generator_rate=1e-3, info_weight=info, fakes=128,
                          pool=512, critic_steps=4, averaging=sizes["averaging"]),
        evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["cnn_steps"]))
    return WarmRunConfig(**vars(config) | changes, warm_start=warm_start)


def _sizes(profile: str, epsilon: float) -> dict:
    sizes = SIZES[profile]
    return sizes | {"rounds": min(rounds_at(epsilon), sizes["most_rounds"]), "witness_weight": 10.0,
                    "spectral_norm": 1.0, "averaging": 0.95}


@lru_cache(maxsize=256)  # a chapter asks several times for what takes seconds
def noises(parameters: Parameters, sampling_rate: float, steps: int) -> tuple[float, float]:
    """(release_noise, noise_multiplier) that spend epsilon together; zeros without privacy."""
    if parameters.target_epsilon == float("inf"):
        return 0.0, 0.0
    return accounting.split_budget(epsilon=parameters.target_epsilon, delta=parameters.delta,
                                   sampling_rate=sampling_rate, steps=steps,
                                   release_share=RELEASE_SHARE if steps else 1.0)


def rounds_at(epsilon: float) -> int:
    """Rounds of prototypes: more styles where there is less noise. A public rule, fitted to the grown digits."""
    return 6 if epsilon == float("inf") else int(np.clip(np.floor(4 + 2 * np.log10(epsilon)), 2, 6))


def method_of(config: RunConfig) -> str:
    """The method of a run, by its configuration."""
    if isinstance(config, WarmRunConfig):
        return "both" if config.privacy.steps else "releases"
    return "dp_sgd" if config.model.conditional else "paper"


def ablation_of(config: RunConfig) -> str:
    """The ablation of a run, by its configuration; "none" for a method that has no ablations."""
    if method_of(config) != "both":
        return "none"
    warm_start, sizes = config.warm_start, _sizes(config.profile, config.privacy.epsilon)
    found = sizes | {"candidates": warm_start.prototypes.candidates, "rounds": warm_start.prototypes.rounds,
                     "fit_steps": warm_start.steps, "witness_weight": warm_start.witness_weight,
                     "spectral_norm": config.model.spectral_norm, "averaging": warm_start.averaging}
    return next((name for name, changes in ABLATIONS.items() if sizes | changes == found), "another")


def is_same_sweep(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs are points of one figure: method, epsilon, what follows from these, and seed may differ.

    Lambda follows from the method: where no label ties a code to a digit it must be larger.
    """
    def rest(config):
        info = config.optimiser.info_weight / INFO_WEIGHTS[method_of(config)]
        return config.dataset, config.profile, config.privacy.delta, info, config.evaluation

    return rest(one) == rest(other)


def obtain(parameters: Parameters, *, study: str = STUDY_NAME, fresh: bool = False, max_minutes: float | None = None,
           progress: bool = True) -> Record | None:
    """The run's record, as experiment.obtain gives it."""
    config = plan(parameters)
    return experiment.obtain(study, config, fresh=fresh, max_minutes=max_minutes, progress=progress,
                             evaluate=utility.measure, entries=(*runs.entries(config), "utility"))


# The ceiling: the same classifiers, trained on real images

@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Real training images in the place of generated ones. Its record is disclosed: it reads data and claims no epsilon."""

    dataset: str = "mnist"
    profile: str = "laptop"

    def check(self) -> None:
        """Raises ValueError as Parameters does."""
        Parameters(dataset=self.dataset, profile=self.profile).check()

    @property
    def config(self) -> dict:
        sizes = SIZES[self.profile]
        return {"experiment": "real images (ceiling)", "dataset": self.dataset, "profile": self.profile,
                "images": sizes["images"], "cnn_steps": sizes["cnn_steps"]}

    @property
    def address(self) -> str:
        return results.content_address(self.config, data.card(self.dataset).to_dict())

    def compute(self, progress: bool) -> Record:
        """Train the classifiers on real images and store the record. As many images as there are, if fewer."""
        files, started = data.load(self.dataset, progress=progress), time.monotonic()
        origin = results.provenance(entries=("utility",)) | {"trained_on": hardware()}
        recipe = EvaluationConfig(images=self.config["images"], cnn_steps=self.config["cnn_steps"])
        real = utility.of_images(files.train_images[: recipe.images], files.train_labels[: recipe.images], files, recipe,
                                 np.random.default_rng(0), pair_cnns=True)
        content = {"mode": "demo", "config": self.config, "card": files.card.to_dict(), "privacy": {},
                   "metrics": {"real": real}, "seconds": {"evaluation": round(time.monotonic() - started, 1)},
                   "provenance": origin}
        return results.write(STUDY_NAME, self.address, content, {})


def trained(records: list[Record]) -> list[Record]:
    """The records of the study that are of trained generators."""
    return [record for record in records if "experiment" not in record.content["config"]]


def _compute(parameters, progress):
    return parameters.compute(progress) if isinstance(parameters, Ceiling) else obtain(
        parameters, fresh=True, progress=progress)


def _published(method: str, epsilon: float | str, seed: int = 0, ablation: str = "none") -> Parameters:
    return Parameters(method=method, epsilon=epsilon, seed=seed, ablation=ablation, info_weight=INFO_WEIGHTS[method])


SEEDED, SEEDS = (1.0, 10.0, "inf"), (0, 1, 2)
BETWEEN = (0.2, 0.5, 2.0, 5.0)  # epsilons with one seed
ABLATED_AT = 2.0  # epsilon: where noise matters
STUDY = Study(
    grid=(Ceiling(),
          *(_published(method, epsilon, seed) for seed in SEEDS for method in ("both", "paper") for epsilon in SEEDED),
          *(_published("both", epsilon) for epsilon in BETWEEN),
          *(_published("both", ABLATED_AT, ablation=ablation) for ablation in ABLATIONS if ablation != "none"),
          *(_published(method, epsilon, seed) for seed in SEEDS for method in ("dp_sgd", "releases")
            for epsilon in SEEDED if epsilon != "inf")),
    address=lambda asked: asked.address if isinstance(asked, Ceiling) else experiment.run_id(plan(asked)),
    compute=_compute)
