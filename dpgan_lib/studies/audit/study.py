"""The study of audits: one GAN on a small training set, looked at for memorisation; the same mechanism audited with
canaries; and, where it is private, the mechanism alone, whose audits are independent and so can be counted.
"""

import math
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np

from dpgan_lib import data
from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy import audit, calibration
from dpgan_lib.profiles import PROFILES
from dpgan_lib.report.figures import png
from dpgan_lib.studies.audit import memorisation
from dpgan_lib.studies.audit.alone import LENGTH, audited_run, repeated
from dpgan_lib.studies.parameters import RunParameters, plan_run, require
from dpgan_lib.studies.study import SAMPLES, Plan, Study

DELTA = 1e-5
LEVEL = 0.05  # of all bounds published together
BROKEN_CLAIM = 1.0  # epsilon that the mechanism without noise and clip is held against
LEAST_CANARIES, MOST_CANARIES = 100, 5000  # every profile's critic has more parameters
SHOWN = 10  # generated images in the picture


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a profile's records. images: of the training set, and of each of the three parts beside it.

    generated: images that the generator releases.  replications: audits of the mechanism alone.
    trials: of each test of it against its own trade-off curve.  The rest is as in RunConfig.
    """

    images: int
    expected_batch: int
    steps: int
    generated: int
    replications: int
    trials: int
    model: dict
    optimiser: dict


_SMALL = dict(fakes=50, pool=200, critic_steps=4)
SIZES = {
    "smoke": Size(images=100, expected_batch=25, steps=60, generated=100, replications=10, trials=500,
                  model={}, optimiser=dict(fakes=25, pool=50)),
    "laptop": Size(images=300, expected_batch=60, steps=3_000, generated=1_000, replications=100, trials=5_000,
                   model={}, optimiser=_SMALL),
    "paper": Size(images=300, expected_batch=60, steps=30_000, generated=10_000, replications=200, trials=5_000,
                  model={}, optimiser=_SMALL),
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose. epsilon: total, at DELTA, for adding or removing one record; "inf": no privacy.

    canaries: m of the audit.  seed: deals out the images, names the run's random numbers and flips the canaries' coins.
    """

    epsilon: float | str = 10.0
    dataset: str = "mnist"
    profile: str = "laptop"
    seed: int = 0
    canaries: int = 1000

    @property
    def base(self) -> RunParameters:
        return RunParameters(epsilon=self.epsilon, dataset=self.dataset, profile=self.profile, seed=self.seed,
                             delta=DELTA)

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        self.base.check()
        require(type(self.canaries) is int and LEAST_CANARIES <= self.canaries <= MOST_CANARIES, "canaries",
                self.canaries, f"must be a whole number in [{LEAST_CANARIES}, {MOST_CANARIES}]: fewer show next to "
                "nothing, and more have too few coordinates each. Try 1000")


def card(asked: Parameters) -> data.DataCard:
    """Of the small training set: some images of the data set, dealt out at random."""
    whole, images = data.card(asked.dataset), SIZES[asked.profile].images
    return replace(whole, name=f"{whole.name}_{images}", title=f"{images} images of {whole.title}", records=images,
                   caption=f"{whole.caption}; {images} of them, dealt out by seed")


def run_of(asked: Parameters) -> RunConfig:
    """The GAN on the small training set, its noise calibrated. Opens no data."""
    size, epsilon = SIZES[asked.profile], asked.base.target_epsilon
    run = plan_run(replace(asked.base, epsilon="inf"))  # without a calibration that is not needed
    noise = calibration.calibrate_noise(epsilon=epsilon, delta=DELTA, steps=size.steps,
                                        sampling_rate=size.expected_batch / size.images)
    privacy = replace(run.privacy, epsilon=epsilon, records=size.images, expected_batch=size.expected_batch,
                      steps=size.steps, noise_multiplier=noise, clip_norm=clip_norm(asked) if noise else math.inf)
    return replace(run, dataset=card(asked).name, privacy=privacy, model=replace(run.model, **size.model),
                   optimiser=replace(run.optimiser, **size.optimiser))


def clip_norm(asked: Parameters) -> float:
    """The C that every run claims, also one that has dropped its clip."""
    return PROFILES[asked.profile].clip_norm


def plan(asked: Parameters) -> Plan:
    """The run, with the audit's numbers beside it in the record's configuration."""
    size, run = SIZES[asked.profile], run_of(asked)
    return Plan(run=run, card=card(asked), config=run.to_dict() | {"audit": {
        "canaries": asked.canaries, "guesses": 2 * audit.guessed(asked.canaries),
        "length": LENGTH * clip_norm(asked), "level": audit.level_of_each(AUDITS, LEVEL),
        "generated": size.generated, "swaps": memorisation.SWAPS,
        "replications": size.replications, "trials": size.trials}})


GRID = tuple(Parameters(epsilon=epsilon, seed=seed) for seed, epsilon in product((0, 1), (1.0, 10.0, "inf")))
AUDITS = 2 * len(GRID)  # bounds published together: of two auditors each


# What is measured

def measure(asked: Parameters, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    """Train, look and audit: metrics, and a picture of nearest neighbours."""
    loop.keep_freed_memory()
    run, size = plan.run, SIZES[asked.profile]
    dealt = memorisation.deal(len(files.train_images), size.images, asked.seed)
    parts = {name: files.train_images[indices] for name, indices in asdict(dealt).items()}
    generated = memorisation.release(run, parts["train"], files.train_labels[dealt.train], size.generated)
    progress()
    audits = _audits(run, asked, parts["train"], files.train_labels[dealt.train], _rng(plan, "coins"))
    progress()
    metrics = {"nearest": memorisation.nearest(parts, generated, _rng(plan, "swaps")),
               "attacks": memorisation.attacks(parts, generated),
               "learnt": classifiers.logistic_accuracy(generated, memorisation.classes(run, size.generated),
                                                       parts["held_out"], files.train_labels[dealt.held_out]),
               "audits": audits, "alone": _alone(run, asked, _rng(plan, "alone"))}
    return metrics, {SAMPLES: png(memorisation.neighbours(parts, generated[:SHOWN]))}


def _audits(run: RunConfig, asked: Parameters, images: np.ndarray, labels: np.ndarray,
            rng: np.random.Generator) -> dict[str, dict]:
    """By auditor, an audit of the same mechanism at work. Another data set, and so noise of its own."""
    audited = replace(run, dataset=f"{run.dataset} and {asked.canaries} canaries")
    heard, included = audited_run(audited, images, labels, asked.canaries, clip_norm(asked), rng)
    level = audit.level_of_each(AUDITS, LEVEL)
    return {auditor: asdict(audit.audit(scores, included, delta=DELTA, level=level))
            for auditor, scores in heard.scores.items()}


def _alone(run: RunConfig, asked: Parameters, rng: np.random.Generator) -> dict:
    """Audits and tests of the mechanism alone; none without noise, which hides nothing."""
    size = SIZES[asked.profile]
    return repeated(run.privacy, size.replications, canaries=asked.canaries, trials=size.trials,
                    level=audit.level_of_each(AUDITS, LEVEL), rng=rng) if run.privacy.is_private else {}


def _rng(plan: Plan, purpose: str) -> np.random.Generator:
    """Random numbers of a purpose; no two records share them."""
    return np.random.default_rng([int(plan.address, 16), *purpose.encode()])


STUDY = Study(chapter="audit", asked=Parameters, plan=plan, training_set=None, measure=measure, grid=GRID)
