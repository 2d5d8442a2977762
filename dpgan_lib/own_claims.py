"""What this book adds to the paper, claimed and judged by the same kind of rule: targets that were set beforehand, what
each part of the method is worth, and whether epsilon can be trusted.
"""

from collections.abc import Callable

import numpy as np

from dpgan_lib import audit_study, canaries, cost, face_study, face_tables, report, tradeoff, tradeoff_tables, verdicts
from dpgan_lib.results import Record
from dpgan_lib.verdicts import (FAILS, HOLDS, IN_PART, NOT_MEASURED, Claim, Verdict, admissible, admissible_ablations,
                                admissible_faces, admissible_parts, of_parts, stale, standing)

HALVES = {"releases": "releases alone", "dp_sgd": "DP-SGD alone"}
HALVED_EPSILONS, HALVED_SEEDS = (1.0, 10.0), 3  # where the whole is held against its halves
ABLATED = 2.0  # epsilon at which ingredients are left out


def of_targets(targets: list[dict], records: list[Record]) -> Verdict:
    """All targets that were set are reached; in part, if some are. One that nothing has measured counts as missed."""
    if all(row["met"] is None for row in targets):
        return Verdict(NOT_MEASURED, "no record")
    measured = "; ".join(f"{row['what']}: {row['measured']} (target {row['target']})" for row in targets)
    return Verdict(of_parts([bool(row["met"]) for row in targets]), measured + stale(records))


def judge_utility(records: list[Record]) -> Verdict:
    """The targets of the chapter on MNIST."""
    return of_targets(tradeoff_tables.targets(list(map(tradeoff_tables.row, records))), records)


def judge_steering(records: list[Record]) -> Verdict:
    """The targets of the chapter on faces."""
    return of_targets(face_tables.targets(list(map(face_tables.row, records)), face_study.INFO_WEIGHT), records)


def judge_speed(records: list[Record]) -> Verdict:
    """The targets of the chapter on time, of a CPU. Too many to list: they are counted."""
    on_cpu = [record for record in records if cost.device(record) == "cpu"]
    if not on_cpu:
        return Verdict(NOT_MEASURED, "no benchmark of a CPU")
    met = [row["met"] for row in cost.targets(on_cpu[0])]
    run = cost.run_ratio(on_cpu[0], "laptop")
    return Verdict(of_parts([bool(each) for each in met]), f"{sum(map(bool, met))} of {len(met)} targets reached; a whole "
                   f"private run takes {run:.2f} times a plain one ({report.run_name(on_cpu[0])}{stale(on_cpu[:1])})")


def judge_halves(records: list[Record]) -> Verdict:
    """The whole is better than each half with all of the budget, for every seed; in part, if only on average over seeds."""
    accuracy = {(tradeoff.method_of(record.config), record.config.privacy.epsilon, record.config.seed):
                record.metrics["synthetic"]["ten_cnn"] for record in records}
    gains = {(half, epsilon): [value - accuracy[half, epsilon, seed] for (method, at, seed), value in sorted(accuracy.items())
                               if method == "both" and at == epsilon and (half, epsilon, seed) in accuracy]
             for half in HALVES for epsilon in HALVED_EPSILONS}
    if min(map(len, gains.values())) < HALVED_SEEDS:
        return Verdict(NOT_MEASURED, f"needs {HALVED_SEEDS} seeds of the whole and of both halves")
    verdict = (HOLDS if min(map(min, gains.values())) > 0 else
               IN_PART if min(map(np.mean, gains.values())) > 0 else FAILS)
    measured = "; ".join(f"{report.epsilon_name(epsilon)}, over {HALVES[half]}: " + ", ".join(
        f"{100 * gain:+.1f}" for gain in found) for (half, epsilon), found in gains.items())
    return Verdict(verdict, f"{measured} points, seed by seed{standing(records)}")


def judge_ingredients(records: list[Record]) -> Verdict:
    """Leaving any one ingredient out makes the method worse; in part, if some."""
    found = {tradeoff.ablation_of(record.config): record.metrics["synthetic"]["ten_cnn"] for record in records
             if tradeoff.method_of(record.config) == "both" and record.config.privacy.epsilon == ABLATED
             and record.config.seed == 0}
    whole = found.pop("none", None)
    if whole is None or not found:
        return Verdict(NOT_MEASURED, f"needs the method at epsilon {ABLATED:g}, whole and with something left out")
    measured = f"whole: {whole:.1%}; " + "; ".join(
        f"{tradeoff.ABLATION_WORDS[ablation]}: {value:.1%}" for ablation, value in sorted(found.items()))
    return Verdict(of_parts([value < whole for value in found.values()]), f"{measured} (1 seed{stale(records)})")


def judge_accounting(records: list[Record]) -> Verdict:
    """No audit of a mechanism as claimed refutes it, and audits do refute what is broken; in part, if one of the two.

    Broken are a run without noise and clip, held against BROKEN_CLAIM by an auditor who knows the data, and the mechanism
    with half its noise.
    """
    private = [record for record in records if record.metrics["alone"]]
    plain = [record for record in records if not record.metrics["alone"]]
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without noise")
    above = [found["epsilon"] > audit_study.claim(record) for record in private for found in record.metrics["audits"].values()]
    caught = [record.metrics["audits"]["knows the data"]["epsilon"] > audit_study.BROKEN_CLAIM for record in plain]
    tests = {name: [sum(record.metrics["alone"][name][part] for record in private) for part in ("refuted", "tests")]
             for name in ("correct", "halved")}
    sound = not any(above) and tests["correct"][0] <= canaries.TEST_LEVEL * tests["correct"][1]
    sharp = all(caught) and tests["halved"][0] > tests["halved"][1] / 2
    return Verdict(of_parts([sound, sharp]),
                   f"bounds above the claim: {sum(above)} of {len(above)}; without noise: {sum(caught)} of {len(caught)}; tests "
                   f"that refute the mechanism as claimed: {tests['correct'][0]} of {tests['correct'][1]}, with half its "
                   f"noise: {tests['halved'][0]} of {tests['halved'][1]}{stale(records)}")


CLAIMS = (
    Claim("Private digits are worth training on",
          "Every target of accuracy and fidelity that was set beforehand for two cores is reached; in part, if some are.",
          "05_mnist_tradeoff.html#the-trade-off", tradeoff.STUDY_NAME, judge_utility, admissible),
    Claim("Releases and DP-SGD are worth more together",
          f"At epsilon 1 and 10, over {HALVED_SEEDS} seeds or more, a CNN trained on the method's images does better than one "
          "trained on those of each half with the whole budget, for every seed; in part, if only on average.",
          "05_mnist_tradeoff.html#the-trade-off", tradeoff.STUDY_NAME, judge_halves, admissible),
    Claim("Every ingredient earns its place",
          f"At epsilon {ABLATED:g}, leaving any one out lowers the accuracy of that CNN; in part, if leaving some out does.",
          "05_mnist_tradeoff.html#the-trade-off", tradeoff.STUDY_NAME, judge_ingredients,
          admissible_ablations),
    Claim("Privacy need not cost time",
          "Every target of time and memory that was set beforehand for a CPU is reached; in part, if some are.",
          "06_cost.html#targets-and-what-came-out", cost.STUDY, judge_speed, list),
    Claim("Epsilon can be checked, and holds",
          "No audit bounds the epsilon of a run above what it claims, and tests of the mechanism at level "
          f"{canaries.TEST_LEVEL:g} refute it no more often than that; and audits see a run without noise, and tests half the "
          "noise more often than not. In part, if one of the two.",
          "07_audit.html#the-audit-one-run-many-canaries", audit_study.STUDY_NAME, judge_accounting, admissible_parts),
    Claim("Private faces can be steered, and are worth training on",
          "Every target of specificity and accuracy that was set beforehand for two cores is reached; in part, if some are.",
          "08_celeba_specificity.html#do-you-get-what-you-ask-for", face_study.STUDY_NAME, judge_steering, admissible_faces),
)


def table(published: Callable[[str], list[Record]]) -> str:
    """This book's claims as an HTML table. published: study -> its records."""
    return verdicts.table(CLAIMS, published, "What this book claims, with verdicts by rule; accuracies are on real test images",
                          "we say")
