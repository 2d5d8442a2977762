"""The private step, looked at: a small run on the page, and the records of two disclosed experiments on MNIST.

Norms: the critic's gradients over training, which no private run may publish.  Trial: short runs at one epsilon, where
C and the noise multiplier differ.
"""

import copy
import math
from dataclasses import dataclass, replace

from torch import Tensor

from dpgan_lib import data
from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.loop import Records
from dpgan_lib.gan.state import State
from dpgan_lib.measures import probe
from dpgan_lib.privacy import accounting, calibration
from dpgan_lib.profiles import PROFILES
from dpgan_lib.records import store
from dpgan_lib.report import numbers
from dpgan_lib.studies.parameters import RunParameters, plan_run, require
from dpgan_lib.studies.study import Plan, Study

DELTA = 1e-5
SHORT_RECIPE = EvaluationConfig(images=5_000, cnn_steps=200)  # many runs, no comparison with another chapter
LIVE_STEPS = 40  # critic steps of the page's own run
CLIP_NORMS = (1.0, 10.0, 100.0, 1000.0)  # of both experiments
BATCHES = (64, 256, 1024)  # of the sweep


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose of the page's own run: C, sigma, the expected batch q N, and the seed."""

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    batch: int = 128
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        half = data.card("digits").records // 2
        for name, low, high in (("clip_norm", 1e-3, 1e3), ("noise_multiplier", 0.3, 1e3)):
            value = getattr(self, name)
            require(type(value) in (int, float) and low <= value <= high, name, value,
                    f"must be a number in [{low:g}, {high:g}]. Try 1")
        require(type(self.batch) is int and 16 <= self.batch <= half, "batch", self.batch,
                f"must be a whole number in [16, {half}], up to half of the records. Try 128")
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")


def run_of(asked: Parameters) -> RunConfig:
    """The page's own run: the smoke profile's networks on the embedded digits. Its epsilon is what it spends, rounded
    up.

    Rounded, for it names the run's random numbers, and the last digits of a PLD differ between machines.
    """
    base = RunParameters(dataset="digits", profile="smoke", seed=asked.seed)
    mechanism = dict(noise_multiplier=float(asked.noise_multiplier), steps=LIVE_STEPS)
    rate = asked.batch / data.card("digits").records
    spent = math.ceil(1000 * accounting.epsilon_pld(**mechanism, sampling_rate=rate, delta=DELTA)) / 1000
    return _run(base, epsilon=spent, clip_norm=float(asked.clip_norm), expected_batch=asked.batch,
                **mechanism)


def _run(base: RunParameters, **privacy) -> RunConfig:
    """The base's run with another private step. privacy: fields of PrivacyConfig."""
    config = plan_run(replace(base, epsilon="inf"))  # without a calibration that is not needed
    return replace(config, privacy=replace(config.privacy, **privacy))


def follow(config: RunConfig, records: Records, critics: list[dict[str, Tensor]] | None = None,
           ) -> tuple[State, list[dict[str, Tensor]]]:
    """A run to its end, and the critic's weights after each of its steps.

    critics: those of another run, put in the place of this run's own. Then G and Q learn from what that run's critic
    step published, whatever the records are.
    """
    published = []

    def step(critic, *arguments):
        steps.critic_step(critic, *arguments)
        if critics is not None:
            critic.load_state_dict(critics[len(published)])
        published.append(copy.deepcopy(critic.state_dict()))

    *_, state = probe.states(config, records, every=config.privacy.steps, step_of_critic=step)
    return state, published


# The records: two kinds of experiment

@dataclass(frozen=True, kw_only=True)
class _Experiment:
    """A run that a record is about: its profile's, with another private step. epsilon: total, or "inf"."""

    epsilon: float | str
    dataset: str = "mnist"
    profile: str = "laptop"
    steps: int
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError as RunParameters does."""
        self.base.check()

    @property
    def base(self) -> RunParameters:
        return RunParameters(epsilon=self.epsilon, dataset=self.dataset, profile=self.profile, seed=self.seed,
                             delta=DELTA)


@dataclass(frozen=True, kw_only=True)
class Norms(_Experiment):
    """Norms of the critic's gradients over a run, at the profile's batch and C. every: critic steps between two
    looks.
    """

    steps: int = 1_000
    every: int = 40


def plan_norms(asked: Norms) -> Plan:
    """The run is one field of many: what is recorded here is not private, and claims no epsilon."""
    profile = PROFILES[asked.profile]
    run = _calibrated(asked.base, expected_batch=profile.expected_batch, steps=asked.steps, clip_norm=profile.clip_norm)
    name = numbers.epsilon_name(store.number(asked.epsilon))
    return Plan(run=run, card=data.card(asked.dataset), claims_epsilon=False, config={
        "experiment": f"norms over training, {name}", "run": run.to_dict(), "every": asked.every,
        "records": probe.RECORDS, "clip_norms": CLIP_NORMS, "quantiles": probe.QUANTILES})


def measure_norms(asked: Norms, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    loop.keep_freed_memory()
    records = loop.on_device(plan.run, files.train_images, files.train_labels)
    return {"looks": probe.gradient_norms(plan.run, records, asked.every, CLIP_NORMS)}, {}


@dataclass(frozen=True, kw_only=True)
class Trial(_Experiment):
    """A short run at one epsilon: its C is given, and sigma follows from its expected batch."""

    clip_norm: float
    batch: int
    epsilon: float = 1.0
    steps: int = 400


def plan_trial(asked: Trial) -> Plan:
    """The run's own configuration: its generator is private, and its accuracy reads test images alone."""
    run = _calibrated(asked.base, expected_batch=asked.batch, steps=asked.steps, clip_norm=asked.clip_norm)
    return Plan(run=replace(run, evaluation=SHORT_RECIPE), card=data.card(asked.dataset))


def measure_trial(asked: Trial, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    loop.keep_freed_memory()
    records = loop.on_device(plan.run, files.train_images, files.train_labels)
    *_, state = probe.states(plan.run, records, every=asked.steps)
    progress()
    return {"ten_cnn": probe.accuracy(plan.run, plan.run.evaluation, state, files.test_images, files.test_labels)}, {}


def _calibrated(base: RunParameters, *, expected_batch: int, steps: int, clip_norm: float) -> RunConfig:
    """The base's run with that batch, steps and C, and the noise that its epsilon needs; without privacy, no C."""
    noise = calibration.calibrate_noise(epsilon=base.target_epsilon, delta=base.delta, steps=steps,
                                        sampling_rate=expected_batch / data.card(base.dataset).records)
    return _run(base, epsilon=base.target_epsilon, delta=base.delta, expected_batch=expected_batch, steps=steps,
                clip_norm=clip_norm if noise else math.inf, noise_multiplier=noise)


NORMS = Study(
    chapter="private_step", kind="norms", asked=Norms, plan=plan_norms, training_set=None, measure=measure_norms,
    grid=tuple(Norms(epsilon=epsilon) for epsilon in (10.0, "inf")))
TRIALS = Study(
    chapter="private_step", kind="trial", asked=Trial, plan=plan_trial, training_set=None, measure=measure_trial,
    vary=("seed", "clip_norm", "batch"),
    grid=tuple(Trial(clip_norm=clip_norm, batch=batch) for batch in BATCHES for clip_norm in CLIP_NORMS))
