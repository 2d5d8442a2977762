"""Figures of the chapter on Wasserstein distances: a table in, a Figure out."""

import math

import numpy as np
import seaborn
from matplotlib.figure import Figure

from dpgan_lib.report.figures import blank, epsilon_colour

MARKERS = ("o", "s", "^", "D")


def clouds(panels: dict[str, dict[str, np.ndarray]], pairs: dict[str, np.ndarray] | None = None) -> Figure:
    """Points in the plane, a panel each. panels: title -> name -> (n, 2).

    pairs: title -> (n, 2, 2), ends of lines to draw, such as a transport plan.
    """
    figure = blank(3.4 * len(panels), 3.7)
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, named) in zip(axes.flat, panels.items()):
        for start, end in (pairs or {}).get(title, ()):
            axis.plot(*zip(start, end), color="grey", linewidth=0.6, zorder=0)
        for (name, points), colour, marker in zip(named.items(), seaborn.color_palette("colorblind"), MARKERS):
            axis.plot(*np.transpose(points), marker, color=colour, markersize=3, label=name)
        axis.set(title=title, aspect="equal")
        axis.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def ratios(points: list[dict], floor: float, scope: str) -> Figure:
    """W1 of the trained generator against critic steps for each generator step, a panel for each way to keep f_w in W.

    points: dicts with lipschitz, epsilon, ratio, w1 and is_new (drawn as a ringed star).  floor: W1 of two draws of the
    law.  scope: of the epsilons, in words.
    """
    ways = list(dict.fromkeys(point["lipschitz"] for point in points))
    figure = blank(6.4, 3.2 * len(ways))
    axes = figure.subplots(len(ways), 1, squeeze=False)
    for axis, way in zip(axes.flat, ways):
        for epsilon in sorted({point["epsilon"] for point in points}, reverse=True):
            rows = [point for point in points if (point["lipschitz"], point["epsilon"]) == (way, epsilon)]
            _dots_and_mean(axis, rows, epsilon)
        axis.axhline(floor, color="grey", linestyle=":", label="two draws of the law (floor)")
        axis.set(title=f"f_w kept in W by {way}", xscale="log", ylim=(0, None),
                 xlabel="critic steps for each generator step", ylabel="W1 to the data's law")
        ticks = sorted({point["ratio"] for point in points})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8, title=scope, title_fontsize=8)
    return figure


def _dots_and_mean(axis, rows, epsilon):
    """Every run a dot; the mean over published seeds as a line."""
    name = "no privacy" if math.isinf(epsilon) else f"epsilon {epsilon:g}"
    for row in rows:
        axis.plot(row["ratio"], row["w1"], "*" if row["is_new"] else "o", color=epsilon_colour(epsilon), zorder=3,
                  markersize=14 if row["is_new"] else 5, markeredgecolor="tab:red" if row["is_new"] else "white")
    places = sorted({row["ratio"] for row in rows})
    means = [np.mean([row["w1"] for row in rows if row["ratio"] == place]) for place in places]
    axis.plot(places, means, color=epsilon_colour(epsilon), linestyle="-" if math.isinf(epsilon) else "--", label=name)


def stability(runs: list[dict], fewest: float) -> Figure:
    """Classes that each run draws, as judged, against the learning rate, a panel for each loss.

    runs: dicts with loss, rate, width, seed, classes and collapsed (drawn as a cross).  fewest: classes below which a
    run has collapsed.
    """
    losses, widths = (list(dict.fromkeys(run[name] for run in runs)) for name in ("loss", "width"))
    figure = blank(3.8 * len(losses), 3.8)
    axes = figure.subplots(1, len(losses), sharey=True, squeeze=False)
    for axis, loss in zip(axes.flat, losses):
        for run in (run for run in runs if run["loss"] == loss):
            place = widths.index(run["width"])
            shift = 1.15 ** (2 * place - len(widths) + 1)  # widths side by side
            axis.plot(run["rate"] * shift, run["classes"], "x" if run["collapsed"] else MARKERS[place], markersize=6,
                      color=seaborn.color_palette("colorblind")[place])
        for place, width in enumerate(widths):
            axis.plot([], [], MARKERS[place], color=seaborn.color_palette("colorblind")[place], label=f"width {width}")
        axis.plot([], [], "x", color="black", label="collapsed")
        axis.axhline(fewest, color="grey", linestyle=":", label="fewest classes")
        axis.set(title=f"{loss} loss", xscale="log", xlabel="learning rate", ylim=(0, 10.4))
        axis.grid(alpha=0.3)
    axes.flat[0].set_ylabel("classes drawn, of ten (effective number)")
    axes.flat[-1].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def samples(grid: np.ndarray, names: list[str]) -> Figure:
    """One picture with a row of images for each run. grid: (height, width) in [0, 1]; names: a label for each row."""
    height = grid.shape[0] / len(names)
    figure = blank(6.4, 0.5 * len(names) + 0.4)
    axis = figure.subplots()
    axis.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_yticks([height * (row + 0.5) for row in range(len(names))], names, fontsize=8)
    axis.set_xticks([])
    return figure
