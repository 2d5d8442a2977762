"""What the records of the study of faces say, as rows, panels for figures and tables."""

import io

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from dpgan_lib.config import FaceRunConfig
from dpgan_lib.measures import specificity
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.report.numbers import mean_words
from dpgan_lib.studies.celeba_specificity import study
from dpgan_lib.warm_start.face_model import combinations

TARGETS = (  # measure, attribute, epsilon, target on two cores, on a GPU, published on 162,770 images with its source
    ("utility", "Male", 10.0, 0.80, 0.92, "DP-GAN 89.2, DPDM 91.8, DP-FETA 94.2"),
    ("utility", "Male", 1.0, 0.76, 0.84, "DP-GAN 77.9, DP-FETA 82.3, FETA-Pro 90.0"),
    ("specificity", "Male", 10.0, 0.85, 0.95, "none"),
    ("specificity", "Male", 1.0, 0.78, 0.90, "none"),
    ("specificity", "Smiling", 10.0, 0.75, 0.85, "none"),
)
RUN = ("epsilon", "seed", "unit", "info_weight")  # what tells a study's runs apart
MEASURES = {"utility": "trained on generated, tested on real", "specificity": "specificity"}
PRICED = {"specificity": ("control", "specificity above chance"), "utility": ("utility", "accuracy above chance"),
          "coverage": ("looks", "coverage")}
FIDELITY = ("fid_test", "precision", "recall", "coverage")


def words(name: str) -> str:
    """An attribute as a reader says it."""
    return name.replace("_", " ")


def run_name(record: Record) -> str:
    """A run in words, with an epsilon whose scope stands nearby."""
    config = record.config
    beside = [f"for {'an image' if config.unit == 'image' else 'a person'}"] if config.privacy.is_private else []
    weight = config.optimiser.info_weight
    beside += [f"lambda {weight:g}"] if weight != study.INFO_WEIGHT else []
    return ", ".join([cards.run_name(record), *beside])


def row(record: Record) -> dict:
    """A run as a line of a table. By attribute, in [0, 1]: specificity, its interval, specificity corrected for what
    the reader gets wrong; utility, an accuracy, and balanced: its mean over images with the attribute and those
    without.
    joint: all attributes at once.  independence: as specificity.independence.
    """
    config, metrics = record.config, record.metrics
    found = {"epsilon": config.privacy.epsilon, "seed": config.seed, "unit": config.unit,
             "info_weight": config.optimiser.info_weight, **metrics["fidelity"],
             "independence": specificity.independence(np.array(metrics["effects"]))}
    columns = zip(config.names, metrics["obeyed"], metrics["reader"], metrics["utility"], metrics["ceiling"])
    for name, counts, reader, utility, ceiling in columns:
        hits, asked = (counts["with"][part] + counts["without"][part] for part in (0, 1))
        found |= {("specificity", name): hits / asked, ("interval", name): specificity.interval(hits, asked),
                  ("corrected", name): _corrected(counts, reader), ("reader", name): reader["accuracy"],
                  ("utility", name): utility["accuracy"],
                  ("balanced", name): (utility["with"] + utility["without"]) / 2,
                  ("ceiling", name): ceiling["accuracy"]}
    hits, asked = np.sum(metrics["combinations"], axis=0).tolist()
    return found | {("specificity", "joint"): hits / asked, ("interval", "joint"): specificity.interval(hits, asked)}


def _corrected(counts, reader) -> float | None:
    """Mean over images asked for with the attribute and without it; None for a reader that tells nothing."""
    if reader["with"] + reader["without"] <= 1:
        return None
    shares = []
    for side, right, wrong in (("with", reader["with"], reader["without"]),
                               ("without", reader["without"], reader["with"])):
        hits, asked = counts[side]
        shares.append(specificity.corrected(hits / asked, right, wrong))
    return float(np.mean(shares))


def names_of(records: list[Record]) -> tuple[str, ...]:
    return records[0].config.names


def usual(rows: list[dict], info_weight: float) -> list[dict]:
    """The runs whose unit is an image, at that lambda."""
    return [row for row in rows if row["unit"] == "image" and row["info_weight"] == info_weight]


def change_words(rows: list[dict], names: tuple[str, ...], info_weight: float, changed: dict) -> str:
    """What one parameter does, at each epsilon and seed that has a run with the change and one without.

    Specificity and utility are means over attributes.
    """
    def measured(row):
        return {measure: float(np.mean([row[measure, name] for name in names])) for measure in MEASURES} | {
            "recall": row["recall"]}

    found = []
    for row in usual(rows, info_weight):
        for other in rows:
            if all(other[key] == value for key, value in (row | changed).items() if key in RUN):
                before, after = measured(row), measured(other)
                found.append(f"{numbers.epsilon_name(row['epsilon'])}, seed {row['seed']}: " + ", ".join(
                    f"{measure} {before[measure]:.3f} to {after[measure]:.3f}" for measure in before))
    return "; ".join(found) or "not measured"


def specificity_table(records: list[Record]) -> str:
    """Specificity of each run by attribute, in percent with its interval and the corrected share, as HTML."""
    names, lines = names_of(records), []
    for record in records:
        found = row(record)
        cells = [_share(found, name) for name in (*names, "joint")]
        lines.append(html.table_row(run_name(record), [*cells, f"{100 * found['independence']:.0f}"]))
    of_reader = row(records[0])
    lines.append(html.table_row("the reader, on real test images", [
        *(f"{100 * of_reader['reader', name]:.1f}" for name in names), "&ndash;", "&ndash;"]))
    lines.append(html.table_row("by chance", [*["50"] * len(names), f"{100 / 2 ** len(names):.1f}", "&ndash;"]))
    return html.table(
        f"Images read as asked for, in percent, with {specificity.LEVEL:.0%} intervals over images; in brackets, "
        "corrected for what the reader gets wrong", ["run", *map(words, names), "all at once", "independence"], lines)


def _share(found, name):
    low, high = found["interval", name]
    known = found.get(("corrected", name))
    beside = "" if known is None else f" ({100 * known:.0f})"
    return f"{100 * found['specificity', name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]{beside}"


def utility_table(records: list[Record]) -> str:
    """Accuracy on real test images of a network trained on generated ones, and fidelity, as HTML."""
    names, lines = names_of(records), []
    for record in records:
        found = row(record)
        lines.append(html.table_row(run_name(record), [
            *(f"{100 * found['utility', name]:.1f}" for name in names), *(f"{found[name]:.3g}" for name in FIDELITY)]))
    real = row(records[0])
    lines.append(html.table_row("real training images", [
        *(f"{100 * real['ceiling', name]:.1f}" for name in names), f"{real['floor']:.3g}",
        *["&ndash;"] * (len(FIDELITY) - 1)]))
    head = ["trained on images of", *map(words, names), "FID to test", "precision", "recall", "coverage"]
    return html.table("Accuracy on real test images, in percent, and fidelity in the features of the reader", head,
                      lines)


def targets(rows: list[dict], info_weight: float) -> list[dict]:
    """A row for each target, of means over seeds, as tradeoff_tables.targets."""
    found = []
    for measure, name, epsilon, laptop, paper, published in TARGETS:
        values = [row[measure, name] for row in usual(rows, info_weight)
                  if row["epsilon"] == epsilon and (measure, name) in row]
        found.append({"what": f"{words(name)}, epsilon {epsilon:g}: {MEASURES[measure]}",
                      "target": f"{100 * laptop:.0f}",
                      "measured": mean_words(values) if values else "not measured",
                      "met": bool(np.mean(values) >= laptop) if values else None, "seeds": len(values),
                      "beside": [f"{100 * paper:.0f}, not measured", published]})
    return found


def targets_table(rows: list[dict], info_weight: float) -> str:
    """The targets set beforehand, what was measured, and what others published, as HTML."""
    reached = {None: "&ndash;", True: "yes", False: "no"}
    lines = [html.table_row(row["what"], [row["target"], row["measured"], reached[row["met"]], *row["beside"]])
             for row in targets(rows, info_weight)]
    return html.table("Targets, and what came out, in percent; published ones learnt from 162,770 images",
                      ["measure", "target, two cores", "measured", "reached", "target, a GPU", "published"], lines)


def rare_table(record: Record) -> str:
    """Each combination with its share of the training set, and how often it is drawn when asked for, rarest first."""
    config, counts = record.config, record.metrics["counts"]
    lines = []
    for one in np.argsort(counts, kind="stable"):
        hits, asked = record.metrics["combinations"][one]
        low, high = specificity.interval(hits, asked)
        lines.append(html.table_row(combination_words(config, one), [
            f"{counts[one]:,}", f"{100 * counts[one] / sum(counts):.2f}",
            f"{100 * hits / asked:.1f} [{100 * low:.1f}, {100 * high:.1f}]"]))
    return html.table(f"Combinations, rarest first: {run_name(record)}", [
        "asked for", "training images", "share, percent", "read as asked in every attribute, percent"], lines)


def rare_words(record: Record) -> str:
    """Whether a combination comes as asked more often the more of it there is to learn from, and the two extremes."""
    counts, (hits, asked) = np.array(record.metrics["counts"]), np.array(record.metrics["combinations"]).T
    shares = hits / asked
    rarest, commonest = (f"{combination_words(record.config, one)} ({counts[one]:,} training images): {shares[one]:.1%}"
                         for one in (counts.argmin(), counts.argmax()))
    return (f"Rank correlation of a combination's training images with how often it comes as asked: "
            f"{spearmanr(counts, shares).statistic:.2f}. The rarest, {rarest}. The commonest, {commonest}.")


def combination_words(config: FaceRunConfig, one: int) -> str:
    """A combination as the names of what is present."""
    present = combinations(len(config.names))[one] > 0
    return ", ".join(words(name) for name, there in zip(config.names, present) if there) or "none of them"


def rare_panel(records: list[Record]) -> dict:
    """Specificity of each combination against its share of the training set, a curve a run."""
    curves = {}
    for record in records:
        counts = np.array(record.metrics["counts"])
        order = [one for one in np.argsort(counts, kind="stable") if counts[one]]
        hits, asked = np.array(record.metrics["combinations"])[order].T
        curves[run_name(record)] = ((100 * counts[order] / counts.sum()).tolist(), (hits / asked).tolist())
    return {"title": "rare combinations", "xlabel": "share of the training images, percent",
            "ylabel": "read as asked in every attribute", "curves": curves, "linear": "y"}


def price_panel(rows: list[dict], names: tuple[str, ...]) -> dict:
    """What privacy takes, each as a share of what the run without privacy has: control, utility, looks.

    Control and utility count from a coin's 50%. Looks are coverage.
    """
    plain = [row for row in rows if np.isinf(row["epsilon"])]
    private = sorted({row["epsilon"] for row in rows if np.isfinite(row["epsilon"])})

    def level(some, measure):
        if measure == "coverage":
            return float(np.mean([row["coverage"] for row in some]))
        return float(np.mean([row[measure, name] - 0.5 for row in some for name in names]))

    curves = {f"{label}: {words}": (private, [
        level([row for row in rows if row["epsilon"] == epsilon], measure) / level(plain, measure)
        for epsilon in private])
              for measure, (label, words) in PRICED.items()}
    return {"title": "what is left of what the run without privacy has", "curves": curves, "linear": "y",
            "ylabel": "share left"}


def price_words(panel: dict) -> str:
    """The panel's smallest epsilon in a sentence: what is left, and what went first."""
    (epsilon, *_), _ = next(iter(panel["curves"].values()))
    left = {label.partition(":")[0]: shares[0] for label, (_, shares) in panel["curves"].items()}
    first, least = min(left.items(), key=lambda item: item[1])
    verdict = f"{first.capitalize()} went first." if least < 1 else "It took none of the three."
    return (f"At {numbers.epsilon_name(epsilon)}, of what the run without privacy has are left: "
            + ", ".join(f"{share:.0%} of {label}" for label, share in left.items()) + f". {verdict}")


def colour_grid(record: Record) -> np.ndarray | None:
    """The record's sample grid, (height, width, 3) in [0, 1]; None for a record without one."""
    path = record.folder / "samples.png"
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")) / 255 if path.exists() else None
