"""The paper's claims on class imbalance and on sample size, with their rules."""

from dpgan_lib.records.store import Record
from dpgan_lib.report import numbers
from dpgan_lib.studies.class_imbalance import study, tables
from dpgan_lib.studies.verdicts import (
    FAILS,
    FIRST_LOOK,
    HOLDS,
    IN_PART,
    NOT_MEASURED,
    PAPER,
    TREND,
    TREND_POINTS,
    TREND_SEEDS,
    Claim,
    Verdict,
    epsilon_of,
    fewest_seeds,
    of_parts,
    on_mnist,
    stale,
    trend,
)

SCARCE = 0.01  # of a class, at most, is kept where it counts as underrepresented
DRAWS = 5  # of what is kept of the rare class, before a verdict
SHORT = 0.1  # accuracy that the smallest N must lack for the largest one's to have needed its samples
BY_OURS = "this book's method alone: the paper's own has not been tried on it"


def judge_imbalance(records: list[Record]) -> Verdict:
    """Images asked for by code help a CNN to find a class of which SCARCE or less is kept, at every epsilon up to 10:
    more than the real images as they are, and more than repeating the rare ones; each on average over draws of what is
    kept. In part, if only the former.
    """
    scarce = [record for record in records if record.asked["kept"] <= SCARCE and epsilon_of(record) <= 10]
    if not scarce:
        return Verdict(NOT_MEASURED, "no record")
    cells = {cell: [tables.row(record) for record in scarce if _cell(record) == cell]
             for cell in dict.fromkeys(map(_cell, scarce))}
    means = [[sum(tables.score(row, remedy) for row in rows) / len(rows)
              for remedy in ("real", "oversampled", "topped_up")] for rows in cells.values()]
    beats = [all(topped > each[index] for *each, topped in means) for index in (0, 1)]
    verdict = HOLDS if all(beats) else IN_PART if beats[0] else FAILS
    measured = "; ".join(f"{tables.run_name(rows[0])}: {real:.1%} of the real test images found without, "
                         f"{repeated:.1%} with repeated, {topped:.1%} with generated ones"
                         for rows, (real, repeated, topped) in zip(cells.values(), means))
    return Verdict(verdict, measured + stale(scarce), fewest_seeds(scarce, cell=_cell))


def _cell(record: Record) -> tuple:
    return record.asked["kept"], epsilon_of(record)


def judge_samples(records: list[Record]) -> Verdict:
    """At each epsilon, what a CNN learns from generated images rises with N, as Page's test sees it over seeds, and the
    smallest N is at least SHORT behind the largest: in part, where only one of these is so.
    """
    rows = tables.by_size(list(map(tables.row, records)))
    curves = {epsilon: _curve([row for row in rows if row["epsilon"] == epsilon])
              for epsilon in sorted({row["epsilon"] for row in rows})}
    if not curves or min(map(len, curves.values())) < TREND_POINTS:
        return Verdict(NOT_MEASURED, f"needs {TREND_POINTS} sizes at each epsilon")
    measured = "; ".join(f"{numbers.epsilon_name(epsilon)}: "
                         + ", ".join(f"N = {size:,}: {numbers.mean_words(values)}" for size, values in curve.items())
                         for epsilon, curve in curves.items()) + stale(records)
    tested = [trend(_by_seed([row for row in rows if row["epsilon"] == epsilon])) for epsilon in curves]
    if None in tested:
        return Verdict(FIRST_LOOK, f"{measured}; too few seeds for a test of the trend", 1)
    kept = [all(p_value <= TREND for p_value, _ in tested), all(_gain(curve) >= SHORT for curve in curves.values())]
    p_values = ", ".join(f"{p_value:.2g}" for p_value, _ in tested)
    return Verdict(of_parts(kept), f"{measured}; Page's test for a trend over seeds: p = {p_values}",
                   min(seeds for _, seeds in tested))


def _curve(rows: list[dict]) -> dict[int, list[float]]:
    """N -> the CNN's accuracies, of all seeds."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["records"], []).append(_accuracy(row))
    return found


def _by_seed(rows: list[dict]) -> dict[int, dict[float, float]]:
    found: dict[int, dict[float, float]] = {}
    for row in rows:
        found.setdefault(row["seed"], {})[row["records"]] = _accuracy(row)
    return found


def _accuracy(row: dict) -> float:
    return tables.score(row, "synthetic", measure="accuracy")  # type: ignore[return-value]  # every run measures it


def _gain(curve: dict[int, list[float]]) -> float:
    """From the smallest N to the largest, on average over seeds."""
    least, most = (sum(curve[size]) / len(curve[size]) for size in (min(curve), max(curve)))
    return most - least


CLAIMS = (
    Claim(who=PAPER, words="Class imbalance is addressed", method=BY_OURS, seeds=DRAWS,
          rule=f"Of the digit {study.RARE}, with {SCARCE:.0%} or less of it kept, a CNN finds more real ones with "
               "generated images added, at every epsilon up to 10, than without, and than with the rare images "
               "repeated, on average over draws of what is kept; in part, if only the former.",
          study="class_imbalance", where="recall-of-the-rare-digit", judge=judge_imbalance, admits=on_mnist),
    Claim(who=PAPER, words="It needs sufficient training samples", method=BY_OURS, seeds=TREND_SEEDS,
          rule="At each epsilon, a CNN trained on generated images gets better with N, by Page's test over seeds "
               f"(p at most {TREND:g}), and the smallest N is at least {100 * SHORT:.0f} points behind; in part, if "
               "one of the two.",
          study="class_imbalance", where="sufficient-training-samples", judge=judge_samples, admits=on_mnist),
)
