"""The records of the chapter on Wasserstein distances: a private GAN in the plane, and the stability of GANs on MNIST.

A record's config says in `measurement` which of the two it is.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from dpgan_lib import accounting, data, experiment, report, results, stability, toy
from dpgan_lib.config import PrivacyConfig
from dpgan_lib.experiment import require
from dpgan_lib.stability import SweepConfig
from dpgan_lib.streams import stream
from dpgan_lib.studies import Study
from dpgan_lib.toy import ToyConfig
from dpgan_lib.training import keep_freed_memory
from dpgan_lib.wasserstein import LIPSCHITZ, STRENGTH

STUDY_NAME = "wasserstein"
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
        experiment.Parameters(epsilon=self.epsilon, seed=self.seed, dataset="digits").check()
        _require_one_of("profile", self.profile, TOY)
        _require_one_of("lipschitz", self.lipschitz, LIPSCHITZ)

    def config(self) -> ToyConfig:
        """Its noise calibrated. Raises ValueError for an epsilon that no noise reaches."""
        sizes = dict(TOY[self.profile])
        privacy = plan_privacy(float(self.epsilon), sizes.pop("records"), sizes.pop("batch"), sizes.pop("steps"))
        return ToyConfig(profile=self.profile, seed=self.seed, lipschitz=self.lipschitz,
                         strength=STRENGTH[self.lipschitz], privacy=privacy, **sizes)

    def card(self) -> dict:
        return RING | {"records": TOY[self.profile]["records"]}

    def measure(self, progress) -> tuple[dict, dict]:
        points = toy.ring(self.card()["records"], stream("ring", "latent"))  # the same data whatever the seed
        return toy.measure(self.config(), points, progress), {}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The GANs on MNIST, at one seed."""

    seed: int = 0
    profile: str = "laptop"

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        Parameters(seed=self.seed, profile=self.profile).check()

    def config(self) -> SweepConfig:
        sizes = dict(SWEEP[self.profile])
        records = data.card(sizes["dataset"]).records
        privacy = plan_privacy(math.inf, records, sizes.pop("batch"), sizes.pop("steps"))
        return SweepConfig(profile=self.profile, seed=self.seed, privacy=privacy, **sizes)

    def card(self) -> dict:
        return data.card(SWEEP[self.profile]["dataset"]).to_dict()

    def measure(self, progress) -> tuple[dict, dict]:
        keep_freed_memory()
        files = data.load(self.config().dataset, progress=False)
        metrics, samples = stability.measure(self.config(), files, progress)
        return metrics, {"samples.png": experiment.png(samples)}


def plan_privacy(epsilon: float, records: int, batch: int, steps: int) -> PrivacyConfig:
    """C = 1 and calibrated noise; for an infinite epsilon neither."""
    noise = accounting.calibrate_noise(epsilon=epsilon, delta=DELTA, sampling_rate=batch / records, steps=steps)
    return PrivacyConfig(epsilon=epsilon, delta=DELTA, records=records, expected_batch=batch, steps=steps,
                         clip_norm=1.0 if noise else math.inf, noise_multiplier=noise)


def address(parameters: Parameters | Sweep) -> str:
    """The run id; it needs no data."""
    parameters.check()
    return results.content_address(asdict(parameters.config()), parameters.card())


def compute(parameters: Parameters | Sweep, progress: bool) -> results.Record:
    """Measure, and store the record."""
    config, card = parameters.config(), parameters.card()
    origin = results.provenance(entries=(config.measurement,))  # the module of that name, as it was before
    started = time.monotonic()
    with tqdm(desc=f"{STUDY_NAME}, {config.measurement}, seed {config.seed}", unit=" runs",
              disable=not progress) as bar, one_thread():
        metrics, artefacts = parameters.measure(bar.update)
    content = {"mode": "demo", "config": asdict(config), "card": card, "metrics": metrics,
               "privacy": experiment.privacy_statement(config, card["unit"]),
               "seconds": {"training": round(time.monotonic() - started, 1), "evaluation": 0.0},
               "provenance": origin | {"trained_on": "CPU, 1 thread"}}
    return results.write(STUDY_NAME, address(parameters), content, artefacts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small take longer on two cores than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _require_one_of(name, value, known) -> None:
    require(isinstance(value, str) and value in known, name, value, f"must be one of {', '.join(known)}")


STUDY = Study(
    grid=(*(Parameters(epsilon=epsilon, seed=seed, lipschitz=lipschitz)
            for seed in (0, 1, 2) for epsilon in (1.0, "inf") for lipschitz in LIPSCHITZ),
          *(Sweep(seed=seed) for seed in (0, 1, 2))),
    address=address, compute=compute)


# What records say

def of(records: list[results.Record], measurement: str, profile: str) -> list[results.Record]:
    """Those of one measurement, "toy" or "stability", and one profile."""
    wanted = (measurement, profile)
    return [record for record in records
            if (record.content["config"]["measurement"], record.content["config"]["profile"]) == wanted]


def toy_rows(records: list[results.Record], published: set[str]) -> list[dict]:
    """A row a run: lipschitz, epsilon, seed, is_new (no run id of those published), ratio, w1, slope, gradient_norm."""
    return [{"lipschitz": record.content["config"]["lipschitz"], "seed": record.content["config"]["seed"],
             "epsilon": results.number(record.privacy["epsilon_asked"]), "is_new": record.run_id not in published} | run
            for record in records for run in record.metrics["runs"]]


def stability_rows(records: list[results.Record]) -> list[dict]:
    """A row a run: seed, loss, rate, width, seconds, and stability.outcome()."""
    return [{"seed": record.content["config"]["seed"]} | run for record in records for run in record.metrics["runs"]]


def toy_table(rows: list[dict]) -> str:
    """W1 for each ratio, with what explains it, as HTML. rows: of toy_rows."""
    ratios = sorted({row["ratio"] for row in rows})
    body = []
    for way, epsilon in sorted({(row["lipschitz"], row["epsilon"]) for row in rows}):
        own = [row for row in rows if (row["lipschitz"], row["epsilon"]) == (way, epsilon)]
        cells = [_spread([row["w1"] for row in own if row["ratio"] == ratio]) for ratio in ratios]
        cells += [_spread([row[name] for row in own]) for name in ("gradient_norm", "slope")]
        body.append(report.table_row(f"{way}, {report.epsilon_name(epsilon)}", cells))
    return report.table("W1 to the law by critic steps for each generator step; then, over all of these runs, a real "
                        "point's gradient norm and the critic's largest slope: mean (least to most)",
                        ["f_w in W by", *map(str, ratios), "gradient norm", "slope"], body)


def stability_table(runs: list[dict]) -> str:
    """Runs that collapsed, and what the judge says of all, by loss, learning rate and width, as HTML."""
    body = []
    for loss, rate, width in dict.fromkeys((run["loss"], run["rate"], run["width"]) for run in runs):
        own = [run for run in runs if (run["loss"], run["rate"], run["width"]) == (loss, rate, width)]
        cells = [f"{sum(run['collapsed'] for run in own)} of {len(own)}",
                 *(_spread([run[name] for run in own]) for name in ("classes", "variety", "score"))]
        body.append(report.table_row(f"{loss}, rate {rate:g}, width {width}", cells))
    return report.table("GANs that differ in loss, learning rate and width; over seeds: mean (least to most)",
                        ["loss", "collapsed", "classes", "variety", "score"], body)


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
