"""What the records of the MNIST study say, as rows and tables."""

import math

import numpy as np

from dpgan_lib.records.store import Record, number
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.studies.mnist_tradeoff import study

ACCURACIES = {  # metric -> column
    "ten_cnn": "ten classes, CNN", "ten_mlp": "ten classes, MLP", "ten_logistic": "ten classes, logistic",
    "pairs_cnn": "pairs, CNN", "pairs_logistic": "pairs, logistic", "pairs_worst": "hardest pair, logistic",
}
FIDELITY = {"fid_test": "FID to test", "fid_train": "FID to train", "precision": "precision", "recall": "recall",
            "density": "density", "coverage": "coverage"}
TARGETS = (  # epsilon, metric, target on two cores, target on a GPU, published, each with its source
    (10.0, "ten_cnn", 0.93, 0.975, "95.0, the best GAN (Bie et al. 2023); 98.1, a diffusion model (Dockhorn et al. "
                                   "2023)"),
    (1.0, "ten_cnn", 0.90, 0.955, "92.4, the best GAN (Gong et al. 2025)"),
    (0.2, "ten_cnn", 0.80, 0.88, "none found"),
    (10.0, "pairs_cnn", 0.985, 0.993, "none found"),
    (1.0, "pairs_cnn", 0.975, 0.988, "none found"),
)
FASHION = ((10.0, 0.703), (1.0, 0.718))  # epsilon, what a private GAN has on Fashion-MNIST (Gong et al. 2025)
READING_TARGETS = (  # epsilon, what of the run with a reader, its target on two cores, published
    (10.0, ("reader",), 0.987, "98.7 at epsilon 2.9, a linear reader (Tram\u00e8r and Boneh 2021)"),
    (1.0, ("reader",), 0.978, "98.1 at epsilon 1.2, the same"),
    (10.0, ("wide", "ten_cnn"), 0.980, "95.0, the best GAN (Bie et al. 2023); 98.5, the best of all"),
    (1.0, ("wide", "ten_cnn"), 0.968, "92.4, the best GAN (Gong et al. 2025); 97.3, the best of all"),
    (0.2, ("wide", "ten_cnn"), 0.935, "none found"),
    (10.0, ("faithful", "ten_cnn"), 0.960, "none found"),
    (1.0, ("faithful", "ten_cnn"), 0.945, "none found"),
    (10.0, ("wide", "pairs_cnn"), 0.994, "none found"),
    (1.0, ("wide", "pairs_cnn"), 0.990, "none found"),
)
READING_SETS = {"plain": "as asked for", "faithful": "drawn again until read so",
                "wide": "wide, labelled by the reader"}
FID_RATIO = 2.0  # at most, at epsilon 10 against the run without privacy, on two cores


def row(record: Record) -> dict:
    """A run as a line of a table: what was asked, accuracies in [0, 1] and fidelity; a metric it lacks is absent."""
    config, metrics = record.config, record.metrics
    return {"method": record.asked["method"], "ablation": record.asked["ablation"],
            "epsilon": config.privacy.epsilon, "seed": config.seed, **metrics["fidelity"],
            **{name: value for name, value in metrics["synthetic"].items() if name in ACCURACIES}}


def name(record: Record) -> str:
    """The run in words, for a title."""
    if record.kind == study.READING.kind:
        return f"with a private reader, {cards.run_name(record)}"
    ablation = record.asked["ablation"]
    words = study.METHODS[record.asked["method"]].name + (f" ({ablation})" if ablation != "none" else "")
    return f"{words}, {cards.run_name(record)}"


def values(rows: list[dict], metric: str, **where) -> list[float]:
    """The metric of each row whose fields are as in `where`."""
    return [row[metric] for row in rows if row.items() >= where.items() and metric in row]


def mean(found: list[float]) -> float | None:
    return float(np.mean(found)) if found else None


def accuracy_table(rows: list[dict], real: dict) -> str:
    """Means over seeds by method and epsilon, in percent, as HTML. real: accuracies of the ceiling."""
    lines = []
    for method, recipe in study.METHODS.items():
        if not values(rows, "seed", method=method):  # a hole is seen
            lines.append(html.table_row(recipe.name, ["0", *["not measured"] * len(ACCURACIES)]))
        for epsilon in sorted({row["epsilon"] for row in rows if row["method"] == method}):
            of_line = dict(method=method, epsilon=epsilon, ablation="none")
            seeds = len(values(rows, "seed", **of_line))
            if seeds:
                lines.append(html.table_row(f"{recipe.name}, {numbers.epsilon_name(epsilon)}", [str(seeds), *(
                    numbers.percent(values(rows, metric, **of_line)) for metric in ACCURACIES)]))
    lines.append(html.table_row("real images (ceiling)",
                                ["1", *(numbers.percent([real[metric]]) for metric in ACCURACIES)]))
    return html.table(f"Accuracy on real test images, in percent: means over seeds, with {numbers.INTERVAL_LEVEL:.0%} "
                      "intervals for the mean where there are seeds for one",
                      ["trained on", "seeds", *ACCURACIES.values()], lines)


def fidelity_table(rows: list[dict]) -> str:
    """Fidelity by method and epsilon, means over seeds, as HTML."""
    lines = []
    for method, recipe in study.METHODS.items():
        for epsilon in sorted({row["epsilon"] for row in rows if row["method"] == method}):
            found = {metric: values(rows, metric, method=method, epsilon=epsilon, ablation="none")
                     for metric in FIDELITY}
            if found["fid_test"]:
                lines.append(html.table_row(f"{recipe.name}, {numbers.epsilon_name(epsilon)}",
                                            [f"{np.mean(each):.3g}" for each in found.values()]))
    floor = values(rows, "floor")
    if floor:
        lines.append(html.table_row("real training images",
                                    [f"{np.mean(floor):.3g}", *["&ndash;"] * (len(FIDELITY) - 1)]))
    return html.table("Fidelity, in the features of a small network trained on real training images",
                      ["images of", *FIDELITY.values()], lines)


def halves_table(rows: list[dict]) -> str:
    """How far the whole is above each half with the same epsilon, by epsilon, over the seeds that both have, as
    HTML.
    """
    of_method = {method: {(row["epsilon"], row["seed"]): row["ten_cnn"] for row in rows
                          if row["method"] == method and row["ablation"] == "none"} for method in study.METHODS}
    whole, halves = of_method["both"], [of_method["releases"], of_method["dp_sgd"]]
    lines = []
    for epsilon in sorted({epsilon for half in halves for epsilon, _ in whole.keys() & half.keys()}):
        cells = []
        for half in halves:
            shared = [run for run in whole.keys() & half.keys() if run[0] == epsilon]
            cells += [str(len(shared)), numbers.percent([whole[run] - half[run] for run in shared])]
        lines.append(html.table_row(numbers.epsilon_name(epsilon), cells))
    return html.table("Accuracy of the CNN over ten classes: this book's method less each half, in points",
                      ["", "seeds", "less releases alone", "seeds", "less DP-SGD alone"], lines)


def ablation_table(rows: list[dict], epsilon: float) -> str:
    """What each ingredient adds at an epsilon: the CNN's accuracy without it, seed 0, as HTML."""
    lines = []
    for ablation, words in study.ABLATION_WORDS.items():
        found = values(rows, "ten_cnn", method="both", ablation=ablation, epsilon=epsilon, seed=0)
        lines.append(html.table_row(words, [numbers.percent(found)]))
    return html.table(f"Accuracy of the CNN over ten classes, in percent, at {numbers.epsilon_name(epsilon)}, seed 0",
                      ["the method", "accuracy"], lines)


def targets(rows: list[dict]) -> list[dict]:
    """A row for each target: what, target on two cores, measured in words, met (None if it was not measured), by
    how many seeds, and beside them the target on a GPU and what others published.
    """
    found = []
    for epsilon, metric, laptop, paper, published in TARGETS:
        measured = values(rows, metric, method="both", epsilon=epsilon, ablation="none")
        found.append({"what": f"epsilon {epsilon:g}: {ACCURACIES[metric]}", "target": f"{100 * laptop:.1f}",
                      "measured": numbers.mean_words(measured) if measured else "not measured",
                      "met": bool(np.mean(measured) >= laptop) if measured else None, "seeds": len(measured),
                      "beside": [f"{100 * paper:.1f}, not measured", published]})
    ratio = fid_ratio(rows)
    found.append({"what": "epsilon 10: FID to test, over that without privacy", "target": f"at most {FID_RATIO:g}",
                  "measured": "not measured" if ratio is None else f"{ratio:.2f}",
                  "met": None if ratio is None else ratio <= FID_RATIO, "seeds": min(map(len, _fids(rows))),
                  "beside": ["at most 1.5, not measured", "none found"]})
    return found


def fashion_targets(rows: list[dict]) -> list[dict]:
    """As targets, on Fashion-MNIST: whether a recipe that was not made for it does better than a published GAN."""
    found = []
    for epsilon, published in FASHION:
        measured = values(rows, "ten_cnn", method="both", epsilon=epsilon, ablation="none")
        found.append({"what": f"Fashion-MNIST, epsilon {epsilon:g}: {ACCURACIES['ten_cnn']}",
                      "target": f"above {100 * published:.1f}",
                      "measured": numbers.mean_words(measured) if measured else "not measured",
                      "met": bool(np.mean(measured) > published) if measured else None, "seeds": len(measured),
                      "beside": ["none", f"{100 * published:.1f}, a GAN (Gong et al. 2025)"]})
    return found


def targets_table(rows: list[dict], fashion: list[dict]) -> str:
    """The targets set beforehand, what was measured, and what others published, as HTML. fashion: rows of
    Fashion-MNIST.
    """
    words = {None: "&ndash;", True: "yes", False: "no"}
    lines = [html.table_row(row["what"], [row["target"], row["measured"], words[row["met"]], *row["beside"]])
             for row in targets(rows) + fashion_targets(fashion)]
    return html.table("Targets, and what came out; accuracies in percent on real test images",
                      ["measure", "target, two cores", "measured", "reached", "target, a GPU", "published"], lines)


def fid_ratio(rows: list[dict]) -> float | None:
    """FID to test at epsilon 10 over that without privacy, means over seeds; None if either is missing."""
    private, plain = _fids(rows)
    return float(np.mean(private) / np.mean(plain)) if private and plain else None


def _fids(rows):
    return [values(rows, "fid_test", method="both", epsilon=epsilon, ablation="none") for epsilon in (10.0, math.inf)]


def reading_row(record: Record) -> dict:
    """A run with a reader: epsilon, seed, the reader's accuracy under ("reader",), and under (set, metric) what each
    set of images teaches, how near it is to real ones, and the share that the reader reads as asked for.
    """
    metrics = record.metrics
    row = {"epsilon": record.config.privacy.epsilon, "seed": record.asked["seed"],
           ("reader",): metrics["reader"]["accuracy"]}
    for images in READING_SETS:
        found = metrics[images]
        row |= {(images, metric): value for metric, value in (found["synthetic"] | found["fidelity"]).items()}
        row[images, "agreement"] = found["agreement"]
    return row


def reading_table(rows: list[dict]) -> str:
    """By epsilon, the reader and each set of images, means over seeds, as HTML. rows: of reading_row."""
    lines = []
    for epsilon in sorted({row["epsilon"] for row in rows}):
        mine = [row for row in rows if row["epsilon"] == epsilon]
        lines.append(html.table_row(f"{numbers.epsilon_name(epsilon)}: the reader itself", [
            str(len(mine)), numbers.percent([row["reader",] for row in mine]), *["&ndash;"] * 5]))
        for images, words in READING_SETS.items():
            def of(metric, images=images, mine=mine):
                return [row[images, metric] for row in mine if (images, metric) in row]
            lines.append(html.table_row(f"{numbers.epsilon_name(epsilon)}: images {words}", [
                str(len(mine)), numbers.percent(of("ten_cnn")),
                numbers.percent(of("pairs_cnn")) if of("pairs_cnn") else "&ndash;",
                *(f"{np.mean(of(metric)):.3g}" for metric in ("fid_test", "precision", "recall")),
                numbers.percent(of("agreement"))]))
    return html.table("Accuracy on real test images, and fidelity, of one and the same set of images a row: means over "
                      f"seeds, with {numbers.INTERVAL_LEVEL:.0%} intervals where there are seeds for one",
                      ["", "seeds", "ten classes, CNN", "pairs, CNN", "FID to test", "precision", "recall",
                       "read as asked for"], lines)


def reading_targets(rows: list[dict]) -> list[dict]:
    """As targets, of the runs with a reader. rows: of reading_row."""
    found = []
    for epsilon, key, least, published in READING_TARGETS:
        measured = [row[key] for row in rows if row["epsilon"] == epsilon and key in row]
        words = "the reader itself" if key == ("reader",) else (f"images {READING_SETS[key[0]]}: "
                                                                f"{ACCURACIES[key[1]]}")
        found.append({"what": f"epsilon {epsilon:g}: {words}", "target": f"{100 * least:.1f}",
                      "measured": numbers.mean_words(measured) if measured else "not measured",
                      "met": bool(np.mean(measured) >= least) if measured else None, "seeds": len(measured),
                      "beside": [published]})
    return found


def reading_targets_table(rows: list[dict]) -> str:
    """The targets of runs with a reader, what was measured, and what others published, as HTML."""
    words = {None: "&ndash;", True: "yes", False: "no"}
    lines = [html.table_row(row["what"], [row["target"], row["measured"], str(row["seeds"]), words[row["met"]],
                                          *row["beside"]]) for row in reading_targets(rows)]
    return html.table("Targets of the private reader, and what came out; accuracies in percent on real test images",
                      ["measure", "target, two cores", "measured", "seeds", "reached", "published"], lines)


def budget_table(records: list[Record]) -> str:
    """What each part of runs would spend alone, beside what they spend together, as HTML."""
    from dpgan_lib.privacy import accounting

    def alone(privacy: dict, **part: float) -> str:
        return numbers.rounded_up(accounting.epsilon_pld(**part, delta=privacy["delta"]))

    lines = []
    for record in records:
        privacy, none = record.privacy, "none"
        parts = [
            alone(privacy, noise_multiplier=number(privacy["release_noise"]), sampling_rate=1.0, steps=1)
            if "release_noise" in privacy else none,
            alone(privacy, **privacy["reader"]) if "reader" in privacy else none,
            alone(privacy, **{name: privacy[name] for name in ("noise_multiplier", "sampling_rate", "steps")})
            if privacy["steps"] else none]
        lines.append(html.table_row(name(record), [*parts, numbers.rounded_up(record.epsilon_spent)]))
    return html.table("Epsilon of each part alone, and of all together (PLD accountant)",
                      ["run", "noisy sums alone", "reader alone", "DP-SGD alone", "together"], lines)
