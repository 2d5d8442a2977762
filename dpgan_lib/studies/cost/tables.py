"""What the benchmark's records say: ratios, the targets that were set before they were measured, and the verdict."""

import itertools

import numpy as np

from dpgan_lib.config import ModelConfig
from dpgan_lib.privacy import clipping
from dpgan_lib.profiles import PROFILES
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.studies.cost import bench

PLAIN, REAL, BOTH = "plain", "ours, real half", "ours, both halves"
LIBRARIES = ("Opacus, hooks", "Opacus, ghost")
TENFOLD = 10.0
NOT_MEASURED = "not measured"
FILL = "dpgan bench"  # on the machine in question

# The targets were set before the benchmark was written. Step time over the plain step's, on a CPU and on a GPU:
TIME = {REAL: {"cpu": 1.25, "gpu": 1.15}, BOTH: {"cpu": 1.6, "gpu": 1.4}}
FASTER = 3.0  # than each of LIBRARIES, at least
MEMORY = 1.2  # peak memory over the plain step's, at most
RUN = 1.3  # a whole private run over a whole plain one, at most
PAPER, PAPER_MINUTES = f"minutes for the paper profile's {PROFILES['paper'].steps:,} critic steps", 15
DIFFERENCE = 1e-4  # of clipped sums between a GPU and a CPU, relative to the largest entry
TARGET_BATCHES = (128, 512, 2048)
HEADLINE = ("MNIST", 256)  # the laptop profile's critic and batch; it clips both halves


def device_of(record: Record) -> str:
    """ "cpu" or "gpu"."""
    return "cpu" if record.provenance["hardware"]["gpu"] == "none" else "gpu"


def ratio(record: Record, critic: str, batch: int, way: str, *, over: str = PLAIN,
          of: str = "milliseconds") -> float | None:
    """One way's median time (or peak_bytes) over another's, on the same step; None if either was not measured."""
    values = {row["way"]: row[of] for row in record.metrics["steps"]
              if (row["critic"], row["batch"]) == (critic, batch)}
    return values[way] / values[over] if way in values and over in values else None


def run_ratio(record: Record, profile: str) -> float:
    """Seconds of a whole private run over those of the same run without privacy."""
    seconds = {row["is_private"]: row["seconds"] for row in record.metrics["runs"] if row["profile"] == profile}
    return seconds[True] / seconds[False]


def times(record: Record, critic: str, of: str = "milliseconds") -> dict[str, tuple[list, list]]:
    """Way -> (batches, medians in milliseconds, or peak_bytes), for the ways timed at more than one batch."""
    curves: dict[str, tuple[list, list]] = {}
    for row in record.metrics["steps"]:
        if row["critic"] == critic:
            batches, values = curves.setdefault(row["way"], ([], []))
            batches.append(row["batch"])
            values.append(row[of])
    return {way: curve for way, curve in curves.items() if len(curve[0]) > 1}


def scaling(record: Record, factor: str, of: str = "milliseconds") -> dict[str, tuple[list, list]]:
    """Way -> (values of the factor, medians): one number grows and the others stay. factor "parameters": the
    width's.
    """
    curves: dict[str, tuple[list, list]] = {}
    for row in record.metrics["scaling"]:
        if row["factor"] == ("critic_width" if factor == "parameters" else factor):
            x, y = curves.setdefault(row["way"], ([], []))
            x.append(row["parameters"] if factor == "parameters" else row["value"])
            y.append(row[of])
    return curves


def exponent(x: list, y: list) -> float:
    """b of the least-squares fit y = a x^b in logarithms: 1 is proportional."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth(record: Record, axes: dict[str, str]) -> str:
    """The powers with which time and peak memory grow, as HTML. axes: factor of scaling() -> its words."""
    body = []
    for factor, words in axes.items():
        for way, curve in scaling(record, factor).items():
            powers = exponent(*curve), exponent(*scaling(record, factor, of="peak_bytes")[way])
            body.append(html.table_row(f"{words}: {way}", [f"{power:.2f}" for power in powers]))
    return html.table("Least-squares fit of a power: 1 is proportional", ["against", "time", "peak memory"], body)


def quality(record: Record) -> list[dict]:
    """Accuracy against seconds of training, a curve for each epsilon: dicts with epsilon, seconds, accuracy and
    step.
    """
    curves: dict[float, dict] = {}
    for row in record.metrics["quality"].get("rows", []):
        epsilon = store.number(row["epsilon"])
        curve = curves.setdefault(epsilon, {"epsilon": epsilon, "seconds": [], "accuracy": [], "step": []})
        for name in ("seconds", "accuracy", "step"):
            curve[name].append(row[name])
    return list(curves.values())


def seconds_to(curve: dict, accuracy: float) -> float | None:
    """Seconds of training until a curve of quality() first reaches an accuracy in [0, 1]; None if it never does."""
    return next((seconds for seconds, reached in zip(curve["seconds"], curve["accuracy"]) if reached >= accuracy), None)


def targets(record: Record) -> list[dict]:
    """A row for each target: what, target, measured (None if it was not), and whether it is met."""
    where, rows = device_of(record), []

    def row(what, limit, measured, at_most=True):
        met = None if measured is None else (measured <= limit if at_most else measured >= limit)
        rows.append({"what": what, "target": f"{'at most' if at_most else 'at least'} {limit:g}", "measured": measured,
                     "met": met})

    name, batch = HEADLINE
    row(f"the book's default: time, both halves clipped, {name}, batch {batch}", TIME[BOTH][where],
        ratio(record, name, batch, BOTH))
    for critic, batch in itertools.product(bench.CRITICS, TARGET_BATCHES):
        step = f"{critic}, batch {batch:,}"
        for way in (REAL, BOTH):
            row(f"time, {way.removeprefix('ours, ')} clipped, {step}", TIME[way][where],
                ratio(record, critic, batch, way))
        for way in LIBRARIES:
            row(f"time of {way}, over ours, {step}", FASTER, ratio(record, critic, batch, way, over=REAL),
                at_most=False)
        row(f"peak memory, real half clipped, {step}", MEMORY, ratio(record, critic, batch, REAL, of="peak_bytes"))
    for profile in bench.RUN_STEPS:
        row(f"a whole run, {profile} profile", RUN, run_ratio(record, profile))
    if where == "gpu":
        row(PAPER, PAPER_MINUTES, paper_minutes(record))
        row("clipped sums, largest relative difference from a CPU's", DIFFERENCE,
            max(record.metrics["device_check"].values()))
    return rows


def paper_minutes(record: Record) -> float:
    """Minutes that the paper profile's critic steps take, from those that were timed."""
    timed = next(row for row in record.metrics["runs"] if row["profile"] == "paper" and row["is_private"])
    return timed["seconds"] / timed["steps"] * PROFILES["paper"].steps / 60


def targets_table(record: Record | None) -> str:
    """The targets beside what was measured, as HTML; without a record of a GPU, how to make one."""
    if record is None:
        body = [html.table_row(what, [f"at most {limit:g}", NOT_MEASURED, f"run <code>{FILL}</code> on a GPU"])
                for what, limit in [*((f"time, {way.removeprefix('ours, ')} clipped", limit["gpu"])
                                      for way, limit in TIME.items()),
                                    (PAPER, PAPER_MINUTES), ("clipped sums, largest relative difference from a CPU's",
                                                             DIFFERENCE)]]
    else:
        words = {None: NOT_MEASURED, True: "met", False: "<strong>missed</strong>"}
        body = [html.table_row(row["what"], [row["target"], _figure(row["measured"]), words[row["met"]]])
                for row in targets(record)]
    return html.table(f"Targets and measurements, {'GPU' if record is None else cards.run_name(record)}: "
                      "ratios to the same step or run without privacy, unless the row says otherwise",
                      ["ratio", "target", "measured", "outcome"], body)


def summary(record: Record) -> str:
    """The targets as lines of text, for a terminal."""
    words = {None: NOT_MEASURED, True: "met", False: "MISSED"}
    return "\n".join(f"{row['what']:<70} {row['target']:<14} {_figure(row['measured']):>8}  {words[row['met']]}"
                     for row in targets(record))


def steps_table(record: Record, critic: str) -> str:
    """Milliseconds of a step in every way, and its time and memory over the plain step's, as HTML."""
    rows = [row for row in record.metrics["steps"] if row["critic"] == critic]
    batches = sorted({row["batch"] for row in rows})
    by = {(row["way"], row["batch"]): row for row in rows}
    body = []
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = []
        for batch in batches:
            row, plain = by.get((way, batch)), by[PLAIN, batch]
            cells.append("" if row is None else f"{row['milliseconds']:.1f} ms "
                                                f"({_figure(row['milliseconds'] / plain['milliseconds'])}; "
                                                f"{_figure(row['peak_bytes'] / plain['peak_bytes'])})")
        body.append(html.table_row(way, cells))
    return html.table(f"{critic} critic: median time of a critic step (over the plain step's; peak memory over its)",
                      ["way", *(f"batch {batch:,}" for batch in batches)], body)


def layer_table(model: ModelConfig) -> str:
    """Each layer of a critic: positions T, sizes d and p, the multiplications of both ways to a norm, and which it
    takes.
    """
    critic = bench.new_critic(model)
    images, categories = bench.random_half(model, 2, 0)
    layers, activations, gradients = clipping.tape(critic, (images, categories))
    body = []
    for (name, layer), activation, gradient in zip(layers.items(), activations, gradients):
        positions = gradient[0, 0].numel()
        d, p = layer.weight[0].numel(), len(layer.weight)
        formed, expanded = positions * d * p, positions**2 * (d + p)
        takes = "expands the square" if clipping.expands(positions, d, p) else "forms the gradient"
        body.append(html.table_row(name, [f"{number:,}" for number in (positions, d, p, formed, expanded)] + [takes]))
    return html.table("Multiplications for one record's norm", ["layer", "T", "d", "p", "T d p", "T² (d + p)", "takes"],
                      body)


def runs_table(record: Record) -> str:
    """Seconds of whole runs with and without privacy, as HTML."""
    body = []
    for profile, steps in bench.RUN_STEPS.items():
        plain, private = (next(row["seconds"] for row in record.metrics["runs"]
                               if (row["profile"], row["is_private"]) == (profile, is_private))
                          for is_private in (False, True))
        body.append(html.table_row(profile, [str(steps), f"{plain:.1f} s", f"{private:.1f} s",
                                             f"{private / plain:.2f}"]))
    return html.table("Whole runs on random images: seconds for equal critic steps",
                      ["profile", "critic steps", "without privacy", "private", "ratio"], body)


def quality_table(curves: list[dict], levels: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)) -> str:
    """Seconds of training until each accuracy is reached, a column for each curve of quality(), as HTML."""
    cells = [[seconds_to(curve, level) for curve in curves] for level in levels]
    body = [html.table_row(f"{level:.0%}",
                           ["not reached" if seconds is None else f"{seconds:.0f} s" for seconds in row])
            for level, row in zip(levels, cells)]
    return html.table("Seconds of training until an accuracy on real test images is first reached",
                      ["accuracy", *(numbers.epsilon_name(curve["epsilon"]) for curve in curves)], body)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0e}" if value < 0.01 else f"{value:.2f}" if value < 20 else f"{value:.0f}"
