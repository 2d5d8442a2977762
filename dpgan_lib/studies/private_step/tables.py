"""What the records of the private step's experiments say, as rows and tables."""

import math

import numpy as np

from dpgan_lib.config import RunConfig
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import html, numbers
from dpgan_lib.studies.private_step.study import BATCHES, CLIP_NORMS

ALIKE = 0.1  # accuracies of two short runs that are closer than this are called alike: one seed tells no more


# What the records say

def norm_curve(record: Record) -> dict:
    """For figures.norm_bands: name, epsilon, steps and norms (looks, quantiles) of the real records."""
    epsilon = store.number(record.content["config"]["run"]["privacy"]["epsilon"])
    looks = record.metrics["looks"]
    return {"name": numbers.epsilon_name(epsilon), "epsilon": epsilon, "steps": [each["step"] for each in looks],
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
        body.append(html.table_row(f"{batch:,}", [f"{noise:g}", f"{noise / batch:.4f}", *accuracies]))
    return html.table("Accuracy on real test images of a CNN trained on generated ones", head, body)


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
    body = [html.table_row(each["expected"], ["yes" if each["came"] else "<strong>no</strong>"])
            for each in expectations(rows)]
    return html.table("Expected before the sweep was run (one seed)", ["expected", "it came so"], body)
