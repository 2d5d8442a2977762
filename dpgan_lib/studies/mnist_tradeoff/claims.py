"""The claims that the MNIST study judges: the paper's on utility and control, and this book's on its own method."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.stats import page_trend_test

from dpgan_lib.records.store import Record
from dpgan_lib.report import numbers
from dpgan_lib.report.numbers import mean_words
from dpgan_lib.studies.mnist_tradeoff import study, tables
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
    of_targets,
    on_mnist,
    stale,
    standing,
    verdict_of,
)

SLIGHTLY = 0.05  # our reading of the paper's "slightly": at most 5 points of accuracy from no privacy to epsilon 1
LEARNT = 0.75  # on pairs, where chance is 0.5: below this a run without privacy has nothing that privacy could cost
TREND = 0.05  # level of the test for a trend over seeds


def mean_accuracy(records: list[Record], metric: str) -> dict[float, float]:
    """Epsilon -> mean over seeds of an accuracy in [0, 1], by falling privacy."""
    values: dict[float, list[float]] = {}
    for record in records:
        values.setdefault(record.config.privacy.epsilon, []).append(record.metrics["synthetic"][metric])
    return {epsilon: sum(values[epsilon]) / len(values[epsilon]) for epsilon in sorted(values)}


def by_each_method(judge: Callable[[list[Record]], Verdict]) -> Callable[[list[Record]], Verdict]:
    """The judge for the paper's method and for this book's, where they have runs: their verdict if they agree, else in
    part. So what holds by one of them, and cannot be judged of the other for it learnt nothing, holds in part.
    """
    def of_both(records):
        of_method = {study.METHODS[method].name: [record for record in records if record.asked["method"] == method]
                     for method in ("paper", "both")}
        judged = {words: judge(some) for words, some in of_method.items()}
        found = {judged[words].verdict for words, some in of_method.items() if some} or {NOT_MEASURED}
        measured = "; ".join(f"{words}: {verdict.measured}" for words, verdict in judged.items())
        decided = found - {NOT_MEASURED, NOT_MEASURABLE}
        if not decided:
            return Verdict(NOT_MEASURED if NOT_MEASURED in found else NOT_MEASURABLE, measured)
        agreed = found == {HOLDS} or decided == {FAILS}
        return Verdict(decided.pop() if agreed else IN_PART, measured)

    of_both.__name__ = judge.__name__
    return of_both


@by_each_method
def judge_fall(records: list[Record]) -> Verdict:
    """Accuracy on digit pairs rises with every step to a larger epsilon, without privacy the last of them.

    Where three seeds have three epsilons in common, Page's test for a trend over seeds must see it too.
    """
    accuracy = mean_accuracy(records, "pairs_logistic")
    if len(accuracy) < 3 or math.inf not in accuracy:
        return Verdict(NOT_MEASURED, "needs three epsilons, one of them infinite")
    if accuracy[math.inf] < LEARNT:
        return _learnt_nothing(accuracy)
    rises = all(low < high for low, high in pairwise(accuracy.values()))
    p_value = trend(records, "pairs_logistic")
    test = "" if p_value is None else f"; Page's test for a trend: p = {p_value:.2g}"
    return verdict_of(rises and (p_value is None or p_value <= TREND), _listed(records, "pairs_logistic") + test,
                      records)


def trend(records: list[Record], metric: str) -> float | None:
    """The p-value of Page's test that an accuracy rises with epsilon, seed by seed; None without three of each."""
    by_seed: dict[int, dict[float, float]] = {}
    for record in records:
        by_seed.setdefault(record.config.seed, {})[record.config.privacy.epsilon] = record.metrics["synthetic"][metric]
    several = [values for values in by_seed.values() if len(values) >= 3]
    common = sorted(set.intersection(*map(set, several))) if len(several) >= 3 else []
    if len(common) < 3:
        return None
    return float(page_trend_test([[values[epsilon] for epsilon in common] for values in several],
                                 method="exact").pvalue)


@by_each_method
def judge_slightly(records: list[Record]) -> Verdict:
    """The fall from no privacy to epsilon 1 is at most SLIGHTLY."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if 1.0 not in accuracy or math.inf not in accuracy:
        return Verdict(NOT_MEASURED, "needs epsilon 1, and a run without privacy")
    if accuracy[math.inf] < LEARNT:
        return _learnt_nothing(accuracy)
    fall = accuracy[math.inf] - accuracy[1.0]
    return verdict_of(fall <= SLIGHTLY, f"{100 * fall:.1f} points from no privacy to epsilon 1", records)


@by_each_method
def judge_control(records: list[Record]) -> Verdict:
    """Classifiers trained on the digits asked for name most real digits, at every epsilon: chance is 1 in 10."""
    accuracy = mean_accuracy(records, "ten_cnn")
    if not accuracy:
        return Verdict(NOT_MEASURED, "no record")
    return verdict_of(min(accuracy.values()) > 0.5, _listed(records, "ten_cnn"), records)


def _learnt_nothing(accuracy):
    return Verdict(NOT_MEASURABLE, f"without privacy it learnt nothing that privacy could cost: "
                                   f"{accuracy[math.inf]:.1%}")


def _listed(records, metric):
    """Means over seeds by epsilon, with intervals where there are seeds for one."""
    found: dict[float, list[float]] = {}
    for record in records:
        found.setdefault(record.config.privacy.epsilon, []).append(record.metrics["synthetic"][metric])
    return ", ".join(f"{numbers.epsilon_name(epsilon)}: {mean_words(values)}"
                     for epsilon, values in sorted(found.items()))


HALVES = {"releases": "releases alone", "dp_sgd": "DP-SGD alone"}
HALVED_EPSILONS, HALVED_SEEDS = (1.0, 10.0), 3  # where the whole is held against its halves
ABLATED = 2.0  # epsilon at which ingredients are left out


def judge_utility(records: list[Record]) -> Verdict:
    """The targets of the chapter on MNIST."""
    return of_targets(tables.targets(list(map(tables.row, records))), records)


def judge_halves(records: list[Record]) -> Verdict:
    """The whole is better than each half with all of the budget, for every seed; in part, if only on average over
    seeds.
    """
    accuracy = {(record.asked["method"], record.config.privacy.epsilon, record.config.seed):
                record.metrics["synthetic"]["ten_cnn"] for record in records}
    gains = {(half, epsilon): [value - accuracy[half, epsilon, seed]
                               for (method, at, seed), value in sorted(accuracy.items())
                               if method == "both" and at == epsilon and (half, epsilon, seed) in accuracy]
             for half in HALVES for epsilon in HALVED_EPSILONS}
    if min(map(len, gains.values())) < HALVED_SEEDS:
        return Verdict(NOT_MEASURED, f"needs {HALVED_SEEDS} seeds of the whole and of both halves")
    verdict = (HOLDS if min(map(min, gains.values())) > 0 else
               IN_PART if min(map(np.mean, gains.values())) > 0 else FAILS)
    measured = "; ".join(f"{numbers.epsilon_name(epsilon)}, over {HALVES[half]}: " + ", ".join(
        f"{100 * gain:+.1f}" for gain in found) for (half, epsilon), found in gains.items())
    return Verdict(verdict, f"{measured} points, seed by seed{standing(records)}")


def judge_ingredients(records: list[Record]) -> Verdict:
    """Leaving any one ingredient out makes the method worse; in part, if some."""
    found = {record.asked["ablation"]: record.metrics["synthetic"]["ten_cnn"] for record in records
             if record.asked["method"] == "both" and record.config.privacy.epsilon == ABLATED
             and record.config.seed == 0}
    whole = found.pop("none", None)
    if whole is None or not found:
        return Verdict(NOT_MEASURED, f"needs the method at epsilon {ABLATED:g}, whole and with something left out")
    measured = f"whole: {whole:.1%}; " + "; ".join(
        f"{study.ABLATION_WORDS[ablation]}: {value:.1%}" for ablation, value in sorted(found.items()))
    return Verdict(of_parts([value < whole for value in found.values()]), f"{measured} (1 seed{stale(records)})")


def admissible(records: list[Record]) -> list[Record]:
    """The runs on real MNIST, no smoke run, and nothing left out of the method."""
    return [record for record in on_mnist(records) if record.asked["ablation"] == "none"]


CLAIMS = (
    Claim(who=PAPER, words="On MNIST digit pairs, accuracy falls as privacy rises",
          rule="Mean accuracy over all pairs grows strictly with every larger epsilon published, to the run without "
               "privacy, and Page's test for a trend agrees where there are three seeds; in part, if by one method of "
               "two.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_fall, admits=admissible),
    Claim(who=PAPER, words="The fall is slight",
          rule=f"At most {100 * SLIGHTLY:.0f} points from no privacy to epsilon 1; in part, if by one method of two.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_slightly, admits=admissible),
    Claim(who=PAPER, words="Codes control what is generated",
          rule="A CNN trained on the digits asked for names more than half of the real ones, at every epsilon; in "
               "part, if by one method of two.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_control, admits=admissible),
    Claim(who=BOOK, words="Private digits are worth training on",
          rule="Every target of accuracy and fidelity that was set beforehand for two cores is reached; in part, if "
               "some are.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_utility, admits=admissible),
    Claim(who=BOOK, words="Releases and DP-SGD are worth more together",
          rule=f"At epsilon 1 and 10, over {HALVED_SEEDS} seeds or more, a CNN trained on the method's images does "
               "better than one trained on those of each half with the whole budget, for every seed; in part, if only "
               "on average.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_halves, admits=admissible),
    Claim(who=BOOK, words="Every ingredient earns its place",
          rule=f"At epsilon {ABLATED:g}, leaving any one out lowers the accuracy of that CNN; in part, if leaving some "
               "out does.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_ingredients, admits=on_mnist),
)
