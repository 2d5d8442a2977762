"""The paper's claims on class imbalance and on sample size, with their rules."""

from itertools import pairwise

from dpgan_lib.records.store import Record
from dpgan_lib.report import numbers
from dpgan_lib.studies.class_imbalance import tables
from dpgan_lib.studies.verdicts import (
    FAILS,
    HOLDS,
    IN_PART,
    NOT_MEASURED,
    PAPER,
    Claim,
    Verdict,
    of_parts,
    on_mnist,
    stale,
)

SCARCE = 0.01  # of a class, at most, is kept where it counts as underrepresented
SHORT = 0.1  # accuracy that the smallest N must lack for the largest one's to have needed its samples


def judge_imbalance(records: list[Record]) -> Verdict:
    """Images asked for by code help a CNN to find a class of which SCARCE or less is kept, at every epsilon up to 10:
    more than the real images as they are, and more than repeating the rare ones. In part, if only the former.
    """
    rows = [row for row in tables.thinned(list(map(tables.row, records)))
            if row["kept"] <= SCARCE and row["epsilon"] <= 10]
    if not rows:
        return Verdict(NOT_MEASURED, "no record")
    found = {remedy: [tables.score(row, remedy) for row in rows] for remedy in ("real", "oversampled", "topped_up")}
    beats = {remedy: all(more > less for more, less in zip(found["topped_up"], found[remedy])) for remedy in found}
    verdict = HOLDS if beats["real"] and beats["oversampled"] else IN_PART if beats["real"] else FAILS
    measured = "; ".join(f"{tables.run_name(row)}: {real:.1%} of the real test images found without, "
                         f"{repeated:.1%} with repeated, {topped:.1%} with generated ones"
                         for row, real, repeated, topped in zip(rows, *found.values()))
    return Verdict(verdict, measured + stale(records))


def judge_samples(records: list[Record]) -> Verdict:
    """At each epsilon, what a CNN learns from generated images rises with every larger N, and the smallest N is at
    least SHORT behind the largest: in part, where only one of these is so.
    """
    rows = tables.by_size(list(map(tables.row, records)))
    curves = {epsilon: {row["records"]: tables.score(row, "synthetic", measure="accuracy")
                        for row in rows if row["epsilon"] == epsilon} for epsilon in {row["epsilon"] for row in rows}}
    if not curves or min(map(len, curves.values())) < 3:
        return Verdict(NOT_MEASURED, "needs three sizes at each epsilon")
    accuracies = [list(curve.values()) for curve in curves.values()]
    kept = [all(less < more for each in accuracies for less, more in pairwise(each)),
            all(each[-1] - each[0] >= SHORT for each in accuracies)]
    measured = "; ".join(f"{numbers.epsilon_name(epsilon)}: "
                         + ", ".join(f"N = {size:,}: {value:.1%}" for size, value in curve.items())
                         for epsilon, curve in sorted(curves.items()))
    return Verdict(of_parts(kept), measured + stale(records))


CLAIMS = (
    Claim(who=PAPER, words="Class imbalance is addressed",
          rule=f"Of a digit with {SCARCE:.0%} or less kept, a CNN finds more real ones with generated images added, at "
               "every epsilon up to 10, than without, and than with the rare images repeated; in part, if only the "
               "former.",
          study="class_imbalance", where="recall-of-the-rare-digit", judge=judge_imbalance, admits=on_mnist),
    Claim(who=PAPER, words="It needs sufficient training samples",
          rule=f"At a fixed epsilon, a CNN trained on generated images gets better with every larger N, and the "
               f"smallest N is at least {100 * SHORT:.0f} points behind; in part, if one of the two.",
          study="class_imbalance", where="sufficient-training-samples", judge=judge_samples, admits=on_mnist),
)
