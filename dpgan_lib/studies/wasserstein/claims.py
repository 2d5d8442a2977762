"""The paper's claim on stability, and the rule by which records of this study judge it."""

from scipy.stats import fisher_exact

from dpgan_lib.records.store import Record
from dpgan_lib.studies.verdicts import (
    NOT_MEASURABLE,
    NOT_MEASURED,
    PAPER,
    Claim,
    Verdict,
    fewest_seeds,
    no_smoke,
    of_parts,
    stale,
)

STABLE = 0.1  # of the runs, at most, that collapse
LEAST_RUNS = 100  # of each loss: with fewer, a difference of a few points could not be told from chance
LEVEL = 0.05  # of the test that fewer collapse


def judge_stability(records: list[Record]) -> Verdict:
    """Few Wasserstein runs collapse, and fewer than of the other loss, by Fisher's exact test: in part, where only one
    of these is so. What counts as collapse is in `stability`.
    """
    runs = [run for record in records for run in record.metrics["runs"]]
    collapsed = {loss: [run["collapsed"] for run in runs if run["loss"] == loss] for loss in ("Wasserstein", "JS")}
    if not runs:
        return Verdict(NOT_MEASURED, "no record")
    table = [[sum(each), len(each) - sum(each)] for each in collapsed.values()]
    p_value = fisher_exact(table, alternative="less").pvalue
    counts = ", ".join(f"{sum(each)} of {len(each)} {loss}" for loss, each in collapsed.items())
    measured = f"collapsed: {counts} runs; Fisher's exact test that fewer do: p = {p_value:.2g}"
    if min(map(len, collapsed.values())) < LEAST_RUNS:
        return Verdict(NOT_MEASURABLE, f"{measured}; {LEAST_RUNS} runs of each could tell{stale(records)}")
    kept = [sum(collapsed["Wasserstein"]) <= STABLE * len(collapsed["Wasserstein"]), p_value <= LEVEL]
    return Verdict(of_parts(kept), measured + stale(records), fewest_seeds(records, cell=lambda record: record.kind))


def admissible_sweeps(records: list[Record]) -> list[Record]:
    """The GANs on MNIST, and no smoke run: the toy's data set is another."""
    return no_smoke(records, "stability")


CLAIMS = (
    Claim(who=PAPER, words="Wasserstein training is stable",
          rule=f"At most {STABLE:.0%} of the runs collapse, over learning rates, widths and seeds, and fewer than of a "
               f"GAN that differs in its loss (Fisher's exact test, p at most {LEVEL:g}); in part, if one of the two; "
               f"not measurable, with fewer than {LEAST_RUNS} runs of each.",
          study="wasserstein", where="is-training-more-stable", judge=judge_stability, admits=admissible_sweeps),
)
