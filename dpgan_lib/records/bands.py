"""How far a run's metrics move when its seed alone changes: the band in which those of the next seed should lie.

A band is a prediction interval, mean ± t s sqrt(1 + 1/n): s is the standard deviation over n seeds, and t is Student's
quantile with n - 1 degrees of freedom. It assumes that a metric's values over seeds are independent draws from one
normal law. Few seeds cannot test that; what they cost is in t, which is large for them. No tolerance is guessed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, stdev

from scipy import stats

from dpgan_lib.records.store import Record

LEVEL = 0.95  # share of next seeds whose metric its band holds; and, of all metrics together, of a verdict
LEAST = 2  # seeds: one shows no spread
WITHIN, NOT_REPRODUCED, NO_BAND = "within band", "not reproduced", "no band"


@dataclass(frozen=True)
class Band:
    """The values of one metric over seeds. Known from LEAST seeds on, if they differ: a constant shows no spread."""

    values: tuple[float, ...]

    @property
    def is_known(self) -> bool:
        return len(self.values) >= LEAST and len(set(self.values)) > 1

    @property
    def scale(self) -> float:
        """s sqrt(1 + 1/n), in the metric's unit."""
        return stdev(self.values) * math.sqrt(1 + 1 / len(self.values))

    @property
    def limits(self) -> tuple[float, float]:
        """Low and high, at LEVEL. May leave the metric's range, such as [0, 1]: the normal law does not know it."""
        half = half_width(len(self.values)) * self.scale
        return mean(self.values) - half, mean(self.values) + half

    def chance(self, value: float) -> float:
        """The p-value of a next seed's value: how often one would lie as far from the mean, or farther."""
        away = abs(value - mean(self.values)) / self.scale
        return float(2 * stats.t.sf(away, len(self.values) - 1))

    def holds(self, value: float) -> bool:
        low, high = self.limits
        return low <= value <= high


def half_width(seeds: int) -> float:
    """Of a band of so many seeds, in units of s sqrt(1 + 1/n)."""
    return float(stats.t.ppf((1 + LEVEL) / 2, seeds - 1))


# Records

def metrics(record: Record) -> dict[str, float]:
    """A record's metrics, flat: {"synthetic/ten_cnn": 0.94}. Items of a list of dicts go by their position.

    Numbers that stand in a list are left out, such as tables, histories and repeated draws: they have no name of their
    own, and what a chapter says of them has. So are infinities, which have no spread.
    """
    return dict(_walk(record.metrics, ""))


def _walk(value, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{path}/{name}" if path else name)
    elif type(value) in (int, float):
        yield path, float(value)


def seedless(value):
    """A configuration without its seed, at any depth."""
    if not isinstance(value, dict):
        return value
    return {name: seedless(item) for name, item in value.items() if name != "seed"}


def alike(record: Record, records: list[Record]) -> list[Record]:
    """Those that are the record, or differ from it in seed alone.

    Their sources are compared by their status, not here; their machines are not, for a band is to hold on another.
    """
    def of(each):
        return each.study, seedless(each.content["config"]), each.card

    return [each for each in records if of(each) == of(record)]


def groups(records: list[Record]) -> list[list[Record]]:
    """The records, those together that differ in seed alone; in the order of the first of each."""
    found: list[list[Record]] = []
    for record in records:
        if not any(record in group for group in found):
            found.append(alike(record, records))
    return found


def of(records: list[Record]) -> dict[str, Band]:
    """Metric -> its band over the records, which differ in seed alone."""
    flat = [metrics(record) for record in records]
    names = dict.fromkeys(name for values in flat for name in values)
    return {name: Band(tuple(values[name] for values in flat if name in values)) for name in names}


# A verdict

@dataclass(frozen=True)
class Comparison:
    """A run's metrics against the bands of other seeds. values: by metric.  known: the bands there are, by metric."""

    values: dict[str, float]
    known: dict[str, Band]

    @property
    def inside(self) -> int:
        """Metrics within their own band. Of those of a sound run, 1 - LEVEL lie outside on average."""
        return sum(band.holds(self.values[name]) for name, band in self.known.items())

    @property
    def verdict(self) -> str:
        """NOT_REPRODUCED if a metric is too far off even as the farthest of all m: p < (1 - LEVEL) / m.

        That is Bonferroni's rule. It calls at most 1 - LEVEL of sound runs so, however the metrics of a run hang
        together. A binomial test of how many lie outside would not do, for metrics of one run move together.
        """
        if not self.known:
            return NO_BAND
        least = min(band.chance(self.values[name]) for name, band in self.known.items())
        return NOT_REPRODUCED if least * len(self.known) < 1 - LEVEL else WITHIN


def compare(record: Record, others: list[Record]) -> Comparison:
    """The record against other seeds of the same run. A metric that either lacks is left out."""
    values, found = metrics(record), of(others)
    return Comparison(values, {name: band for name, band in found.items() if band.is_known and name in values})


def among(record: Record, published: list[Record]) -> Comparison:
    """The record against the other seeds among published ones."""
    return compare(record, [each for each in alike(record, published) if each.run_id != record.run_id])
