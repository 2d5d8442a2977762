"""The chapter on audits: its parameters, its records, and what the records say.

A record holds one GAN on a small training set, looked at for memorisation; the same mechanism audited with canaries;
and, where it is private, the mechanism alone, whose audits are independent and so can be counted.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np

from dpgan_lib import accounting, audit, canaries, data, evaluation, experiment, memorisation, report, results, training
from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.experiment import require
from dpgan_lib.results import Record
from dpgan_lib.state import hardware
from dpgan_lib.studies import Study

STUDY_NAME = "audit"
ENTRIES = ("audit", "canaries", "memorisation", "evaluation")  # what a record depends on
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
    def base(self) -> experiment.Parameters:
        return experiment.Parameters(epsilon=self.epsilon, dataset=self.dataset, profile=self.profile, seed=self.seed,
                                     delta=DELTA)

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        self.base.check()
        require(type(self.canaries) is int and LEAST_CANARIES <= self.canaries <= MOST_CANARIES, "canaries",
                self.canaries, f"must be a whole number in [{LEAST_CANARIES}, {MOST_CANARIES}]: fewer show next to "
                "nothing, and more have too few coordinates each. Try 1000")


def card(parameters: Parameters) -> data.DataCard:
    """Of the small training set: some images of the data set, dealt out at random."""
    whole, images = data.card(parameters.dataset), SIZES[parameters.profile].images
    return replace(whole, name=f"{whole.name}_{images}", title=f"{images} images of {whole.title}", records=images,
                   caption=f"{whole.caption}; {images} of them, dealt out by seed")


def plan(parameters: Parameters) -> RunConfig:
    """The GAN on the small training set, its noise calibrated. Opens no data."""
    size, epsilon = SIZES[parameters.profile], parameters.base.target_epsilon
    run = experiment.plan(replace(parameters.base, epsilon="inf"))  # without a calibration that is not needed
    noise = accounting.calibrate_noise(epsilon=epsilon, delta=DELTA, steps=size.steps,
                                       sampling_rate=size.expected_batch / size.images)
    privacy = replace(run.privacy, epsilon=epsilon, records=size.images, expected_batch=size.expected_batch,
                      steps=size.steps, noise_multiplier=noise, clip_norm=clip_norm(parameters) if noise else math.inf)
    return replace(run, dataset=card(parameters).name, privacy=privacy, model=replace(run.model, **size.model),
                   optimiser=replace(run.optimiser, **size.optimiser))


def clip_norm(parameters: Parameters) -> float:
    """The C that every run claims, also one that has dropped its clip."""
    return experiment.PROFILES[parameters.profile].clip_norm


def config(parameters: Parameters) -> dict:
    """Of the record: the run's, and the audit's numbers beside it."""
    size = SIZES[parameters.profile]
    return plan(parameters).to_dict() | {"audit": {
        "canaries": parameters.canaries, "guesses": 2 * audit.guessed(parameters.canaries),
        "length": canaries.LENGTH * clip_norm(parameters), "level": audit.level_of_each(AUDITS, LEVEL),
        "generated": size.generated, "swaps": memorisation.SWAPS,
        "replications": size.replications, "trials": size.trials}}


def address(parameters: Parameters) -> str:
    return results.content_address(config(parameters), card(parameters).to_dict())


GRID = tuple(Parameters(epsilon=epsilon, seed=seed) for seed, epsilon in product((0, 1), (1.0, 10.0, "inf")))
AUDITS = 2 * len(GRID)  # bounds published together: of two auditors each


# Computing a record

def compute(parameters: Parameters, progress: bool) -> Record:
    """Train, look, audit, and store the record."""
    files = data.load(parameters.dataset, progress=progress)
    training.keep_freed_memory()
    origin = results.provenance(entries=ENTRIES) | {"trained_on": hardware()}
    run, size, clock = plan(parameters), SIZES[parameters.profile], [time.monotonic()]
    dealt = memorisation.deal(len(files.train_images), size.images, parameters.seed)
    parts = {name: files.train_images[indices] for name, indices in asdict(dealt).items()}
    generated = memorisation.release(run, parts["train"], files.train_labels[dealt.train], size.generated)
    audits = _audits(run, parameters, parts["train"], files.train_labels[dealt.train])
    clock.append(time.monotonic())
    metrics = {"nearest": memorisation.nearest(parts, generated, _rng(parameters, "swaps")),
               "attacks": memorisation.attacks(parts, generated),
               "learnt": evaluation.logistic_accuracy(generated, memorisation.classes(run, size.generated),
                                                      parts["held_out"], files.train_labels[dealt.held_out]),
               "audits": audits, "alone": _alone(run, parameters)}
    clock.append(time.monotonic())
    content = {"mode": "demo", "config": config(parameters), "card": card(parameters).to_dict(), "metrics": metrics,
               "privacy": experiment.privacy_statement(run, files.card.unit), "provenance": origin,
               "seconds": dict(zip(("training", "evaluation"), np.diff(clock).round(1).tolist()))}
    picture = experiment.png(memorisation.neighbours(parts, generated[:SHOWN]))
    return results.write(STUDY_NAME, address(parameters), content, {"samples.png": picture})


def _audits(run: RunConfig, parameters: Parameters, images: np.ndarray, labels: np.ndarray) -> dict[str, dict]:
    """By auditor, an audit of the same mechanism at work. Another data set, and so noise of its own."""
    audited = replace(run, dataset=f"{run.dataset} and {parameters.canaries} canaries")
    heard, included = canaries.audited_run(audited, images, labels, parameters.canaries, clip_norm(parameters),
                                           _rng(parameters, "coins"))
    level = audit.level_of_each(AUDITS, LEVEL)
    return {auditor: asdict(audit.audit(scores, included, delta=DELTA, level=level))
            for auditor, scores in heard.scores.items()}


def _alone(run: RunConfig, parameters: Parameters) -> dict:
    """Audits and tests of the mechanism alone; none without noise, which hides nothing."""
    size = SIZES[parameters.profile]
    return canaries.repeated(run.privacy, size.replications, canaries=parameters.canaries, trials=size.trials,
                             level=audit.level_of_each(AUDITS, LEVEL),
                             rng=_rng(parameters, "alone")) if run.privacy.is_private else {}


def _rng(parameters: Parameters, purpose: str) -> np.random.Generator:
    """Random numbers of a purpose; no two records share them."""
    return np.random.default_rng([int(address(parameters), 16), *purpose.encode()])


STUDY = Study(grid=GRID, address=address, compute=compute)


# What the records say

def same_settings(records: list[Record], parameters: Parameters) -> list[Record]:
    """Those that differ from the parameters in epsilon, what follows from it, and seed alone."""
    def rest(values):
        return {name: value for name, value in values.items() if name not in ("seed", "privacy")}

    wanted = rest(results.strict(config(parameters)))
    return [record for record in records if rest(record.content["config"]) == wanted]


def sorted_by_privacy(records: list[Record]) -> list[Record]:
    """Each run once, by epsilon, then seed."""
    runs = {record.run_id: record for record in records}
    return sorted(runs.values(), key=lambda record: (_epsilon(record), record.content["config"]["seed"]))


def _epsilon(record):
    return results.number(record.privacy["epsilon_asked"])


def claim(record: Record) -> float:
    """The epsilon that an audit is held against: of a mechanism without noise and clip, BROKEN_CLAIM."""
    return min(_epsilon(record), math.inf if record.metrics["alone"] else BROKEN_CLAIM)


def distance_curves(record: Record) -> dict[str, tuple]:
    """For figures.panels: the distribution of generated images' nearest distances, to both sets of images."""
    found, levels = record.metrics["nearest"], memorisation.QUANTILES
    return {"to the nearest training image": (found["to_train"], levels),
            "to the nearest held-out image": (found["to_held_out"], levels)}


def nearest_table(records: list[Record]) -> str:
    """The swap test, and what the generator learnt, as HTML."""
    body = [report.table_row(report.run_name(record),
                             [f"{record.metrics['nearest']['share_nearer']:.1%}",
                              f"{record.metrics['nearest']['p_value']:.3f}", f"{record.metrics['learnt']:.1%}"])
            for record in records]
    return report.table("Generated images and their nearest neighbours",
                        ["run", "nearer to a training image", "p-value of the swap test", "held-out digits named"],
                        body)


def audits_table(records: list[Record]) -> str:
    """Every audit with its ceiling, as HTML."""
    body = [report.table_row(f"{report.run_name(record)}: {auditor}",
                             [f"{claim(record):g}", f"{shown['correct']} of {shown['guesses']}",
                              f"{shown['epsilon']:.2f}", f"{shown['ceiling']:.2f}", _typical(record)])
            for record in records for auditor, shown in record.metrics["audits"].items()]
    level = records[0].content["config"]["audit"]["level"]
    return report.table(f"Epsilon from below (delta = {report.plain(DELTA)}, add/remove), each at level {level:.2g}",
                        ["run: an auditor who", "epsilon claimed", "guesses right", "bound",
                         "ceiling: all guesses right", "the mechanism alone (median)"], body)


def _typical(record):
    alone = record.metrics["alone"]
    return f"{np.median(alone['bounds']):.2f}" if alone else "hides nothing"


def audit_rows(records: list[Record]) -> list[dict]:
    """For figures_audit.ranges: a line from 0 to each audit's ceiling, and marks on it."""
    rows = []
    for record in records:
        alone = record.metrics["alone"]
        typical = {"the mechanism alone": np.median(alone["bounds"])} if alone else {}
        rows += [{"name": f"{report.run_name(record)}: {auditor}", "epsilon": _epsilon(record), "low": 0.0,
                  "high": shown["ceiling"], "marks": {"bound": shown["epsilon"], "ceiling": shown["ceiling"],
                                                      "claimed": claim(record)} | typical}
                 for auditor, shown in record.metrics["audits"].items()]
    return rows


def controls_table(records: list[Record]) -> str:
    """Tests and audits of the mechanism alone, counted, as HTML. records: private ones."""
    body = []
    for record in records:
        alone, asked = record.metrics["alone"], _epsilon(record)
        cells = [f"{alone[each]['refuted']} of {alone[each]['tests']}" for each in ("correct", "halved")]
        above = sum(bound > asked for bound in alone["bounds"])
        body.append(report.table_row(report.run_name(record), [*cells, f"{above} of {len(alone['bounds'])}"]))
    return report.table(f"The mechanism alone: tests at level {canaries.TEST_LEVEL:g} that refute it, and bounds above "
                        "the claim", ["claimed", "as claimed: refuted", "half the noise: refuted",
                                      "as claimed: bounds too high"], body)


def attack_rows(records: list[Record]) -> list[dict]:
    """For figures_audit.ranges: the interval of each attack's advantage."""
    return [{"name": f"{report.run_name(record)}: {attack}", "epsilon": _epsilon(record), "low": found["low"],
             "high": found["high"], "marks": {attack: found["advantage"]}}
            for record in records for attack, found in record.metrics["attacks"].items()]


def attacks_table(records: list[Record]) -> str:
    """Advantages, with intervals and with the most that the mechanism allows, as HTML."""
    body = []
    for record in records:
        cells = [f"{found['advantage']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
                 for found in record.metrics["attacks"].values()]
        body.append(report.table_row(report.run_name(record), [*cells, f"{most_advantage(record):.2f}"]))
    return report.table("Advantage in telling training images from held-out ones",
                        ["run", *records[0].metrics["attacks"], "at most, by the trade-off curve"], body)


def most_advantage(record: Record) -> float:
    """Of any attack on one record added or removed, on average over runs: 1 - alpha - f(alpha) at its largest."""
    if not record.metrics["alone"]:
        return 1.0
    curve = audit.curve(PrivacyConfig(**record.content["config"]["privacy"]))
    return float(np.max(1 - curve.alpha - curve.beta))
