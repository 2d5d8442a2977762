"""Figures of the chapter on audits: a table in, a Figure out.

Through pyplot, whose first use makes notebooks draw figures: before it they show a Figure's name.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpgan_lib.report.figures import epsilon_colour

MARKERS = ("o", "|", "x", "D", "s")  # so that no mark is told by its colour alone


def ranges(rows: list[dict], xlabel: str) -> Figure:
    """A line for each row, with marks on and beside it, the first row at the top.

    rows: dicts with name, epsilon (its colour), low, high, and marks, label -> value; a label keeps its marker.
    """
    figure, axis = plt.subplots(figsize=(6.4, 1.6 + 0.32 * len(rows)), layout="constrained")
    markers = dict(zip(dict.fromkeys(label for row in rows for label in row["marks"]), MARKERS))
    for place, row in enumerate(rows):
        colour = epsilon_colour(row["epsilon"])
        axis.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, alpha=0.5)
        for label, value in row["marks"].items():
            axis.plot(value, place, markers[label], color=colour, markersize=8, fillstyle="none", markeredgewidth=1.6)
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.invert_yaxis()
    axis.set(xlabel=xlabel)
    axis.grid(alpha=0.3, axis="x")
    axis.legend([Line2D([], [], linestyle="none", marker=marker, color="grey", fillstyle="none")
                 for marker in markers.values()], markers, frameon=False, loc="lower center", ncols=2,
                bbox_to_anchor=(0.5, 1))
    plt.close(figure)  # or a notebook would show it twice
    return figure


def neighbours(grids: dict[str, np.ndarray]) -> Figure:
    """Generated images above their nearest neighbours. grids: title -> (3 side, B side) in [0, 1], white on black."""
    figure, axes = plt.subplots(len(grids), 1, figsize=(6.4, 2.3 * len(grids)), layout="constrained", squeeze=False)
    for axis, (title, grid) in zip(axes.flat, grids.items()):
        axis.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        side = grid.shape[0] // 3
        axis.set_yticks([side * (row + 0.5) for row in range(3)], ["generated", "training", "held-out"])
        axis.set(title=title, xticks=[])
    plt.close(figure)  # or a notebook would show it twice
    return figure
