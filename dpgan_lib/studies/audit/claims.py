"""The paper's claim on memorisation and this book's on accounting, with their rules."""

import math
from functools import partial
from statistics import median

from dpgan_lib.privacy.audit import GAUSSIAN_MEAN
from dpgan_lib.records.store import Record
from dpgan_lib.studies.audit import alone, canaries, study
from dpgan_lib.studies.verdicts import (
    BOOK,
    FAILS,
    HOLDS,
    IN_PART,
    NOT_MEASURABLE,
    NOT_MEASURED,
    PAPER,
    Claim,
    Verdict,
    epsilon_of,
    fewest_seeds,
    no_smoke,
    of_parts,
    on_mnist,
    stale,
)

MEMORISES = 0.05  # level of all swap tests published together, by Holm's correction
LEARNT_DIGITS = 0.5  # of the held-out digits named by a classifier trained on generated ones; chance is 0.1
SEEDS = 10  # of private runs, before a verdict may say that none memorises


def judge_memorisation(records: list[Record]) -> Verdict:
    """Nearest neighbours give away what each GAN without privacy learnt from, and never what a private one did.

    Those without privacy are the positive control: unless each is given away, the test cannot tell what privacy
    prevents. In part, where no private generator learnt enough to have anything to give away. Never a proof of safety.
    """
    private, plain = _parted(records)
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without privacy")
    p_values = [record.metrics["nearest"]["p_value"] for record in private + plain]
    found = holm(p_values, MEMORISES)
    caught, shown = sum(found[:len(private)]), sum(found[len(private):])
    learnt = sum(record.metrics["learnt"] >= LEARNT_DIGITS for record in private)
    verdict = NOT_MEASURABLE if shown < len(plain) else FAILS if caught else HOLDS if learnt else IN_PART
    return Verdict(verdict, f"memorisation found in {caught} of {len(private)} private runs, of which {learnt} learnt "
                   f"to draw digits, and in {shown} of {len(plain)} without privacy, the positive control; least p of "
                   f"a private run: {min(p_values[:len(private)]):.2g}, of {len(records)} tests{stale(records)}",
                   fewest_seeds(private))


def _parted(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """The private runs, and those without privacy."""
    private = [record for record in records if math.isfinite(epsilon_of(record))]
    return private, [record for record in records if record not in private]


def holm(p_values: list[float], level: float) -> list[bool]:
    """Which of several tests reject, so that any wrong rejection among them has at most that probability.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    rejects = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejects[index] = True
    return rejects


def judge_accounting(records: list[Record]) -> Verdict:
    """No audit of a mechanism as claimed refutes it, and audits do refute what is broken; in part, if one of the two.

    The audits' bounds are at a level that is shared among all of them. Broken are a run without noise, held against
    BROKEN_CLAIM by an auditor who knows the data, by any estimator; and the mechanism with half its noise.
    """
    private, plain = _parted(records)
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without noise")
    above = [bound > record.metrics["claimed"] for record in private
             for found in record.metrics["audits"].values() for bound in found["together"].values()]
    caught = [max(record.metrics["audits"][canaries.KNOWS_DATA]["together"].values()) > record.metrics["claimed"]
              for record in plain]
    tests = {name: [sum(record.metrics["alone"][name][part] for record in private) for part in ("refuted", "tests")]
             for name in ("correct", "halved")}
    sound = not any(above) and tests["correct"][0] <= alone.TEST_LEVEL * tests["correct"][1]
    sharp = all(caught) and tests["halved"][0] > tests["halved"][1] / 2
    return Verdict(of_parts([sound, sharp]),
                   f"bounds above the claim: {sum(above)} of {len(above)}; without noise: {sum(caught)} of "
                   f"{len(caught)}; tests that refute the mechanism as claimed: {tests['correct'][0]} of "
                   f"{tests['correct'][1]}, with half its "
                   f"noise: {tests['halved'][0]} of {tests['halved'][1]}{stale(records)}", fewest_seeds(records))


CLOSE = {10.0: 8.5, 1.0: 0.45}  # epsilon claimed -> what an audit of it is to show; set before any run on MNIST


def judge_closeness(records: list[Record]) -> Verdict:
    """Of CLOSE, by the median over seeds at LEVEL; in part, if at one of the claims."""
    found = {claimed: [record.metrics["audits"][canaries.KNOWS_DATA]["bounds"][GAUSSIAN_MEAN] for record in records
                       if epsilon_of(record) == claimed] for claimed in CLOSE}
    if not all(found.values()):
        return Verdict(NOT_MEASURED, f"needs runs at epsilon {' and '.join(f'{claimed:g}' for claimed in CLOSE)}")
    measured = "; ".join(f"at epsilon {claimed:g}: {median(found[claimed]):.2f} (of {least:g}), the median of "
                         + ", ".join(f"{bound:.2f}" for bound in sorted(found[claimed]))
                         for claimed, least in CLOSE.items())
    return Verdict(of_parts([median(found[claimed]) >= least for claimed, least in CLOSE.items()]),
                   measured + stale(records), min(map(len, found.values())))


def judge_whole(records: list[Record]) -> Verdict:
    """judge_closeness, in part where that does not hold in full; but a bound of a whole run above its claim, at the
    shared level, refutes it.
    """
    close = judge_closeness(records)
    if close.verdict == NOT_MEASURED:
        return close
    bounds = [bound > record.metrics["claimed"] for record in records
              for found in record.metrics["audits"].values() for bound in found["together"].values()]
    verdict = FAILS if any(bounds) else HOLDS if close.verdict == HOLDS else IN_PART
    return Verdict(verdict, f"bounds above the claim: {sum(bounds)} of {len(bounds)}; {close.measured}", close.seeds)


def judge_mutants(records: list[Record]) -> Verdict:
    """Every mutant is refuted, and the library as it is is not; in part, if one of the two."""
    if not records:
        return Verdict(NOT_MEASURED, "no record")
    caught = [each["step"] is not None for record in records for each in record.metrics["mutants"].values()]
    refuted = [each["step"] is not None for record in records for each in record.metrics["correct"]]
    return Verdict(of_parts([all(caught), not any(refuted)]),
                   f"{sum(caught)} of {len(caught)} mutants refuted, and {sum(refuted)} of {len(refuted)} runs of the "
                   f"library as it is{stale(records)}", fewest_seeds(records, lambda record: None))


CLAIMS = (
    Claim(who=PAPER, words="Privacy prevents memorisation", seeds=SEEDS,
          rule="A permutation test of nearest neighbours, with Holm's correction for all such tests, finds "
               "memorisation in every run without privacy, the positive control, and in no private one; in part, if "
               "no private run drew digits that are good enough to train on; not measurable, without the control. No "
               "proof of safety.",
          study="audit", where="memorisation", judge=judge_memorisation,
          admits=partial(on_mnist, kind=study.MEMORISATION.kind)),
    Claim(who=BOOK, words="Epsilon can be checked, and holds",
          rule="No audit bounds the epsilon of a run above what it claims, and tests of the mechanism at level "
          f"{alone.TEST_LEVEL:g} refute it no more often than that; and audits see a run without noise, and tests "
          "half the noise more often than not. In part, if one of the two.",
          study="audit", where="the-audit-one-run-many-canaries", judge=judge_accounting, admits=on_mnist),
    Claim(who=BOOK, words="One run shows most of its epsilon",
          rule="The median over seeds of what the difference of means shows is "
          + " and ".join(f"{least:g} or more at epsilon {claimed:g}" for claimed, least in CLOSE.items())
          + f", each at level {study.LEVEL:g}. In part, if at one of them.",
          study="audit", where="four-estimators", judge=judge_closeness, admits=on_mnist),
    Claim(who=BOOK, words="One run of the whole method shows most of its epsilon",
          rule="No audit of the noisy sums, the reader and the critic together bounds a run's epsilon above what it "
          "claims; and the median over seeds of what the difference of means shows is "
          + " and ".join(f"{least:g} or more at epsilon {claimed:g}" for claimed, least in CLOSE.items())
          + f", each at level {study.LEVEL:g}. In part, if no bound is above and the medians fall short.",
          study="audit", where="the-whole-method", judge=judge_whole,
          admits=partial(on_mnist, kind=study.WHOLE.kind)),
    Claim(who=BOOK, words="Broken mechanisms are seen through as they train",
          rule="Every mutant of the mechanism is refuted within a run, and no run of the library as it is. In part, if "
          "one of the two.",
          study="audit", where="watching-a-run", judge=judge_mutants,
          admits=partial(no_smoke, kind=study.MUTANTS.kind)),
)
