"""The paper's claim on stability, and the rule by which records of this study judge it."""

from dpgan_lib.records.store import Record
from dpgan_lib.studies.verdicts import NOT_MEASURED, PAPER, Claim, Verdict, no_smoke, of_parts, stale

STABLE = 0.1  # of the runs, at most, that collapse


def judge_stability(records: list[Record]) -> Verdict:
    """Few Wasserstein runs collapse, and fewer than of the other loss: in part, where only one of these is so.

    What counts as collapse is in `stability`; both were written before any run on MNIST.
    """
    runs = [run for record in records for run in record.metrics["runs"]]
    collapsed = {loss: [run["collapsed"] for run in runs if run["loss"] == loss] for loss in ("Wasserstein", "JS")}
    if not runs:
        return Verdict(NOT_MEASURED, "no record")
    share = {loss: sum(each) / len(each) for loss, each in collapsed.items()}
    kept = [share["Wasserstein"] <= STABLE, share["Wasserstein"] < share["JS"]]
    counts = ", ".join(f"{sum(each)} of {len(each)} {loss}" for loss, each in collapsed.items())
    return Verdict(of_parts(kept), f"collapsed: {counts} runs ({len(records)} seeds{stale(records)})")


def admissible_sweeps(records: list[Record]) -> list[Record]:
    """The GANs on MNIST, and no smoke run: the toy's data set is another."""
    return no_smoke(records, "stability")


CLAIMS = (
    Claim(who=PAPER, words="Wasserstein training is stable",
          rule=f"At most {STABLE:.0%} of the runs collapse, over learning rates, widths and seeds, and fewer than of a "
               "GAN that differs in its loss; in part, if one of the two.",
          study="wasserstein", where="is-training-more-stable", judge=judge_stability, admits=admissible_sweeps),
)
