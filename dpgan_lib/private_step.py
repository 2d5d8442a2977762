"""The private step, looked at: a small run on the page, and the records of two disclosed experiments on MNIST.

Norms: the critic's gradients over training, which no private run may publish.  Sweep: short runs at one epsilon, where
C and the noise multiplier differ.
"""

import copy
import math
import time
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
from torch import Tensor

from dpgan_lib import accounting, data, experiment, probe, report, results, training
from dpgan_lib.config import RunConfig
from dpgan_lib.experiment import require
from dpgan_lib.results import Record
from dpgan_lib.state import hardware
from dpgan_lib.studies import Study

STUDY_NAME = "private_step"
DELTA = 1e-5
LIVE_STEPS = 40  # critic steps of the page's own run
CLIP_NORMS = (1.0, 10.0, 100.0, 1000.0)  # of both experiments
BATCHES = (64, 256, 1024)  # of the sweep
ALIKE = 0.1  # accuracies of two short runs that are closer than this are called alike: one seed tells no more


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


def plan(parameters: Parameters) -> RunConfig:
    """The page's own run: the smoke profile's networks on the embedded digits. Its epsilon is what it spends, rounded up.

    Rounded, for it names the run's random numbers, and the last digits of a PLD differ between machines.
    """
    base = experiment.Parameters(dataset="digits", profile="smoke", seed=parameters.seed)
    mechanism = dict(noise_multiplier=float(parameters.noise_multiplier), steps=LIVE_STEPS)
    rate = parameters.batch / data.card("digits").records
    spent = math.ceil(1000 * accounting.epsilon_pld(**mechanism, sampling_rate=rate, delta=DELTA)) / 1000
    return _run(base, epsilon=spent, clip_norm=float(parameters.clip_norm), expected_batch=parameters.batch,
                **mechanism)


def _run(base: experiment.Parameters, **privacy) -> RunConfig:
    """The base's run with another private step. privacy: fields of PrivacyConfig."""
    config = experiment.plan(replace(base, epsilon="inf"))  # without a calibration that is not needed
    return replace(config, privacy=replace(config.privacy, **privacy))


def follow(config: RunConfig, records: training.Records,
           critics: list[dict[str, Tensor]] | None = None) -> tuple[training.State, list[dict[str, Tensor]]]:
    """A run to its end, and the critic's weights after each of its steps.

    critics: those of another run, put in the place of this run's own. Then G and Q learn from what that run's critic
    step published, whatever the records are.
    """
    published, critic_step = [], training.critic_step

    def step(critic, *arguments):
        critic_step(critic, *arguments)
        if critics is not None:
            critic.load_state_dict(critics[len(published)])
        published.append(copy.deepcopy(critic.state_dict()))

    with mock.patch.object(training, "critic_step", step):
        *_, state = probe.states(config, records, every=config.privacy.steps)
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
        """Raises ValueError as experiment.Parameters does."""
        self.base.check()

    @property
    def base(self) -> experiment.Parameters:
        return experiment.Parameters(epsilon=self.epsilon, dataset=self.dataset, profile=self.profile, seed=self.seed,
                                     delta=DELTA)

    def address(self) -> str:
        return results.content_address(self.config(), data.card(self.dataset).to_dict())


@dataclass(frozen=True, kw_only=True)
class Norms(_Experiment):
    """Norms of the critic's gradients over a run, at the profile's batch and C.

    every: critic steps between two looks.
    """

    steps: int = 1_000
    every: int = 40

    def run(self) -> RunConfig:
        """The run that is looked at, its noise calibrated."""
        profile = experiment.PROFILES[self.profile]
        return _calibrated(self.base, expected_batch=profile.expected_batch, steps=self.steps,
                           clip_norm=profile.clip_norm)

    def config(self) -> dict:
        """Of the record. The run is one field of many: what is recorded here is not private, and claims no epsilon."""
        name = report.epsilon_name(results.number(self.epsilon))
        return results.strict({"experiment": f"norms over training, {name}", "run": self.run().to_dict(),
                               "every": self.every, "records": probe.RECORDS, "clip_norms": CLIP_NORMS,
                               "quantiles": probe.QUANTILES})

    def compute(self, progress: bool) -> Record:
        files, origin, started = data.load(self.dataset, progress=progress), _origin(), time.monotonic()
        config = self.run()
        records = training.on_device(config, files.train_images, files.train_labels)
        looks = probe.gradient_norms(config, records, self.every, CLIP_NORMS)
        seconds = {"training and looks": time.monotonic() - started}
        return _write(self, files.card, {"looks": looks}, {}, seconds, origin)


@dataclass(frozen=True, kw_only=True)
class Sweep(_Experiment):
    """A short run at one epsilon: its C is given, and sigma follows from its expected batch."""

    clip_norm: float
    batch: int
    epsilon: float = 1.0
    steps: int = 400

    def run(self) -> RunConfig:
        config = _calibrated(self.base, expected_batch=self.batch, steps=self.steps, clip_norm=self.clip_norm)
        return replace(config, evaluation=experiment.SNAPSHOT)

    def config(self) -> dict:
        """Of the record: the run's own, for its generator is private and its accuracy reads test images alone."""
        return self.run().to_dict()

    def compute(self, progress: bool) -> Record:
        files, origin, clock = data.load(self.dataset, progress=progress), _origin(), [time.monotonic()]
        config = self.run()
        records = training.on_device(config, files.train_images, files.train_labels)
        *_, state = probe.states(config, records, every=self.steps)
        clock.append(time.monotonic())
        accuracy = probe.accuracy(config, config.evaluation, state, files.test_images, files.test_labels)
        clock.append(time.monotonic())
        seconds = dict(zip(("training", "evaluation"), np.diff(clock).tolist()))
        privacy = experiment.privacy_statement(config, files.card.unit)
        return _write(self, files.card, {"ten_cnn": accuracy}, privacy, seconds, origin)


def _calibrated(base: experiment.Parameters, *, expected_batch: int, steps: int, clip_norm: float) -> RunConfig:
    """The base's run with that batch, steps and C, and the noise that its epsilon needs; without privacy, no C."""
    noise = accounting.calibrate_noise(epsilon=base.target_epsilon, delta=base.delta, steps=steps,
                                       sampling_rate=expected_batch / data.card(base.dataset).records)
    return _run(base, epsilon=base.target_epsilon, delta=base.delta, expected_batch=expected_batch, steps=steps,
                clip_norm=clip_norm if noise else math.inf, noise_multiplier=noise)


def _origin() -> dict:
    training.keep_freed_memory()
    return results.provenance(entries=probe.ENTRIES) | {"trained_on": hardware()}


def _write(point, card, metrics, privacy, seconds, origin) -> Record:
    content = {"mode": "demo", "config": point.config(), "card": card.to_dict(), "metrics": metrics, "privacy": privacy,
               "seconds": {name: round(value, 1) for name, value in seconds.items()}, "provenance": origin}
    return results.write(STUDY_NAME, point.address(), content, {})


NORMS = tuple(Norms(epsilon=epsilon) for epsilon in (10.0, "inf"))
SWEEP = tuple(Sweep(clip_norm=clip_norm, batch=batch) for batch in BATCHES for clip_norm in CLIP_NORMS)
STUDY = Study(grid=(*NORMS, *SWEEP), address=lambda point: point.address(),
              compute=lambda point, progress: point.compute(progress))


# What the records say

def norm_curve(record: Record) -> dict:
    """For figures.norm_bands: name, epsilon, steps and norms (looks, quantiles) of the real records."""
    epsilon = results.number(record.content["config"]["run"]["privacy"]["epsilon"])
    looks = record.metrics["looks"]
    return {"name": report.epsilon_name(epsilon), "epsilon": epsilon, "steps": [each["step"] for each in looks],
            "norms": [each["real"] for each in looks]}


def at_clip_norm(record: Record, clip_norm: float) -> dict[str, np.ndarray]:
    """What look() says of one C, over the looks: step, clipped, signal, both_halves and real_half, each (looks,)."""
    looks = record.metrics["looks"]
    rows = [row for each in looks for row in each["clipping"] if row["clip_norm"] == clip_norm]
    return {"step": np.array([each["step"] for each in looks])} | {
        name: np.array([row[name] for row in rows]) for name in ("clipped", "signal", "both_halves", "real_half")}


def noise_length(config: RunConfig, parameters: int, clip_norm: float) -> float:
    """Root mean square length of a release's noise, sigma C sqrt(d) / (q N), for a critic of d parameters."""
    privacy = config.privacy
    return privacy.noise_multiplier * clip_norm * math.sqrt(parameters) / privacy.expected_batch


def sweep_rows(records: list[Record]) -> list[dict]:
    """Records of the sweep as rows: clip_norm, batch, noise_multiplier and accuracy in [0, 1]."""
    return [{"clip_norm": record.config.privacy.clip_norm, "batch": record.config.privacy.expected_batch,
             "noise_multiplier": record.config.privacy.noise_multiplier, "accuracy": record.metrics["ten_cnn"]}
            for record in records]


def sweep_curves(rows: list[dict]) -> dict[str, tuple[list, list]]:
    """Name of a batch and its noise -> (values of C, accuracies)."""
    curves: dict[str, tuple[list, list]] = {}
    for row in rows:
        x, y = curves.setdefault(f"batch {row['batch']:,}: sigma = {row['noise_multiplier']:g}", ([], []))
        x.append(row["clip_norm"])
        y.append(row["accuracy"])
    return curves


def sweep_table(rows: list[dict]) -> str:
    """The sweep as HTML: a row for each batch, a column for each C."""
    head = ["expected batch", "sigma", "sigma / batch", *(f"C = {clip_norm:g}" for clip_norm in CLIP_NORMS)]
    body = []
    for batch in BATCHES:
        of_batch = {row["clip_norm"]: row for row in rows if row["batch"] == batch}
        noise = of_batch[CLIP_NORMS[0]]["noise_multiplier"]
        accuracies = [f"{of_batch[clip_norm]['accuracy']:.1%}" for clip_norm in CLIP_NORMS]
        body.append(report.table_row(f"{batch:,}", [f"{noise:g}", f"{noise / batch:.4f}", *accuracies]))
    return report.table("Accuracy on real test images of a CNN trained on generated ones", head, body)


def expectations(rows: list[dict]) -> list[dict]:
    """What we expected before the sweep was run, and whether it came: dicts with expected and came (bool)."""
    accuracy = {(row["clip_norm"], row["batch"]): row["accuracy"] for row in rows}
    low, next_low, *_, high = CLIP_NORMS
    by_batch = [accuracy[low, batch] for batch in BATCHES]
    return [
        {"expected": f"C = {high:g} is worse than C = {low:g}, at every batch",
         "came": all(accuracy[high, batch] < accuracy[low, batch] for batch in BATCHES)},
        {"expected": f"C = {low:g} and C = {next_low:g} are alike, to {100 * ALIKE:.0f} points, at every batch",
         "came": all(abs(accuracy[low, batch] - accuracy[next_low, batch]) < ALIKE for batch in BATCHES)},
        {"expected": f"at C = {low:g}, every larger batch is better", "came": by_batch == sorted(set(by_batch))}]


def expectations_table(rows: list[dict]) -> str:
    """The expectations and what came of each, as HTML."""
    body = [report.table_row(each["expected"], ["yes" if each["came"] else "<strong>no</strong>"])
            for each in expectations(rows)]
    return report.table("Expected before the sweep was run (one seed)", ["expected", "it came so"], body)
