"""What claims are made of: verdicts by stated rules. Each study's claims stand in its own module `claims`.

A rule never asks for a particular outcome, and a claim that no record touches says "not yet measured". One seed decides
nothing: where a rule has fewer seeds than it needs, what it finds is a first look, whichever way it falls.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from scipy.stats import page_trend_test

from dpgan_lib.records import store
from dpgan_lib.records.store import Record

HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
FIRST_LOOK = "a first look"
NOT_MEASURED = "not yet measured"
NOT_MEASURABLE = "not measurable here"  # there are records, and they cannot tell
PAPER, BOOK = "the paper says", "we say"  # who claims

SEVERAL = 3  # seeds that a mean needs to decide anything
TREND_SEEDS, TREND_POINTS = 5, 3  # what a test for a trend needs: seeds, and points on the curve of each
TREND = 0.05  # level of that test


@dataclass(frozen=True)
class Verdict:
    """verdict: one of the words above.  measured: what the records say, in words.

    seeds: the fewest that stand behind any part of it; None where nothing random was trained.
    """

    verdict: str
    measured: str
    seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """who: PAPER or BOOK.  words: what is claimed, in brief.  method: by which method it was put to the test, in words,
    where there are several.  rule: when it holds.  seeds: what the rule needs; with fewer a verdict is a first look.

    where: the heading that measures it, in the chapter of the study.
    judge: the study's admissible records -> Verdict.  admits: which of the records these are.
    """

    who: str
    words: str
    method: str = ""
    rule: str
    seeds: int = SEVERAL
    study: str
    where: str
    judge: Callable[[list[Record]], Verdict]
    admits: Callable[[list[Record]], list[Record]] = list

    def verdict(self, records: list[Record]) -> Verdict:
        """The judge's verdict on the study's records, or a first look where it rests on too few seeds."""
        found = self.judge(self.admits(records))
        if found.seeds is None or found.seeds >= self.seeds or found.verdict not in (HOLDS, IN_PART, FAILS):
            return found
        return replace(found, verdict=FIRST_LOOK, measured=f"by {number_of(found.seeds)} alone, of the {self.seeds} "
                                                           f"that decide, it {found.verdict}: {found.measured}")


def no_smoke(records: list[Record], kind: str = "run") -> list[Record]:
    """The records of one kind of experiment but for smoke runs, which enter no claim."""
    return [record for record in records if record.kind == kind and record.asked["profile"] != "smoke"]


def on_mnist(records: list[Record], kind: str = "run") -> list[Record]:
    """The same on real MNIST, or on a part of it."""
    return [record for record in no_smoke(records, kind) if record.asked["dataset"] == "mnist"]


# Seeds

def epsilon_of(record: Record) -> float:
    return store.number(record.asked["epsilon"])


def seeds_of(records: list[Record], cell: Callable[[Record], Hashable] = epsilon_of) -> dict[Hashable, int]:
    """How many seeds each cell of a table or point of a curve has; a record's cell is by default its epsilon."""
    found: dict[Hashable, set] = {}
    for record in records:
        found.setdefault(cell(record), set()).add(record.asked["seed"])
    return {name: len(seeds) for name, seeds in found.items()}


def fewest_seeds(records: list[Record], cell: Callable[[Record], Hashable] = epsilon_of) -> int:
    """Of any cell; 0 without records."""
    return min(seeds_of(records, cell).values(), default=0)


def with_several(records: list[Record], cell: Callable[[Record], Hashable] = epsilon_of) -> list[Record]:
    """The records whose cells have SEVERAL seeds; all, where none has. A rule on "every" cell is a rule on these."""
    seeds = seeds_of(records, cell)
    return [record for record in records if seeds[cell(record)] >= SEVERAL] or records


def trend(curves: dict[int, dict[float, float]]) -> tuple[float, int] | None:
    """Page's test that values rise along a curve, over seeds: (the p-value, how many seeds there are).

    curves: seed -> {x: value}. Tested are the x that the most seeds have in common, TREND_POINTS of them or more; seeds
    without one of these do not enter. None where no two seeds have so many in common.
    Source: Page 1963, "Ordered hypotheses for multiple treatments".
    """
    def common_of(seeds):
        return sorted(set.intersection(*(set(curves[seed]) for seed in seeds)))

    longest_first = sorted(curves, key=lambda seed: -len(curves[seed]))
    for count in range(len(longest_first), 1, -1):
        common = common_of(longest_first[:count])
        if len(common) >= TREND_POINTS:
            table = [[curves[seed][x] for x in common] for seed in longest_first[:count]]
            return float(page_trend_test(table, method="exact").pvalue), count
    return None


# Verdicts

def verdict_of(holds: bool, measured: str, records: list[Record], seeds: int) -> Verdict:
    """HOLDS or FAILS, with what was measured."""
    return Verdict(HOLDS if holds else FAILS, measured + stale(records), seeds)


def did_not_learn(measured: str, records: list[Record]) -> Verdict:
    """On a method whose run without privacy has not learnt the task: privacy can take nothing from it."""
    return Verdict(NOT_MEASURABLE, f"the baseline did not learn: {measured}{stale(records)}")


def of_parts(passed: list[bool]) -> str:
    """The verdict on a claim of several parts: in part, where only some are so."""
    return HOLDS if all(passed) else IN_PART if any(passed) else FAILS


def of_targets(targets: list[dict], records: list[Record]) -> Verdict:
    """All targets that were set are reached; in part, if some are. One that nothing has measured counts as missed, and
    so does one that SEVERAL seeds have not, unless none has so many.
    """
    measured = [row for row in targets if row["met"] is not None]
    if not measured:
        return Verdict(NOT_MEASURED, "no record")
    decided = [row for row in measured if row["seeds"] >= SEVERAL] or measured
    words = "; ".join(f"{row['what']}: {row['measured']} (target {row['target']})" for row in targets)
    return Verdict(of_parts([row in decided and bool(row["met"]) for row in targets]), words + stale(records),
                   min(row["seeds"] for row in decided))


def stale(records: list[Record]) -> str:
    """For the end of what was measured."""
    return "; stale" if any(map(store.staleness, records)) else ""


def number_of(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds != 1)}"
