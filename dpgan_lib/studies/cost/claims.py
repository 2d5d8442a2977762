"""The paper's claim on training time and this book's, with their rules."""

from dpgan_lib.records.store import Record
from dpgan_lib.report import cards
from dpgan_lib.studies.cost import bench, tables
from dpgan_lib.studies.verdicts import (
    BOOK,
    FAILS,
    HOLDS,
    IN_PART,
    NOT_MEASURED,
    PAPER,
    Claim,
    Verdict,
    of_parts,
    stale,
)


def judge_tenfold(records: list[Record]) -> Verdict:
    """Ten times as long: in part, where a record at a time takes TENFOLD times a plain step and a whole run less."""
    on_cpu = [record for record in records if tables.device_of(record) == "cpu"]
    if not on_cpu:
        return Verdict(NOT_MEASURED, "no benchmark of a CPU")
    record = on_cpu[0]
    loop = tables.ratio(record, "MNIST", bench.ONLY_AT["explicit loop"], "explicit loop")
    run = tables.run_ratio(record, "laptop")
    verdict = HOLDS if min(loop, run) >= tables.TENFOLD else IN_PART if loop >= tables.TENFOLD else FAILS
    return Verdict(verdict, f"{loop:.1f} times for a step, one record at a time; {run:.2f} times for a whole run with "
                   f"the book's clipping ({cards.run_name(record)}{stale([record])})")


def judge_speed(records: list[Record]) -> Verdict:
    """The targets of the chapter on time, of a CPU. Too many to list: they are counted."""
    on_cpu = [record for record in records if tables.device_of(record) == "cpu"]
    if not on_cpu:
        return Verdict(NOT_MEASURED, "no benchmark of a CPU")
    met = [row["met"] for row in tables.targets(on_cpu[0])]
    run = tables.run_ratio(on_cpu[0], "laptop")
    return Verdict(of_parts([bool(each) for each in met]), f"{sum(map(bool, met))} of {len(met)} targets reached; a "
                                                           f"whole private run takes {run:.2f} times a plain one "
                                                           f"({cards.run_name(on_cpu[0])}{stale(on_cpu[:1])})")


CLAIMS = (
    Claim(who=PAPER, words="Privacy makes training ten times longer",
          rule=f"Holds if a whole private run takes {tables.TENFOLD:g} times the time of a plain one; in part if only "
               "a step that clips one record at a time does.",
          study="cost", where="targets-and-what-came-out", judge=judge_tenfold),
    Claim(who=BOOK, words="Privacy need not cost time",
          rule="Every target of time and memory that was set beforehand for a CPU is reached; in part, if some are.",
          study="cost", where="targets-and-what-came-out", judge=judge_speed),
)
