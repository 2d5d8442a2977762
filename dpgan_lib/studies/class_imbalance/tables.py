"""What the records on class imbalance say, as rows, curves for figures.panels and tables."""

from dpgan_lib.records.store import Record, read_samples
from dpgan_lib.report import html, numbers
from dpgan_lib.studies.class_imbalance.study import RARE, REMEDIES

CLASSIFIERS = {"cnn": "a CNN", "logistic": "logistic regression"}
WORDS = {  # of REMEDIES, short enough for a legend
    "real": "real images", "oversampled": "rare ones repeated", "weighted": "rare ones weighed more",
    "topped_up": "generated ones added", "synthetic": "generated alone",
}


def row(record: Record) -> dict:
    """A record as a line of a table: what was asked, N, rare ones among them, and by remedy the classifiers' scores."""
    config = record.config
    return {"epsilon": config.privacy.epsilon, "seed": config.seed, "records": config.privacy.records,
            "kept": float(config.dataset.rsplit("_", 1)[1]), "remedies": record.metrics["remedies"],
            "rare": record.metrics["counts"][RARE]}


def thinned(rows: list[dict]) -> list[dict]:
    """The runs in which the digit is rare, most of it kept first and most private last."""
    return sorted((row for row in rows if row["kept"] < 1), key=_scarcity)


def _scarcity(row):
    return -row["kept"], -row["epsilon"], row["seed"]


def grids(records: list[Record]) -> dict:
    """Sample grids of the runs in which the digit is rare, by name, for figures.sample_grids."""
    of_rare = sorted((record for record in records if row(record)["kept"] < 1),
                     key=lambda record: _scarcity(row(record)))
    return {run_name(row(record)): read_samples(record) for record in of_rare}


def by_size(rows: list[dict]) -> list[dict]:
    """The runs in which every digit is kept, by epsilon and then by N."""
    return sorted((row for row in rows if row["kept"] == 1),
                  key=lambda row: (row["epsilon"], row["records"], row["seed"]))


def score(row: dict, remedy: str, classifier: str = "cnn", measure: str = "recall") -> float | None:
    """Of a classifier trained by a remedy, in [0, 1]; None where that pair is not measured."""
    return row["remedies"][remedy].get(classifier, {}).get(measure)


def recall_panels(rows: list[dict]) -> list[dict]:
    """The CNN's recall of the rare digit against the share kept, by remedy, a panel an epsilon."""
    panels = []
    for epsilon in sorted({row["epsilon"] for row in thinned(rows)}):
        of_panel = sorted((row for row in thinned(rows) if row["epsilon"] == epsilon), key=lambda row: row["kept"])
        curves = {WORDS[remedy]: ([row["kept"] for row in of_panel], [score(row, remedy) for row in of_panel])
                  for remedy in REMEDIES if all(score(row, remedy) is not None for row in of_panel)}
        panels.append({"title": numbers.epsilon_name(epsilon), "xlabel": f"share of the {RARE}s that is kept",
                       "ylabel": f"share of real {RARE}s found", "curves": curves, "linear": "y"})
    return panels


def size_panel(rows: list[dict]) -> dict:
    """Accuracy over ten classes against N, of a CNN trained on generated images and of one trained on the real ones."""
    curves = {}
    for epsilon in sorted({row["epsilon"] for row in by_size(rows)}):
        of_curve = [row for row in by_size(rows) if row["epsilon"] == epsilon]
        sizes = [row["records"] for row in of_curve]
        curves[f"generated, {numbers.epsilon_name(epsilon)}"] = (
            sizes, [score(row, "synthetic", measure="accuracy") for row in of_curve])
        curves["the real images"] = (sizes, [score(row, "real", measure="accuracy") for row in of_curve])
    return {"title": "accuracy over ten classes (CNN)", "xlabel": "N, records to learn from",
            "ylabel": "accuracy on real test images", "curves": curves, "linear": "y"}


def remedy_table(rows: list[dict], classifier: str) -> str:
    """Recall and, in brackets, precision of the rare digit by remedy, in percent, as HTML."""
    lines = []
    for row in thinned(rows):
        cells = [f"{row['rare']:,}"]
        for remedy in REMEDIES:
            found = score(row, remedy, classifier)
            cells.append("&ndash;" if found is None else
                         f"{100 * found:.1f} ({100 * score(row, remedy, classifier, 'precision'):.0f})")
        lines.append(html.table_row(run_name(row), cells))
    caption = (f"Share of real test {RARE}s found by {CLASSIFIERS[classifier]} and, in brackets, share of what it "
               f"calls {RARE} that is one, in percent")
    return html.table(caption, ["run", f"{RARE}s left", *WORDS.values()], lines)


def size_table(rows: list[dict]) -> str:
    """Accuracy over ten classes by N and epsilon, in percent, as HTML."""
    lines = [html.table_row(f"N = {row['records']:,}, {numbers.epsilon_name(row['epsilon'])}, seed {row['seed']}",
                            [f"{100 * score(row, remedy, measure='accuracy'):.1f}" for remedy in ("synthetic", "real")])
             for row in by_size(rows)]
    return html.table("Accuracy over ten classes on real test images, CNN, in percent",
                      ["run", "trained on generated images", "trained on the N real ones"], lines)


def run_name(row: dict) -> str:
    """A run in words, with an epsilon whose scope stands nearby."""
    return f"{100 * row['kept']:g}% kept, {numbers.epsilon_name(row['epsilon'])}, seed {row['seed']}"
