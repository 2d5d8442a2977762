"""The paper's claims on codes, and the rules by which records of this study judge them.

Whether codes control what is generated is judged by the trade-off's records, in mnist_tradeoff.claims.
"""

import math
from collections.abc import Callable
from functools import partial

from dpgan_lib.records.store import Record
from dpgan_lib.report.numbers import mean_words
from dpgan_lib.studies.mutual_information import tables
from dpgan_lib.studies.verdicts import (
    NOT_MEASURED,
    PAPER,
    TREND_SEEDS,
    Claim,
    Verdict,
    epsilon_of,
    fewest_seeds,
    on_mnist,
    verdict_of,
    with_several,
)

READ, MEANT = 0.5, 0.5  # most codes are read; most images of a code are its digit


def judge_readable(records: list[Record]) -> Verdict:
    """At lambda 1 a new network reads most codes, and for every seed more than at lambda 0."""
    read = _by_weight(records, lambda metrics: metrics["readers"]["independent"]["accuracy"])
    without, with_term = read.get(0.0, {}), read.get(1.0, {})
    seeds = without.keys() & with_term.keys()
    if not seeds:
        return Verdict(NOT_MEASURED, "needs runs of the same seed at lambda 0 and at lambda 1")
    means = [sum(values[seed] for seed in seeds) / len(seeds) for values in (without, with_term)]
    holds = means[1] > READ and all(with_term[seed] > without[seed] for seed in seeds)
    return verdict_of(holds, f"read right at lambda 0: {means[0]:.1%}, at lambda 1: {means[1]:.1%}", records,
                      len(seeds))


def _by_weight(records: list[Record], value: Callable[[dict], float]) -> dict[float, dict[int, float]]:
    """Lambda -> seed -> value(metrics), of the runs as in the paper: no labels; and no privacy."""
    found: dict[float, dict[int, float]] = {}
    for record in records:
        if not record.asked["conditional"] and math.isinf(epsilon_of(record)):
            found.setdefault(record.asked["info_weight"], {})[record.asked["seed"]] = value(record.metrics)
    return found


def judge_meaning(records: list[Record]) -> Verdict:
    """Most generated images show the digit that their code is matched with, one to one, by one setting at least."""
    if not records:
        return Verdict(NOT_MEASURED, "no record")
    counted = with_several(records, cell=_setting)
    found: dict[str, list[float]] = {}
    for record in counted:
        found.setdefault(_setting(record), []).append(record.metrics["generated"]["disclosed"]["agreement"])
    holds = max(sum(values) / len(values) for values in found.values()) > MEANT
    return verdict_of(holds, "; ".join(f"{setting}: {mean_words(values)}" for setting, values in sorted(found.items())),
                      records, fewest_seeds(counted, cell=_setting))


def _setting(record: Record) -> str:
    return tables.settings_name(record.asked)


def of_infogan(records: list[Record], deformed: bool, wasserstein: bool) -> list[Record]:
    """The runs that were given the time to learn digits, by what Q reads and by the family of the loss."""
    return [record for record in on_mnist(records, "infogan")
            if record.asked["deformed"] == deformed and (record.asked["loss"] != "js") == wasserstein]


CLAIMS = (
    Claim(who=PAPER, words="Maximising I(c; G(z, c)) makes images depend on their code",
          rule=f"Without labels or privacy, a network that met neither Q nor G reads more than {READ:.0%} of the codes "
               "of new images at lambda 1, and for every seed more than at lambda 0.",
          study="mutual_information", where="in-a-gan", judge=judge_readable, admits=on_mnist),
    *(Claim(who=PAPER, words="The latent representations learnt are meaningful", method=method, seeds=TREND_SEEDS,
            rule=f"Without labels or privacy, more than {MEANT:.0%} of the generated images show the digit that their "
                 "code is matched with, one to one, as a judge reads it that learnt from real digits; on average over "
                 "seeds, by one setting of the loss at least.",
            study="mutual_information", where="infogan-s-own-result", judge=judge_meaning,
            admits=partial(of_infogan, deformed=deformed, wasserstein=wasserstein))
      for method, deformed, wasserstein in (
          ("InfoGAN as published", False, False), ("InfoGAN, its reader shown deformed images", True, False),
          ("Wasserstein's loss", False, True), ("Wasserstein's loss, its reader shown deformed images", True, True))),
)
