"""Figures of the chapter on faces: a table in, a Figure out. Through pyplot, whose first use makes notebooks draw figures."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.figure import Figure


def effects(matrix: np.ndarray, names: list[str]) -> Figure:
    """How far each code moves each attribute, (A, A) in [-1, 1]: rows are codes."""
    figure, axis = plt.subplots(figsize=(6.4, 5), layout="constrained")
    seaborn.heatmap(100 * np.asarray(matrix), annot=True, fmt=".0f", vmin=-100, vmax=100, cmap="PuOr", ax=axis, square=True,
                    xticklabels=names, yticklabels=names, cbar_kws={"label": "points of the share that is read with it"})
    axis.set(xlabel="attribute read", ylabel="code moved")
    axis.tick_params(axis="y", rotation=0)
    plt.close(figure)  # or a notebook would show it twice
    return figure


def grid(picture: np.ndarray, rows: list[str], title: str) -> Figure:
    """A grid of images (height, width, 3) in [0, 1], with a name for each of its rows."""
    height, width, _ = picture.shape
    figure, axis = plt.subplots(figsize=(6.4, 6.0 * height / width * 0.72 + 0.4), layout="constrained")
    axis.imshow(picture, interpolation="nearest")
    side = height / len(rows)
    axis.set_yticks([side * (row + 0.5) for row in range(len(rows))], rows, fontsize=8)
    axis.set(title=title, xticks=[])
    plt.close(figure)  # or a notebook would show it twice
    return figure
