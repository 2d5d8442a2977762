"""Figures of the chapter on faces: a table in, a Figure out. Through pyplot, whose first use makes notebooks draw
figures.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.figure import Figure


def effects(matrix: np.ndarray, names: list[str]) -> Figure:
    """How far each code moves each attribute, (A, A) in [-1, 1]: rows are codes."""
    figure, axis = plt.subplots(figsize=(6.4, 5), layout="constrained")
    seaborn.heatmap(100 * np.asarray(matrix), annot=True, fmt=".0f", vmin=-100, vmax=100, cmap="PuOr", ax=axis,

                    square=True, xticklabels=names, yticklabels=names,
                    cbar_kws={"label": "points of the share that is read with it"})
    axis.set(xlabel="attribute read", ylabel="code moved")
    axis.tick_params(axis="y", rotation=0)
    plt.close(figure)  # or a notebook would show it twice
    return figure


def grids(pictures: dict[str, np.ndarray], rows: list[str]) -> Figure:
    """Grids of images side by side, title -> (height, width, 3) in [0, 1], with a name for each of their rows."""
    height, width, _ = next(iter(pictures.values())).shape
    size = (6.4 * len(pictures), 6.0 * height / width * 0.72 + 0.4)
    figure, axes = plt.subplots(1, len(pictures), figsize=size, layout="constrained", squeeze=False)
    side = height / len(rows)
    for axis, (title, picture) in zip(axes.flat, pictures.items()):
        axis.imshow(picture, interpolation="nearest")
        axis.set_yticks([side * (row + 0.5) for row in range(len(rows))], rows, fontsize=8)
        axis.set(title=title, xticks=[])
    plt.close(figure)  # or a notebook would show it twice
    return figure
