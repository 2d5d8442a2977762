"""The paper's claims, and the rules by which published records judge them."""

import math
from collections.abc import Callable
from itertools import pairwise

from scipy.stats import page_trend_test

from dpgan_lib import bench, codes, cost, face_tables, imbalance_tables, report, results, tradeoff, verdicts
from dpgan_lib.means import mean_words
from dpgan_lib.results import Record
from dpgan_lib.tradeoff_tables import NAMES
from dpgan_lib.verdicts import (FAILS, HOLDS, IN_PART, NOT_MEASURABLE, NOT_MEASURED, Claim, Verdict, admissible,
                                admissible_faces, admissible_parts, admissible_sweeps, of_parts, stale, standing)

SLIGHTLY = 0.05  # our reading of the paper's "slightly": at most 5 points of accuracy from no privacy to epsilon 1
LEARNT = 0.75  # on pairs, where chance is 0.5: below this a run without privacy has nothing that privacy could cost
MEMORISES = 0.05  # level of all swap tests published together, shared out among them
LEARNT_DIGITS = 0.5  # of the held-out digits named by a classifier trained on generated ones; chance is 0.1
READ, MEANT = 0.5, 0.5  # most codes are read; most images of a code are one digit
TREND = 0.05  # level of the test for a trend over seeds
SCARCE = 0.01  # of a class, at most, is kept where it counts as underrepresented
STEERED = 0.75  # specificity, of each attribute: halfway between chance and always
FACE_UTILITY = 0.75  # likewise, of balanced accuracy: a rare attribute's plain one is high if it is never named
FACE_WORDS = {"specificity": "specificity", "balanced": "balanced accuracy"}
SHORT = 0.1  # accuracy that the smallest N must lack for the largest one's to have needed its samples
STABLE = 0.1  # of the runs, at most, that collapse


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
        of_method = {words: [record for record in records if tradeoff.method_of(record.config) == method]
                     for method, words in NAMES.items() if method in ("paper", "both")}
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
    return _verdict(rises and (p_value is None or p_value <= TREND), _listed(records, "pairs_logistic") + test, records)


def trend(records: list[Record], metric: str) -> float | None:
    """The p-value of Page's test that an accuracy rises with epsilon, seed by seed; None without three of each."""
    by_seed: dict[int, dict[float, float]] = {}
    for record in records:
        by_seed.setdefault(record.config.seed, {})[record.config.privacy.epsilon] = record.metrics["synthetic"][metric]
    several = [values for values in by_seed.values() if len(values) >= 3]
    common = sorted(set.intersection(*map(set, several))) if len(several) >= 3 else []
    if len(common) < 3:
        return None
    return float(page_trend_test([[values[epsilon] for epsilon in common] for values in several], method="exact").pvalue)


@by_each_method
def judge_slightly(records: list[Record]) -> Verdict:
    """The fall from no privacy to epsilon 1 is at most SLIGHTLY."""
    accuracy = mean_accuracy(records, "pairs_logistic")
    if 1.0 not in accuracy or math.inf not in accuracy:
        return Verdict(NOT_MEASURED, "needs epsilon 1, and a run without privacy")
    if accuracy[math.inf] < LEARNT:
        return _learnt_nothing(accuracy)
    fall = accuracy[math.inf] - accuracy[1.0]
    return _verdict(fall <= SLIGHTLY, f"{100 * fall:.1f} points from no privacy to epsilon 1", records)


@by_each_method
def judge_control(records: list[Record]) -> Verdict:
    """Classifiers trained on the digits asked for name most real digits, at every epsilon: chance is 1 in 10."""
    accuracy = mean_accuracy(records, "ten_cnn")
    if not accuracy:
        return Verdict(NOT_MEASURED, "no record")
    return _verdict(min(accuracy.values()) > 0.5, _listed(records, "ten_cnn"), records)


def judge_readable(records: list[Record]) -> Verdict:
    """At lambda 1 a new network reads most codes, and for every seed more than at lambda 0."""
    read = _by_weight(records, lambda metrics: metrics["readers"]["independent"]["accuracy"])
    without, with_term = read.get(0.0, {}), read.get(1.0, {})
    seeds = without.keys() & with_term.keys()
    if len(seeds) < 3:
        return Verdict(NOT_MEASURED, "needs three seeds at lambda 0 and at lambda 1")
    means = [sum(values[seed] for seed in seeds) / len(seeds) for values in (without, with_term)]
    holds = means[1] > READ and all(with_term[seed] > without[seed] for seed in seeds)
    return _verdict(holds, f"read right at lambda 0: {means[0]:.1%}, at lambda 1: {means[1]:.1%}", records)


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
    return _verdict(max(means.values()) > MEANT, f"purity at {listed}", records)


def _by_weight(records, value):
    """Lambda -> seed -> value(metrics), of the runs as in the paper: no labels; and no privacy."""
    found: dict[float, dict[int, float]] = {}
    for record in records:
        if not record.config.model.conditional and math.isinf(record.config.privacy.epsilon):
            found.setdefault(record.config.optimiser.info_weight, {})[record.config.seed] = value(record.metrics)
    return found


def judge_tenfold(records: list[Record]) -> Verdict:
    """Ten times as long: in part, where a record at a time takes TENFOLD times a plain step and a whole run less."""
    on_cpu = [record for record in records if cost.device(record) == "cpu"]
    if not on_cpu:
        return Verdict(NOT_MEASURED, "no benchmark of a CPU")
    record = on_cpu[0]
    loop = cost.ratio(record, "MNIST", bench.ONLY_AT["explicit loop"], "explicit loop")
    run = cost.run_ratio(record, "laptop")
    verdict = HOLDS if min(loop, run) >= cost.TENFOLD else IN_PART if loop >= cost.TENFOLD else FAILS
    return Verdict(verdict, f"{loop:.1f} times for a step, one record at a time; {run:.2f} times for a whole run with "
                            f"the book's clipping ({report.run_name(record)}{stale([record])})")


def judge_memorisation(records: list[Record]) -> Verdict:
    """Nearest neighbours give away what each GAN without privacy learnt from, and never what a private one did.

    In part, where no private generator learnt enough to have anything to give away. Where they give away no private run
    and not every run without privacy, the test cannot tell what privacy prevents. Never a proof of safety.
    """
    private = [record for record in records if math.isfinite(results.number(record.privacy["epsilon_asked"]))]
    plain = [record for record in records if record not in private]
    if not private or not plain:
        return Verdict(NOT_MEASURED, "needs private runs, and runs without privacy")
    caught, shown = (sum(record.metrics["nearest"]["p_value"] <= MEMORISES / len(records) for record in some)
                     for some in (private, plain))
    learnt = sum(record.metrics["learnt"] >= LEARNT_DIGITS for record in private)
    verdict = FAILS if caught else NOT_MEASURABLE if shown < len(plain) else HOLDS if learnt else IN_PART
    return Verdict(verdict, f"memorisation found in {caught} of {len(private)} private runs, of which {learnt} learnt "
                            f"to draw digits, and in {shown} of {len(plain)} without privacy{stale(records)}")


def judge_stability(records: list[Record]) -> Verdict:
    """Few Wasserstein runs collapse, and fewer than of the other loss: in part, where only one of these is so.

    What counts as collapse is in dpgan_lib.stability; both were written before any run on MNIST.
    """
    runs = [run for record in records for run in record.metrics["runs"]]
    collapsed = {loss: [run["collapsed"] for run in runs if run["loss"] == loss] for loss in ("Wasserstein", "JS")}
    if not runs:
        return Verdict(NOT_MEASURED, "no record")
    share = {loss: sum(each) / len(each) for loss, each in collapsed.items()}
    kept = [share["Wasserstein"] <= STABLE, share["Wasserstein"] < share["JS"]]
    counts = ", ".join(f"{sum(each)} of {len(each)} {loss}" for loss, each in collapsed.items())
    return Verdict(of_parts(kept), f"collapsed: {counts} runs ({len(records)} seeds{stale(records)})")


def judge_imbalance(records: list[Record]) -> Verdict:
    """Images asked for by code help a CNN to find a class of which SCARCE or less is kept, at every epsilon up to 10:
    more than the real images as they are, and more than repeating the rare ones. In part, if only the former.
    """
    rows = [row for row in imbalance_tables.thinned(list(map(imbalance_tables.row, records)))
            if row["kept"] <= SCARCE and row["epsilon"] <= 10]
    if not rows:
        return Verdict(NOT_MEASURED, "no record")
    found = {remedy: [imbalance_tables.score(row, remedy) for row in rows] for remedy in ("real", "oversampled", "topped_up")}
    beats = {remedy: all(more > less for more, less in zip(found["topped_up"], found[remedy])) for remedy in found}
    verdict = HOLDS if beats["real"] and beats["oversampled"] else IN_PART if beats["real"] else FAILS
    measured = "; ".join(f"{imbalance_tables.run_name(row)}: {real:.1%} of the real test images found without, "
                         f"{repeated:.1%} with repeated, {topped:.1%} with generated ones"
                         for row, real, repeated, topped in zip(rows, *found.values()))
    return Verdict(verdict, measured + stale(records))


def judge_samples(records: list[Record]) -> Verdict:
    """At each epsilon, what a CNN learns from generated images rises with every larger N, and the smallest N is at least
    SHORT behind the largest: in part, where only one of these is so.
    """
    rows = imbalance_tables.by_size(list(map(imbalance_tables.row, records)))
    curves = {epsilon: {row["records"]: imbalance_tables.score(row, "synthetic", measure="accuracy")
                        for row in rows if row["epsilon"] == epsilon} for epsilon in {row["epsilon"] for row in rows}}
    if not curves or min(map(len, curves.values())) < 3:
        return Verdict(NOT_MEASURED, "needs three sizes at each epsilon")
    accuracies = [list(curve.values()) for curve in curves.values()]
    kept = [all(less < more for each in accuracies for less, more in pairwise(each)),
            all(each[-1] - each[0] >= SHORT for each in accuracies)]
    measured = "; ".join(f"{report.epsilon_name(epsilon)}: " + ", ".join(f"N = {size:,}: {value:.1%}" for size, value in curve.items())
                         for epsilon, curve in sorted(curves.items()))
    return Verdict(of_parts(kept), measured + stale(records))


def judge_faces(records: list[Record]) -> Verdict:
    """At every epsilon up to 10, an image at a time, specificity and balanced accuracy reach STEERED and FACE_UTILITY, on
    average over seeds, for every attribute asked for: in part, where only some do.
    """
    rows = [face_tables.row(record) for record in records
            if record.config.unit == "image" and record.config.privacy.epsilon <= 10]
    if not rows:
        return Verdict(NOT_MEASURED, "no record")
    names, passes, words = face_tables.names_of(records), [], []
    for epsilon in sorted({row["epsilon"] for row in rows}):
        for measure, least in (("specificity", STEERED), ("balanced", FACE_UTILITY)):
            found = {name: values for name in names
                     if (values := [row[measure, name] for row in rows if row["epsilon"] == epsilon])}
            passes += [sum(values) / len(values) >= least for values in found.values()]
            words.append(f"{report.epsilon_name(epsilon)}, {FACE_WORDS[measure]}: " + ", ".join(
                f"{face_tables.words(name)} {mean_words(values)}" for name, values in found.items()))
    return Verdict(of_parts(passes), "; ".join(words) + standing(records))


CLAIMS = (
    Claim("On MNIST digit pairs, accuracy falls as privacy rises",
          "Mean accuracy over all pairs grows strictly with every larger epsilon published, to the run without privacy, "
          "and Page's test for a trend agrees where there are three seeds; in part, if by one method of two.",
          "05_mnist_tradeoff.html#the-trade-off", "mnist_tradeoff", judge_fall, admissible),
    Claim("The fall is slight",
          f"At most {100 * SLIGHTLY:.0f} points from no privacy to epsilon 1; in part, if by one method of two.",
          "05_mnist_tradeoff.html#the-trade-off", "mnist_tradeoff", judge_slightly, admissible),
    Claim("Codes control what is generated",
          "A CNN trained on the digits asked for names more than half of the real ones, at every epsilon; in part, if "
          "by one method of two.",
          "05_mnist_tradeoff.html#the-trade-off", "mnist_tradeoff", judge_control, admissible),
    Claim("Maximising I(c; G(z, c)) makes images depend on their code",
          f"Without labels or privacy, a network that met neither Q nor G reads more than {READ:.0%} of the codes of "
          "new images at lambda 1, and for every seed more than at lambda 0.",
          "01_mutual_information.html#in-a-gan", "mutual_information", judge_readable, admissible),
    Claim("The latent representations learnt are meaningful",
          f"Without labels or privacy, more than {MEANT:.0%} of the images of a code are one digit, at some lambda "
          "above 0, on average over seeds.",
          "01_mutual_information.html#in-a-gan", "mutual_information", judge_meaning, admissible),
    Claim("Privacy prevents memorisation",
          "A permutation test of nearest neighbours finds memorisation in every run without privacy and in no private "
          "one; in part, if no private run drew digits that are good enough to train on; not measurable, if it finds it in "
          "no private run and not in every other. No proof of safety.",
          "07_audit.html#memorisation", "audit", judge_memorisation, admissible_parts),
    Claim("Wasserstein training is stable",
          f"At most {STABLE:.0%} of the runs collapse, over learning rates, widths and seeds, and fewer than of a GAN that "
          "differs in its loss; in part, if one of the two.",
          "02_wasserstein.html#is-training-more-stable", "wasserstein", judge_stability, admissible_sweeps),
    Claim("Class imbalance is addressed",
          f"Of a digit with {SCARCE:.0%} or less kept, a CNN finds more real ones with generated images added, at every "
          "epsilon up to 10, than without, and than with the rare images repeated; in part, if only the former.",
          "09_class_imbalance.html#recall-of-the-rare-digit", "class_imbalance", judge_imbalance, admissible_parts),
    Claim("Privacy makes training ten times longer",
          f"Holds if a whole private run takes {cost.TENFOLD:g} times the time of a plain one; in part if only a step that "
          "clips one record at a time does.", "06_cost.html#targets-and-what-came-out", cost.STUDY, judge_tenfold, list),
    Claim("The approach extends to CelebA",
          f"At every epsilon up to 10 and for every attribute asked for, at least {STEERED:.0%} of the images are read as "
          f"asked for, and a network that learnt from generated images alone reads at least {FACE_UTILITY:.0%} of the "
          "real ones right, on average of those with the attribute and those without; in part, if only some do.",
          "08_celeba_specificity.html#do-you-get-what-you-ask-for", "celeba_specificity", judge_faces, admissible_faces),
    Claim("It needs sufficient training samples",
          f"At a fixed epsilon, a CNN trained on generated images gets better with every larger N, and the smallest N is at "
          f"least {100 * SHORT:.0f} points behind; in part, if one of the two.",
          "09_class_imbalance.html#sufficient-training-samples", "class_imbalance", judge_samples, admissible_parts),
)


def table(published: Callable[[str], list[Record]], studies: tuple[str, ...] | None = None) -> str:
    """The paper's claims as an HTML table. published: study -> its records.  studies: only their claims."""
    chosen = tuple(claim for claim in CLAIMS if studies is None or claim.study in studies)
    return verdicts.table(chosen, published, "The claims of the paper, with verdicts by rule; accuracies are on real test "
                          "images, with 95% intervals over seeds where there are several", "the paper says")


def _verdict(holds, measured, records):
    return Verdict(HOLDS if holds else FAILS, measured + standing(records))


def _learnt_nothing(accuracy):
    return Verdict(NOT_MEASURABLE, f"without privacy it learnt nothing that privacy could cost: {accuracy[math.inf]:.1%}")


def _listed(records, metric):
    """Means over seeds by epsilon, with intervals where there are seeds for one."""
    found: dict[float, list[float]] = {}
    for record in records:
        found.setdefault(record.config.privacy.epsilon, []).append(record.metrics["synthetic"][metric])
    return ", ".join(f"{report.epsilon_name(epsilon)}: {mean_words(values)}" for epsilon, values in sorted(found.items()))
