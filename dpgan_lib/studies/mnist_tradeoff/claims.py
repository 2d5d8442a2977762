"""The claims that the MNIST study judges: the paper's on utility and control, and this book's on its own method."""

import math
from functools import partial

import numpy as np

from dpgan_lib.records.store import Record
from dpgan_lib.report import numbers
from dpgan_lib.report.numbers import mean_words
from dpgan_lib.studies.mnist_tradeoff import study, tables
from dpgan_lib.studies.verdicts import (
    BOOK,
    FAILS,
    FIRST_LOOK,
    HOLDS,
    IN_PART,
    NOT_MEASURED,
    PAPER,
    SEVERAL,
    TREND,
    TREND_POINTS,
    TREND_SEEDS,
    Claim,
    Verdict,
    did_not_learn,
    epsilon_of,
    fewest_seeds,
    number_of,
    of_parts,
    of_targets,
    on_mnist,
    seeds_of,
    stale,
    trend,
    verdict_of,
    with_several,
)

SLIGHTLY = 0.05  # our reading of the paper's "slightly": at most 5 points of accuracy from no privacy to epsilon 1
LEARNT = 0.75  # on pairs, where chance is 0.5: below this a run without privacy has nothing that privacy could cost


def judge_fall(records: list[Record]) -> Verdict:
    """Page's test sees accuracy on digit pairs rise with epsilon, over seeds, no privacy being the largest epsilon."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if len(accuracy) < TREND_POINTS or math.inf not in accuracy:
        return Verdict(NOT_MEASURED, f"needs {TREND_POINTS} epsilons, one of them infinite")
    if accuracy[math.inf] < LEARNT:
        return did_not_learn(f"{accuracy[math.inf]:.1%} on pairs without privacy", records)
    listed, tested = _listed(records, "pairs_logistic"), trend(by_seed(records, "pairs_logistic"))
    if tested is None:
        return Verdict(FIRST_LOOK, f"{listed}; too few seeds for a test of the trend{stale(records)}", 1)
    p_value, seeds = tested
    return verdict_of(p_value <= TREND, f"{listed}; Page's test for a trend over seeds: p = {p_value:.2g}", records,
                      seeds)


def judge_slightly(records: list[Record]) -> Verdict:
    """The fall from no privacy to epsilon 1 is at most SLIGHTLY."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if 1.0 not in accuracy or math.inf not in accuracy:
        return Verdict(NOT_MEASURED, "needs epsilon 1, and a run without privacy")
    if accuracy[math.inf] < LEARNT:
        return did_not_learn(f"{accuracy[math.inf]:.1%} on pairs without privacy", records)
    fall, seeds = accuracy[math.inf] - accuracy[1.0], seeds_of(records)
    return verdict_of(fall <= SLIGHTLY, f"{100 * fall:.1f} points from no privacy to epsilon 1", records,
                      min(seeds[1.0], seeds[math.inf]))


def judge_control(records: list[Record]) -> Verdict:
    """Classifiers trained on the digits asked for name most real digits, at every epsilon: chance is 1 in 10."""
    pairs = mean_accuracy(records, "pairs_logistic")
    if math.inf not in pairs:
        return Verdict(NOT_MEASURED, "needs a run without privacy")
    if pairs[math.inf] < LEARNT:
        return did_not_learn(f"{pairs[math.inf]:.1%} on pairs without privacy", records)
    counted = with_several(records)
    return verdict_of(min(mean_accuracy(counted, "ten_cnn").values()) > 0.5, _listed(records, "ten_cnn"), records,
                      fewest_seeds(counted))


def mean_accuracy(records: list[Record], metric: str) -> dict[float, float]:
    """Epsilon -> mean over seeds of an accuracy in [0, 1], by falling privacy."""
    return {epsilon: sum(values) / len(values) for epsilon, values in _values(records, metric).items()}


def by_seed(records: list[Record], metric: str) -> dict[int, dict[float, float]]:
    """Seed -> epsilon -> an accuracy in [0, 1]: the curves of which trend() asks whether they rise."""
    curves: dict[int, dict[float, float]] = {}
    for record in records:
        curves.setdefault(record.asked["seed"], {})[epsilon_of(record)] = record.metrics["synthetic"][metric]
    return curves


def _values(records, metric):
    """Epsilon -> the values of all seeds, by falling privacy."""
    found: dict[float, list[float]] = {}
    for record in records:
        found.setdefault(epsilon_of(record), []).append(record.metrics["synthetic"][metric])
    return dict(sorted(found.items()))


def _listed(records, metric):
    """Means over seeds by epsilon, with intervals where there are seeds for one, and how many there are."""
    return ", ".join(f"{numbers.epsilon_name(epsilon)}: {mean_words(values)} ({number_of(len(values))})"
                     for epsilon, values in _values(records, metric).items())


HALVES = {"releases": "releases alone", "dp_sgd": "DP-SGD alone"}
HALVED_EPSILONS = (1.0, 10.0)  # where the whole is held against its halves
ABLATED = 2.0  # epsilon at which ingredients are left out


def judge_utility(records: list[Record]) -> Verdict:
    """The targets of the chapter on MNIST."""
    return of_targets(tables.targets(list(map(tables.row, records))), records)


def judge_reader(records: list[Record]) -> Verdict:
    """The targets that were set for the private reader and for what it adds to images."""
    return of_targets(tables.reading_targets(list(map(tables.reading_row, records))), records)


def judge_halves(records: list[Record]) -> Verdict:
    """The whole is better than each half with all of the budget, for every seed; in part, if only on average over
    seeds.
    """
    accuracy = {(record.asked["method"], epsilon_of(record), record.asked["seed"]):
                record.metrics["synthetic"]["ten_cnn"] for record in records}
    gains = {(half, epsilon): [value - accuracy[half, epsilon, seed]
                               for (method, at, seed), value in sorted(accuracy.items())
                               if method == "both" and at == epsilon and (half, epsilon, seed) in accuracy]
             for half in HALVES for epsilon in HALVED_EPSILONS}
    seeds = min(map(len, gains.values()))
    if not seeds:
        return Verdict(NOT_MEASURED, "needs the whole and both halves, by the same seeds")
    verdict = (HOLDS if min(map(min, gains.values())) > 0 else
               IN_PART if min(map(np.mean, gains.values())) > 0 else FAILS)
    measured = "; ".join(f"{numbers.epsilon_name(epsilon)}, over {HALVES[half]}: " + ", ".join(
        f"{100 * gain:+.1f}" for gain in found) for (half, epsilon), found in gains.items())
    return Verdict(verdict, f"{measured} points, seed by seed{stale(records)}", seeds)


def judge_ingredients(records: list[Record]) -> Verdict:
    """Leaving any one ingredient out makes the method worse, on average over seeds; in part, if some."""
    at = [record for record in records if record.asked["method"] == "both" and epsilon_of(record) == ABLATED]
    found: dict[str, list[float]] = {}
    for record in at:
        found.setdefault(record.asked["ablation"], []).append(record.metrics["synthetic"]["ten_cnn"])
    whole = found.pop("none", None)
    if whole is None or not found:
        return Verdict(NOT_MEASURED, f"needs the method at epsilon {ABLATED:g}, whole and with something left out")
    measured = f"whole: {mean_words(whole)}; " + "; ".join(
        f"{study.ABLATION_WORDS[ablation]}: {mean_words(values)}" for ablation, values in sorted(found.items()))
    return Verdict(of_parts([np.mean(values) < np.mean(whole) for values in found.values()]), measured + stale(at),
                   fewest_seeds(at, cell=lambda record: record.asked["ablation"]))


def admissible(records: list[Record], method: str | None = None) -> list[Record]:
    """The runs on real MNIST, no smoke run, and nothing left out of the method. method: one of study.METHODS; or
    all.
    """
    return [record for record in on_mnist(records)
            if record.asked["ablation"] == "none" and method in (None, record.asked["method"])]


def _by_each_method(**claim) -> list[Claim]:
    """The claim as the paper's method and as this book's meet it, a row each: one never speaks for the other."""
    return [Claim(who=PAPER, study="mnist_tradeoff", where="the-trade-off", method=words,
                  admits=partial(admissible, method=method), **claim)
            for method, words in (("paper", "the paper's method"), ("both", "this book's method"))]


CLAIMS = (
    *_by_each_method(
        words="On MNIST digit pairs, accuracy falls as privacy rises", judge=judge_fall, seeds=TREND_SEEDS,
        rule=f"Over seeds that have {TREND_POINTS} epsilons or more in common, Page's test sees mean accuracy over all "
             f"pairs rise with epsilon, no privacy being the largest (p at most {TREND:g}); not measurable, if it is "
             f"below {LEARNT:.0%} without privacy."),
    *_by_each_method(
        words="The fall is slight", judge=judge_slightly,
        rule=f"At most {100 * SLIGHTLY:.0f} points from no privacy to epsilon 1; not measurable, if pairs are below "
             f"{LEARNT:.0%} without privacy."),
    *_by_each_method(
        words="Codes control what is generated", judge=judge_control,
        rule=f"A CNN trained on the digits asked for names more than half of the real ones, at every epsilon of "
             f"{SEVERAL} seeds or more; not measurable, if pairs are below {LEARNT:.0%} without privacy."),
    Claim(who=BOOK, words="Private digits are worth training on",
          rule="Every target of accuracy and fidelity that was set beforehand for two cores is reached, by "
               f"{SEVERAL} seeds or more; in part, if some are.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_utility, admits=admissible),
    Claim(who=BOOK, words="A private reader makes private images teach more",
          rule="Every target of accuracy that was set beforehand for the reader, for images drawn as asked for and for "
               f"wide ones is reached, by {SEVERAL} seeds or more; in part, if some are.",
          study="mnist_tradeoff", where="a-private-reader", judge=judge_reader,
          admits=partial(on_mnist, kind="reader")),
    Claim(who=BOOK, words="Releases and DP-SGD are worth more together",
          rule="At epsilon 1 and 10, a CNN trained on the method's images does better than one trained on those of "
               "each half with the whole budget, for every seed; in part, if only on average.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_halves, admits=admissible),
    Claim(who=BOOK, words="Every ingredient earns its place",
          rule=f"At epsilon {ABLATED:g}, leaving any one out lowers the accuracy of that CNN, on average over seeds; "
               "in part, if leaving some out does.",
          study="mnist_tradeoff", where="the-trade-off", judge=judge_ingredients, admits=on_mnist),
)
