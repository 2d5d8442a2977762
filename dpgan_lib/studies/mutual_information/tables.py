"""What the records of the study of mutual information say, as rows and tables."""

from collections.abc import Callable

import numpy as np

from dpgan_lib.measures import codes
from dpgan_lib.records.store import Record, read_samples
from dpgan_lib.report import html, numbers
from dpgan_lib.studies.mutual_information.study import INFO_WEIGHTS

SMOOTHED = 20  # generator steps that a point of a history averages over


def row(record: Record) -> dict:
    """A run as a line of a table: what was asked, and the measures that the chapter speaks of.

    Accuracies, nmi and purity lie in [0, 1]; a lead is Q's accuracy less another reader's; nats are bounds by a new
    network; drawn is a number of digits. What remains are correlations, of the continuous code that has the largest.
    """
    config, metrics = record.config, record.metrics
    table = np.array(metrics["digits"]["table"])
    shares = {name: reading["accuracy"] for name, reading in metrics["readers"].items()}
    independent = metrics["readers"]["independent"]
    return {"epsilon": config.privacy.epsilon, "seed": config.seed, "info_weight": config.optimiser.info_weight,
            "conditional": config.model.conditional,
            **shares, **{f"lead_{reader}": shares["posterior"] - shares[reader] for reader in shares},
            "nats": independent["category"], "continuous": sum(independent["continuous"]),
            "nmi": metrics["digits"]["nmi"], "purity": metrics["digits"]["purity"],
            "obeyed": float(np.trace(table) / table.sum()),
            "drawn": metrics["digits"]["drawn"],
            **{f"{name}_{rest}": max(abs(code[name][rest]) for code in metrics["moves"])
               for name in codes.MEASURES for rest in ("random", "fixed")}}


def points(rows: list[dict], measure: str, **where) -> list[tuple[float, float]]:
    """(lambda, measure) of each row whose fields are as in `where`."""
    return [(row["info_weight"], row[measure]) for row in rows if row.items() >= where.items()]


def mean_shares(rows: list[dict], measures: list[str], **where) -> dict[str, str]:
    """Means over points() in percent, for sentences, by names such as nmi_0_1: nmi at lambda 0.1."""
    return {f"{measure}_{weight:g}".replace(".", "_"): _percent(points(rows, measure, info_weight=weight, **where))
            for measure in measures for weight in INFO_WEIGHTS}


def _percent(values):
    return f"{np.mean([value for _, value in values]):.0%}" if values else "not measured"


def series(rows: list[dict], names: dict[str, str], **where) -> list[dict]:
    """Measures as series of a figure. names: measure -> its words."""
    return [{"name": name, "points": points(rows, measure, **where)} for measure, name in names.items()]


def by_epsilon(rows: list[dict], measure: str, **where) -> list[dict]:
    """One measure as series of a figure, one for each epsilon."""
    return [{"name": numbers.epsilon_name(epsilon), "epsilon": epsilon,
             "points": points(rows, measure, epsilon=epsilon, **where)}
            for epsilon in sorted({row["epsilon"] for row in rows}, reverse=True)]


def histories(records: list[Record]) -> dict[str, tuple]:
    """L_I while training, each point a mean over SMOOTHED steps: lambda as a name -> (critic steps, nats)."""
    by_weight = sorted(records, key=lambda record: record.config.optimiser.info_weight)
    return {f"lambda {record.config.optimiser.info_weight:g}": _smoothed(record.content["history"])
            for record in by_weight}


def _smoothed(history):
    parts = [history[start : start + SMOOTHED] for start in range(0, len(history), SMOOTHED)]
    return tuple(zip(*np.array([np.mean(part, axis=0) for part in parts]).tolist()))


def table(rows: list[dict], caption: str) -> str:
    """A line for each run, collapsed ones marked, as HTML. Shares are in percent."""
    order = sorted(rows, key=_order)
    head = ["run", "Q itself", "new network", "strokes alone", "category (nats)", "continuous (nats)", "purity",
            "NMI with digits", "digits drawn"]
    return html.table(caption, head, [html.table_row(run_name(row), _cells(row)) for row in order])


def _order(row):
    return row["conditional"], row["epsilon"], row["info_weight"], row["seed"]


def _cells(row):
    collapsed = " (collapsed)" if row["drawn"] < codes.COLLAPSED else ""
    shares = [f"{100 * row[name]:.0f}" for name in ("posterior", "independent", "strokes")]
    return [*shares, f"{row['nats']:.2f}", f"{row['continuous']:.2f}", f"{100 * row['purity']:.0f}",
            f"{row['nmi']:.2f}", f"{row['drawn']}{collapsed}"]


def run_name(row: dict) -> str:
    """A run in words, with an epsilon whose scope stands nearby."""
    return (f"{'with labels, ' if row['conditional'] else ''}lambda {row['info_weight']:g}, "
            f"{numbers.epsilon_name(row['epsilon'])}, seed {row['seed']}")


def moves_table(records: list[Record], name: Callable[[Record], str] | None = None) -> str:
    """Rank correlations of each run's continuous codes with slant and stroke width, all else random, as HTML.

    name: of a run's line, run_name of its row by default.
    """
    name = name or (lambda record: run_name(row(record)))
    body = [html.table_row(name(record), [f"{code[measure]['random']:+.2f}" for code in record.metrics["moves"]
                                          for measure in codes.MEASURES]) for record in records]
    head = [f"code {number + 1}, {measure}" for number in range(len(records[0].metrics["moves"]))
            for measure in codes.MEASURES]
    return html.table("Rank correlations, all else random", ["run", *head], body)


def grids(records: list[Record]) -> tuple[dict, dict]:
    """For figures_information.code_grids: each run's sample grid, and what the judge calls each category; in order.

    A category is called by its commonest digit, with that digit's share.
    """
    named = {run_name(row(record)): record for record in sorted(records, key=lambda record: _order(row(record)))}
    return ({name: read_samples(record) for name, record in named.items()},
            {name: names(record.metrics["digits"]["table"]) for name, record in named.items()})


def names(table: list[list[int]]) -> list[str]:
    """The commonest digit of each line of a table (codes, digits), and its share."""
    return [f"{np.argmax(line)} ({max(line) / sum(line):.0%})" for line in table]


# InfoGAN's own result

LOSS_WORDS = {"js": "JS", "penalty": "gradient penalty", "spectral": "spectral norm", "clipping": "weight clipping"}


def settings_name(asked: dict) -> str:
    """What an InfoGAN run was asked for, but for its seed, in words: loss, what Q reads, z, and features of its own."""
    seen = "deformed copies" if asked["deformed"] else "images"
    return f"{LOSS_WORDS[asked['loss']]}, {seen}, z of {asked['z_dim']}{'' if asked['shared'] else ', Q apart'}"


def result_row(record: Record) -> dict:
    """An InfoGAN run as a line: settings in words, seed, shares in [0, 1] and seconds.

    generated, public: generated images whose code is the digit that the disclosed and the public judge see.  real: test
    images that Q reads right.  taught: those that a CNN names right which learnt from generated images.
    """
    metrics = record.metrics
    return {"settings": settings_name(record.asked), "seed": record.asked["seed"],
            "generated": metrics["generated"]["disclosed"]["agreement"],
            "public": metrics["generated"]["public"]["agreement"], "real": metrics["real"]["accuracy"],
            "taught": metrics["taught"], "seconds": record.seconds["training"]}


def of_settings(rows: list[dict]) -> dict[str, list[dict]]:
    """The rows of each setting, in the order in which settings come."""
    found: dict[str, list[dict]] = {}
    for each in sorted(rows, key=lambda row: row["seed"]):
        found.setdefault(each["settings"], []).append(each)
    return found


def results_table(rows: list[dict]) -> str:
    """Means over seeds with intervals, in percent, the best seed on real images, and minutes a run, as HTML."""
    head = ["run", "seeds", "generated images", "by the public judge", "real images Q reads right", "best seed",
            "CNN taught by it", "minutes"]
    body = [html.table_row(name, _result_cells(group)) for name, group in of_settings(rows).items()]
    return html.table("Codes and digits, matched one to one, in percent", head, body)


def _result_cells(group):
    generated, public, real, taught = (numbers.percent([row[measure] for row in group])
                                       for measure in ("generated", "public", "real", "taught"))
    best, minutes = max(row["real"] for row in group), np.mean([row["seconds"] for row in group]) / 60
    return [str(len(group)), generated, public, real, f"{100 * best:.1f}", taught, f"{minutes:.0f}"]


def result_name(record: Record) -> str:
    return f"{settings_name(record.asked)}, seed {record.asked['seed']}"


def result_grids(records: list[Record]) -> tuple[dict, dict]:
    """For figures.code_grids: the sample grid of each setting's first seed, its rows named one to one."""
    first: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.asked["seed"]):
        first.setdefault(settings_name(record.asked), record)
    judged = {result_name(record): record.metrics["generated"]["disclosed"] for record in first.values()}
    return ({result_name(record): read_samples(record) for record in first.values()},
            {name: list(map(_named, found["names"], found["table"])) for name, found in judged.items()})


def _named(digit, line):
    return f"{digit} ({line[digit] / sum(line):.0%})"
