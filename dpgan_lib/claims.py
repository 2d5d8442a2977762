"""The paper's claims, each with a rule fixed before the results and a verdict computed from published records.

A rule never asks for a particular outcome, and a claim that no record touches says "not yet measured".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from dpgan_lib import report
from dpgan_lib.results import Record

SLIGHTLY = 0.05  # our reading of the paper's "slightly": at most 5 points of accuracy from no privacy to epsilon 1
NOT_MEASURED = "not yet measured"


@dataclass(frozen=True)
class Verdict:
    """verdict: holds, does not hold, or not yet measured.  measured: what the records say, in words."""

    verdict: str
    measured: str


@dataclass(frozen=True)
class Claim:
    """words: the paper's, in brief.  rule: when it holds.  judge: published records of the study -> Verdict."""

    words: str
    rule: str
    study: str = ""
    judge: Callable[[list[Record]], Verdict] = lambda records: Verdict(NOT_MEASURED, "no record in this book yet")


def mean_accuracy(records: list[Record], metric: str) -> dict[float, float]:
    """Epsilon -> mean over seeds of an accuracy in [0, 1], by falling privacy."""
    values: dict[float, list[float]] = {}
    for record in records:
        values.setdefault(record.config.privacy.epsilon, []).append(record.metrics["synthetic"][metric])
    return {epsilon: sum(values[epsilon]) / len(values[epsilon]) for epsilon in sorted(values)}


def judge_fall(records: list[Record]) -> Verdict:
    """Accuracy on digit pairs rises with every step to a larger epsilon."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if len(accuracy) < 3:
        return Verdict(NOT_MEASURED, "fewer than three epsilons")
    values = list(accuracy.values())
    return _verdict(values == sorted(values), _listed(accuracy), records)


def judge_slightly(records: list[Record]) -> Verdict:
    """The fall from no privacy to epsilon 1 is at most SLIGHTLY."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if not {1.0, math.inf} <= accuracy.keys():
        return Verdict(NOT_MEASURED, "needs epsilon 1 and a run without privacy")
    fall = accuracy[math.inf] - accuracy[1.0]
    return _verdict(fall <= SLIGHTLY, f"{100 * fall:.1f} points from no privacy to epsilon 1", records)


def judge_control(records: list[Record]) -> Verdict:
    """Classifiers trained on the digits asked for name most real digits, at every epsilon: chance is 1 in 10."""
    accuracy = mean_accuracy(records, "ten_cnn")
    if not accuracy:
        return Verdict(NOT_MEASURED, "no record")
    return _verdict(min(accuracy.values()) > 0.5, _listed(accuracy), records)


CLAIMS = (
    Claim("On MNIST digit pairs, accuracy falls as privacy rises",
          "Mean accuracy over all pairs grows with every larger epsilon published.", "mnist_tradeoff", judge_fall),
    Claim("The fall is slight",
          f"At most {100 * SLIGHTLY:.0f} points from no privacy to epsilon 1.", "mnist_tradeoff", judge_slightly),
    Claim("Codes control what is generated",
          "A CNN trained on the digits asked for names more than half of the real ones, at every epsilon.",
          "mnist_tradeoff", judge_control),
    Claim("Privacy prevents memorisation", "An audit with its ceiling."),
    Claim("Wasserstein training is stable", "Share of runs that collapse, beside a GAN with another divergence."),
    Claim("Class imbalance is addressed", "Recall of a thinned class with and without synthetic images."),
    Claim("Privacy makes training ten times longer", "Time of a private step over a plain one, side by side."),
    Claim("The approach extends to CelebA", "Specificity and utility on real faces."),
    Claim("It needs sufficient training samples", "Accuracy against N at a fixed epsilon."),
)


def table(published: Callable[[str], list[Record]]) -> str:
    """All claims as an HTML table, one row each. published: study -> its records."""
    rows = []
    for claim in CLAIMS:
        verdict = claim.judge(published(claim.study) if claim.study else [])
        cells = [escape(claim.rule), escape(verdict.measured), f"<strong>{escape(verdict.verdict)}</strong>"]
        rows.append(report.table_row(claim.words, cells))
    return report.table("The claims of the paper, judged by rules fixed beforehand",
                        ["the paper says", "our rule", "measured", "verdict"], rows)


def _verdict(holds, measured, records):
    seeds = len({record.config.seed for record in records})
    return Verdict("holds" if holds else "does not hold", f"{measured} ({seeds} seed{'s' if seeds > 1 else ''})")


def _listed(accuracy):
    names = {epsilon: "no privacy" if math.isinf(epsilon) else f"epsilon {epsilon:g}" for epsilon in accuracy}
    return ", ".join(f"{names[epsilon]}: {value:.1%}" for epsilon, value in accuracy.items())
