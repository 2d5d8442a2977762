"""The paper's claim on memorisation and this book's on accounting, with their rules."""

import math

from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.studies.audit import canaries, study, tables
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
    of_parts,
    on_mnist,
    stale,
)

MEMORISES = 0.05  # level of all swap tests published together, shared out among them
LEARNT_DIGITS = 0.5  # of the held-out digits named by a classifier trained on generated ones; chance is 0.1


def judge_memorisation(records: list[Record]) -> Verdict:
    """Nearest neighbours give away what each GAN without privacy learnt from, and never what a private one did.

    In part, where no private generator learnt enough to have anything to give away. Where they give away no private run
    and not every run without privacy, the test cannot tell what privacy prevents. Never a proof of safety.
    """
    private = [record for record in records if math.isfinite(store.number(record.privacy["epsilon_asked"]))]
    plain = [record for record in records if record not in private]
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without privacy")
    caught, shown = (sum(record.metrics["nearest"]["p_value"] <= MEMORISES / len(records) for record in some)
                     for some in (private, plain))
    learnt = sum(record.metrics["learnt"] >= LEARNT_DIGITS for record in private)
    verdict = FAILS if caught else NOT_MEASURABLE if shown < len(plain) else HOLDS if learnt else IN_PART
    return Verdict(verdict, f"memorisation found in {caught} of {len(private)} private runs, of which {learnt} learnt "
                   f"to draw digits, and in {shown} of {len(plain)} without privacy{stale(records)}")


def judge_accounting(records: list[Record]) -> Verdict:
    """No audit of a mechanism as claimed refutes it, and audits do refute what is broken; in part, if one of the two.

    Broken are a run without noise and clip, held against BROKEN_CLAIM by an auditor who knows the data, and the
    mechanism with half its noise.
    """
    private = [record for record in records if record.metrics["alone"]]
    plain = [record for record in records if not record.metrics["alone"]]
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without noise")
    above = [found["epsilon"] > tables.claim(record) for record in private
             for found in record.metrics["audits"].values()]
    caught = [record.metrics["audits"]["knows the data"]["epsilon"] > study.BROKEN_CLAIM for record in plain]
    tests = {name: [sum(record.metrics["alone"][name][part] for record in private) for part in ("refuted", "tests")]
             for name in ("correct", "halved")}
    sound = not any(above) and tests["correct"][0] <= canaries.TEST_LEVEL * tests["correct"][1]
    sharp = all(caught) and tests["halved"][0] > tests["halved"][1] / 2
    return Verdict(of_parts([sound, sharp]),
                   f"bounds above the claim: {sum(above)} of {len(above)}; without noise: {sum(caught)} of "
                   f"{len(caught)}; tests that refute the mechanism as claimed: {tests['correct'][0]} of "
                   f"{tests['correct'][1]}, with half its "
                   f"noise: {tests['halved'][0]} of {tests['halved'][1]}{stale(records)}")


CLAIMS = (
    Claim(who=PAPER, words="Privacy prevents memorisation",
          rule="A permutation test of nearest neighbours finds memorisation in every run without privacy and in no "
               "private one; in part, if no private run drew digits that are good enough to train on; not measurable, "
               "if it finds it in "
          "no private run and not in every other. No proof of safety.",
          study="audit", where="memorisation", judge=judge_memorisation, admits=on_mnist),
    Claim(who=BOOK, words="Epsilon can be checked, and holds",
          rule="No audit bounds the epsilon of a run above what it claims, and tests of the mechanism at level "
          f"{canaries.TEST_LEVEL:g} refute it no more often than that; and audits see a run without noise, and tests "
          "half the noise more often than not. In part, if one of the two.",
          study="audit", where="the-audit-one-run-many-canaries", judge=judge_accounting, admits=on_mnist),
)
