"""What claims are made of: verdicts by stated rules, the records that may enter them, and their table.

A rule never asks for a particular outcome, and a claim that no record touches says "not yet measured".
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from dpgan_lib import report, results, tradeoff
from dpgan_lib.results import Record

HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
NOT_MEASURED = "not yet measured"
NOT_MEASURABLE = "not measurable here"  # there are records, and they cannot tell


@dataclass(frozen=True)
class Verdict:
    """verdict: one of the words above.  measured: what the records say, in words."""

    verdict: str
    measured: str


@dataclass(frozen=True)
class Claim:
    """words: what is claimed, in brief.  rule: when it holds.  where: chapter and heading that measure it, as in a URL.

    judge: the study's admissible records -> Verdict.  admits: which of the records these are.
    """

    words: str
    rule: str
    where: str
    study: str
    judge: Callable[[list[Record]], Verdict]
    admits: Callable[[list[Record]], list[Record]]


# Which records may enter

def admissible(records: list[Record]) -> list[Record]:
    """The runs that may enter a claim: real MNIST, no smoke run, and nothing left out of the method."""
    return [record for record in admissible_ablations(records) if tradeoff.ablation_of(record.config) == "none"]


def admissible_ablations(records: list[Record]) -> list[Record]:
    """The same with runs that leave an ingredient out."""
    return [record for record in tradeoff.trained(records) if record.config.dataset == "mnist"
            and record.config.profile != "smoke"]


def admissible_parts(records: list[Record]) -> list[Record]:
    """The same of records whose training set is a part of MNIST."""
    return [record for record in records if record.content["config"]["dataset"].startswith("mnist_")
            and record.content["config"]["profile"] != "smoke"]


def admissible_faces(records: list[Record]) -> list[Record]:
    """The runs on real faces by the whole method, and no smoke run."""
    return [record for record in records if record.config.dataset.startswith("celeba") and record.config.profile != "smoke"
            and record.config.optimiser.info_weight > 0]


def admissible_sweeps(records: list[Record]) -> list[Record]:
    """The GANs on MNIST of the chapter on Wasserstein distances, and no smoke run: its toy's data set is another."""
    return [record for record in records
            if record.content["config"]["dataset"] == "mnist" and record.content["config"]["profile"] != "smoke"]


# Verdicts

def of_parts(passed: list[bool]) -> str:
    """The verdict on a claim of several parts: in part, where only some are so."""
    return HOLDS if all(passed) else IN_PART if any(passed) else FAILS


def stale(records: list[Record]) -> str:
    """For the end of what was measured."""
    return "; stale" if any(map(results.staleness, records)) else ""


def standing(records: list[Record]) -> str:
    """How many seeds stand behind a verdict, and whether one of them is stale."""
    seeds = len({record.config.seed for record in records})
    return f" ({seeds} seed{'s' * (seeds > 1)}{stale(records)})"


# The table

def table(claims: tuple[Claim, ...], published: Callable[[str], list[Record]], caption: str, who: str) -> str:
    """Claims as an HTML table, one row each. published: study -> its records.  who: heads the claims' column."""
    rows = []
    for claim in claims:
        records = claim.admits(published(claim.study))
        verdict = claim.judge(records)
        link = f'<br><a href="{escape(claim.where)}">{escape(_chapter(claim.where))}</a>' if records else ""
        rows.append(report.table_row(claim.words, [
            f"<strong>{escape(verdict.verdict)}</strong>{link}",
            f"<p>{escape(verdict.measured)}</p><p><em>Rule: {escape(claim.rule)}</em></p>"]))
    return f'<div class="claims">{report.table(caption, [who, "verdict", "measured, and the rule"], rows)}</div>'


def _chapter(where: str) -> str:
    """What a link to it says: the number that its file begins with, which a page of contents does not need."""
    return f"chapter {int(where.partition('_')[0])}"
