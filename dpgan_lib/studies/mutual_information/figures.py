"""Figures of the chapter on mutual information: a table in, a Figure out."""

import math

import numpy as np
import seaborn
from matplotlib.figure import Figure

from dpgan_lib.report.figures import DASHES, blank, epsilon_colour

MARKERS = ("o", "s", "^", "D")  # so that no series is told by its colour alone


def channels(tables: dict[str, np.ndarray]) -> Figure:
    """p(x | c) of small tables (codes, images) as shades, side by side. tables: title -> p(c, x)."""
    figure = blank(2.6 * len(tables), 2.9)
    for axis, (title, table) in zip(figure.subplots(1, len(tables), squeeze=False).flat, tables.items()):
        axis.imshow(table / table.sum(1, keepdims=True), cmap="cividis", vmin=0, vmax=1)
        axis.set(title=title, xlabel="image x", ylabel="code c", xticks=range(0, table.shape[1], 3),
                 yticks=range(0, table.shape[0], 3))
    return figure


def learning(curves: dict[str, tuple[np.ndarray, float]]) -> Figure:
    """L_I while a reader learns, in small panels. curves: title -> (L_I at steps 0, 1, ..., exact I), in nats."""
    rows = math.ceil(len(curves) / 2)
    figure = blank(6.4, 2.3 * rows)
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False)
    for axis, (title, (bounds, exact)) in zip(axes.flat, curves.items()):
        axis.axhline(exact, color="black", linestyle=":", label="exact I(c; x)")
        axis.plot(bounds, color=seaborn.color_palette("colorblind")[0], label="bound L_I")
        axis.set(ylim=(-0.05 * exact, 1.15 * exact), ylabel="nats")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("steps of the reader")
    axes.flat[0].legend(frameon=False, loc="lower right")
    return figure


def against_weight(panels: list[dict]) -> Figure:
    """Measures against lambda, one panel above another; every run a mark, and a line through the means.

    panels: dicts with title, ylabel, series (dicts with name and points, [(lambda, value), ...]; where they have an
    epsilon, in its colour), and optionally lines, name -> height. Lambdas stand at equal distances: 0 has no logarithm.
    """
    weights = sorted({weight for panel in panels for series in panel["series"] for weight, _ in series["points"]})
    figure = blank(6.4, 3.4 * len(panels))
    for axis, panel in zip(figure.subplots(len(panels), 1, squeeze=False).flat, panels):
        for (name, height), dash in zip(panel.get("lines", {}).items(), (":", "-.")):
            axis.axhline(height, color="grey", linestyle=dash, label=name)
        for place, series in enumerate(panel["series"]):
            _marks_and_means(axis, series, weights, place)
        axis.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        axis.set(title=panel["title"], xlabel="lambda (units of f_w per nat)", ylabel=panel["ylabel"])
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return figure


def _marks_and_means(axis, series, weights, place):
    colour = epsilon_colour(series["epsilon"]) if "epsilon" in series else seaborn.color_palette("colorblind")[place]
    values: dict[int, list[float]] = {}
    for weight, value in series["points"]:
        values.setdefault(weights.index(weight), []).append(value)
        axis.plot(weights.index(weight), value, MARKERS[place], color=colour, markersize=6, fillstyle="none")
    at = sorted(values)
    axis.plot(at, [np.mean(values[position]) for position in at], linestyle=DASHES[place], marker=MARKERS[place],
              markersize=0, color=colour, label=series["name"])


def code_grids(grids: dict[str, np.ndarray], names: dict[str, list[str]]) -> Figure:
    """Generated images, one row a value of the category, two grids in a row of the figure.

    grids: title -> (height, width) in [0, 1], white ink on black.  names: title -> what each row is called.
    """
    rows = math.ceil(len(grids) / 2)
    figure = blank(6.8, 3.2 * rows)
    axes = figure.subplots(rows, 2, squeeze=False)
    for axis in axes.flat[len(grids) :]:
        axis.set_axis_off()
    for axis, (title, grid) in zip(axes.flat, grids.items()):
        side = grid.shape[0] / len(names[title])
        axis.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_yticks(side * (np.arange(len(names[title])) + 0.5), names[title], fontsize=8)
        axis.set(xticks=[])
        axis.set_title(title, fontsize=10)
    return figure


def sweeps(images: dict[str, np.ndarray]) -> Figure:
    """Generated images; along a row a continuous code moves. images: title -> (rows, values, side, side) in [-1, 1]."""
    figure = blank(6.8, 0.4 + 0.42 * sum(map(len, images.values())))
    axes = figure.subplots(len(images), 1, squeeze=False)
    for axis, (title, rows) in zip(axes.flat, images.items()):
        count, values, side, _ = rows.shape
        axis.imshow(rows.transpose(0, 2, 1, 3).reshape(count * side, values * side), cmap="gray", vmin=-1, vmax=1)
        places = side * (np.arange(values) + 0.5)
        axis.set_xticks(places, [f"{value:g}" for value in np.linspace(-1, 1, values)], fontsize=8)
        axis.set(yticks=[])
        axis.set_title(title, fontsize=10)
    return figure


def contingency(tables: dict[str, list[list[int]]]) -> Figure:
    """How each category is named, in percent of its images, two tables in a row. tables: title -> (codes, digits)."""
    rows = math.ceil(len(tables) / 2)
    figure = blank(6.8, 3.5 * rows)
    axes = figure.subplots(rows, 2, squeeze=False)
    for axis in axes.flat[len(tables) :]:
        axis.set_axis_off()
    for axis, (title, table) in zip(axes.flat, tables.items()):
        shares = 100 * np.array(table) / np.sum(table, axis=1, keepdims=True)
        seaborn.heatmap(shares, annot=True, fmt=".0f", vmin=0, vmax=100, cmap="cividis", cbar=False, ax=axis,
                        annot_kws={"fontsize": 7})
        axis.set(xlabel="digit that the judge sees", ylabel="category of the code")
        axis.set_title(title, fontsize=10)
    return figure
