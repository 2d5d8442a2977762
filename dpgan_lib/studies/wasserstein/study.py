"""The studies of Wasserstein distances: a private GAN in the plane, and the stability of GANs on MNIST."""

import math
from dataclasses import dataclass

import numpy as np

from dpgan_lib import data
from dpgan_lib.config import PrivacyConfig
from dpgan_lib.gan.loop import keep_freed_memory
from dpgan_lib.privacy import calibration
from dpgan_lib.privacy.streams import stream
from dpgan_lib.report.figures import png
from dpgan_lib.studies.parameters import RunParameters, require_one_of
from dpgan_lib.studies.study import SAMPLES, Plan, Study
from dpgan_lib.studies.wasserstein import stability, toy
from dpgan_lib.studies.wasserstein.distance import LIPSCHITZ, STRENGTH
from dpgan_lib.studies.wasserstein.stability import SweepConfig
from dpgan_lib.studies.wasserstein.toy import ToyConfig

DELTA = 1e-5  # total, below 1/N of either data set
RING = {"name": "ring", "title": "Eight Gaussians on a circle", "unit": "one point", "classes": toy.MODES,
        "caption": "points in the plane, drawn from a known law"}
TOY = {  # by profile.  Rates and the penalty's weight were tried without noise, on draws of the law
    "smoke": dict(records=1_000, batch=50, steps=40, ratios=(1, 5), rate=3e-3, fakes=50, judged=100),
    "laptop": dict(records=10_000, batch=128, steps=1_000, ratios=(1, 5, 20, 50), rate=3e-3, fakes=128, judged=1_000),
}
SWEEP = {  # by profile
    "smoke": dict(dataset="digits", rates=(1e-3,), widths=(8,), weight_clip=0.1, critic_steps=2, judged=200,
                  judge_steps=20, batch=32, steps=10),
    "laptop": dict(dataset="mnist", rates=(1e-3, 1e-2, 1e-1), widths=(8, 16), weight_clip=0.1, critic_steps=2,
                   judged=2_000, judge_steps=600, batch=64, steps=800),
}


def plan_privacy(epsilon: float, records: int, batch: int, steps: int) -> PrivacyConfig:
    """C = 1 and calibrated noise; for an infinite epsilon neither."""
    noise = calibration.calibrate_noise(epsilon=epsilon, delta=DELTA, sampling_rate=batch / records, steps=steps)
    return PrivacyConfig(epsilon=epsilon, delta=DELTA, records=records, expected_batch=batch, steps=steps,
                         clip_norm=1.0 if noise else math.inf, noise_multiplier=noise)


# A private GAN in the plane

@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose: one point of the private GAN in the plane.

    epsilon: total, at delta = 1e-5, for adding or removing one point; "inf": no privacy.  lipschitz: of LIPSCHITZ.
    """

    epsilon: float | str = 1.0
    seed: int = 0
    profile: str = "laptop"
    lipschitz: str = "clip"

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        RunParameters(epsilon=self.epsilon, seed=self.seed, dataset="digits").check()
        require_one_of("profile", self.profile, TOY)
        require_one_of("lipschitz", self.lipschitz, LIPSCHITZ)


def plan_toy(asked: Parameters) -> Plan:
    """Its noise calibrated. Raises ValueError for an epsilon that no noise reaches."""
    asked.check()
    sizes = dict(TOY[asked.profile])
    card = RING | {"records": sizes["records"]}
    privacy = plan_privacy(float(asked.epsilon), sizes.pop("records"), sizes.pop("batch"), sizes.pop("steps"))
    config = ToyConfig(profile=asked.profile, seed=asked.seed, lipschitz=asked.lipschitz,
                       strength=STRENGTH[asked.lipschitz], privacy=privacy, **sizes)
    return Plan(run=config, card=card)


def load_ring(asked: Parameters, progress: bool) -> np.ndarray:
    """The points of the data set: the same whatever the seed."""
    return toy.ring(TOY[asked.profile]["records"], stream("ring", "latent"))


def measure_toy(asked: Parameters, plan: Plan, trained: None, points: np.ndarray, progress) -> tuple[dict, dict]:
    return toy.measure(plan.run, points, progress), {}


STUDY = Study(
    chapter="wasserstein", kind="toy", asked=Parameters, plan=plan_toy, load=load_ring, training_set=None,
    measure=measure_toy, vary=("epsilon", "seed", "lipschitz"), threads=1,
    grid=tuple(Parameters(epsilon=epsilon, seed=seed, lipschitz=lipschitz)
               for seed in (0, 1, 2) for epsilon in (1.0, "inf") for lipschitz in LIPSCHITZ))


# The stability of GANs on MNIST

@dataclass(frozen=True, kw_only=True)
class Stability:
    """GANs that differ in loss, learning rate and width, at one seed."""

    seed: int = 0
    profile: str = "laptop"

    @property
    def dataset(self) -> str:
        return SWEEP[self.profile]["dataset"]

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        Parameters(seed=self.seed, profile=self.profile).check()


def plan_stability(asked: Stability) -> Plan:
    asked.check()
    sizes = dict(SWEEP[asked.profile])
    card = data.card(asked.dataset)
    privacy = plan_privacy(math.inf, card.records, sizes.pop("batch"), sizes.pop("steps"))
    return Plan(run=SweepConfig(profile=asked.profile, seed=asked.seed, privacy=privacy, **sizes), card=card)


def measure_stability(asked: Stability, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    keep_freed_memory()
    metrics, samples = stability.measure(plan.run, files, progress)
    return metrics, {SAMPLES: png(samples)}


STABILITY = Study(
    chapter="wasserstein", kind="stability", asked=Stability, plan=plan_stability, training_set=None,
    measure=measure_stability, vary=("seed",), threads=1, grid=tuple(Stability(seed=seed) for seed in (0, 1, 2)))
