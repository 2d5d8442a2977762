"""What claims are made of: verdicts by stated rules. Each study's claims stand in its own module `claims`.

A rule never asks for a particular outcome, and a claim that no record touches says "not yet measured".
"""

from collections.abc import Callable
from dataclasses import dataclass

from dpgan_lib.records import store
from dpgan_lib.records.store import Record

HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
NOT_MEASURED = "not yet measured"
NOT_MEASURABLE = "not measurable here"  # there are records, and they cannot tell
PAPER, BOOK = "the paper says", "we say"  # who claims


@dataclass(frozen=True)
class Verdict:
    """verdict: one of the words above.  measured: what the records say, in words."""

    verdict: str
    measured: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """who: PAPER or BOOK.  words: what is claimed, in brief.  rule: when it holds.

    where: the heading that measures it, in the chapter of the study.
    judge: the study's admissible records -> Verdict.  admits: which of the records these are.
    """

    who: str
    words: str
    rule: str
    study: str
    where: str
    judge: Callable[[list[Record]], Verdict]
    admits: Callable[[list[Record]], list[Record]] = list


def no_smoke(records: list[Record], kind: str = "run") -> list[Record]:
    """The records of one kind of experiment but for smoke runs, which enter no claim."""
    return [record for record in records if record.kind == kind and record.asked["profile"] != "smoke"]


def on_mnist(records: list[Record], kind: str = "run") -> list[Record]:
    """The same on real MNIST, or on a part of it."""
    return [record for record in no_smoke(records, kind) if record.asked["dataset"] == "mnist"]


def verdict_of(holds: bool, measured: str, records: list[Record]) -> Verdict:
    """HOLDS or FAILS, with what was measured and how many seeds stand behind it."""
    return Verdict(HOLDS if holds else FAILS, measured + standing(records))


def of_parts(passed: list[bool]) -> str:
    """The verdict on a claim of several parts: in part, where only some are so."""
    return HOLDS if all(passed) else IN_PART if any(passed) else FAILS


def of_targets(targets: list[dict], records: list[Record]) -> Verdict:
    """All targets that were set are reached; in part, if some are. One that nothing has measured counts as missed."""
    if all(row["met"] is None for row in targets):
        return Verdict(NOT_MEASURED, "no record")
    measured = "; ".join(f"{row['what']}: {row['measured']} (target {row['target']})" for row in targets)
    return Verdict(of_parts([bool(row["met"]) for row in targets]), measured + stale(records))


def stale(records: list[Record]) -> str:
    """For the end of what was measured."""
    return "; stale" if any(map(store.staleness, records)) else ""


def standing(records: list[Record]) -> str:
    """How many seeds stand behind a verdict, and whether one of them is stale."""
    seeds = len({record.config.seed for record in records})
    return f" ({seeds} seed{'s' * (seeds > 1)}{stale(records)})"
