"""The paper's claims on codes, and the rules by which records of this study judge them.

Whether codes control what is generated is judged by the trade-off's records, in mnist_tradeoff.claims.
"""

import math

from dpgan_lib.measures import codes
from dpgan_lib.records.store import Record
from dpgan_lib.studies.verdicts import NOT_MEASURED, PAPER, Claim, Verdict, on_mnist, verdict_of

READ, MEANT = 0.5, 0.5  # most codes are read; most images of a code are one digit


def judge_readable(records: list[Record]) -> Verdict:
    """At lambda 1 a new network reads most codes, and for every seed more than at lambda 0."""
    read = _by_weight(records, lambda metrics: metrics["readers"]["independent"]["accuracy"])
    without, with_term = read.get(0.0, {}), read.get(1.0, {})
    seeds = without.keys() & with_term.keys()
    if len(seeds) < 3:
        return Verdict(NOT_MEASURED, "needs three seeds at lambda 0 and at lambda 1")
    means = [sum(values[seed] for seed in seeds) / len(seeds) for values in (without, with_term)]
    holds = means[1] > READ and all(with_term[seed] > without[seed] for seed in seeds)
    return verdict_of(holds, f"read right at lambda 0: {means[0]:.1%}, at lambda 1: {means[1]:.1%}", records)


def judge_meaning(records: list[Record]) -> Verdict:
    """At some lambda above 0 most images of a code are one digit. A run that collapsed counts as none."""
    def pure(metrics):
        return metrics["digits"]["purity"] * (metrics["digits"]["drawn"] >= codes.COLLAPSED)

    purity = _by_weight(records, pure)
    means = {weight: sum(values.values()) / len(values) for weight, values in sorted(purity.items())
             if weight > 0 and len(values) >= 3}
    if not means:
        return Verdict(NOT_MEASURED, "needs three seeds at a lambda above 0")
    listed = ", ".join(f"lambda {weight:g}: {mean:.1%}" for weight, mean in means.items())
    return verdict_of(max(means.values()) > MEANT, f"purity at {listed}", records)


def _by_weight(records, value):
    """Lambda -> seed -> value(metrics), of the runs as in the paper: no labels; and no privacy."""
    found: dict[float, dict[int, float]] = {}
    for record in records:
        if not record.config.model.conditional and math.isinf(record.config.privacy.epsilon):
            found.setdefault(record.config.optimiser.info_weight, {})[record.config.seed] = value(record.metrics)
    return found


CLAIMS = (
    Claim(who=PAPER, words="Maximising I(c; G(z, c)) makes images depend on their code",
          rule=f"Without labels or privacy, a network that met neither Q nor G reads more than {READ:.0%} of the codes "
               "of new images at lambda 1, and for every seed more than at lambda 0.",
          study="mutual_information", where="in-a-gan", judge=judge_readable, admits=on_mnist),
    Claim(who=PAPER, words="The latent representations learnt are meaningful",
          rule=f"Without labels or privacy, more than {MEANT:.0%} of the images of a code are one digit, at some "
               "lambda above 0, on average over seeds.",
          study="mutual_information", where="in-a-gan", judge=judge_meaning, admits=on_mnist),
)
