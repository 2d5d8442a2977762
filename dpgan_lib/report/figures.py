"""Figures: a table in, a Figure out. Nothing here trains, reads files or calls show()."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

EPSILON_RANGE = (0.1, 30.0)  # of the colour scale: one colour an epsilon in the whole book
INFINITY_GAP = 4.0  # the run without privacy stands this factor to the right of the largest epsilon
GRIDS_IN_A_ROW = 3
BINS = 30  # of a histogram, at most
ACCURACIES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # named on an axis by the log of the error
LEAST_ERROR = 1e-3  # drawn there for none
SMOOTHED = 40  # a curve's values are averaged over one part in so many
MARKERS = ("o", "s", "^", "D")
# So that no curve is told by its colour alone.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))


def epsilon_colour(epsilon: float) -> tuple:
    """The book's colour of an epsilon > 0: dark is private, bright is not; black is no privacy (inf)."""
    if math.isinf(epsilon):
        return (0.0, 0.0, 0.0, 1.0)
    low, high = map(math.log, EPSILON_RANGE)
    # The last fifth of the scale is yellow, too faint on white.
    return plt.get_cmap("viridis")(0.8 * min(max((math.log(epsilon) - low) / (high - low), 0), 1))


def tradeoff(points: list[dict], ceilings: dict[str, float], delta: float) -> Figure:
    """Accuracy against epsilon, a panel a task, every seed a mark, with the real-data ceiling.

    points: dicts with method, epsilon, seed, is_new (drawn as a ringed star) and an accuracy in [0, 1] for each task,
    or for some.  ceilings: task name (the panel's title) -> accuracy of the same classifier trained on as many real
    images.
    """
    panels = len(ceilings)  # one above the other, so that the text survives a phone's width
    figure, axes = plt.subplots(panels, 1, figsize=(6.4, 3.6 * panels), layout="constrained")
    finite = [point["epsilon"] for point in points if math.isfinite(point["epsilon"])] or [1.0]
    right = max(finite) * INFINITY_GAP
    methods = list(dict.fromkeys(point["method"] for point in points))
    for axis, (task, ceiling) in zip(np.atleast_1d(axes), ceilings.items()):
        _by_error(axis, [ceiling, *(point[task] for point in points if task in point)])
        axis.axhline(ceiling, color="black", linestyle=":", label="real images (ceiling)")
        measured = [point for point in points if task in point]
        for method, marker, dash in zip(methods, MARKERS, DASHES):
            of_method = [point for point in measured if point["method"] == method]
            _mean_line(axis, of_method, task, right, dash)
            for point in of_method:
                axis.plot(min(point["epsilon"], right), point[task], "*" if point["is_new"] else marker,
                          markersize=15 if point["is_new"] else 7, color=epsilon_colour(point["epsilon"]),
                          markeredgecolor="tab:red" if point["is_new"] else "white",
                          label="this run" if point["is_new"] else None)
            if of_method:
                axis.plot([], [], marker=marker, linestyle=dash, color="grey", label=method)
        axis.set(xscale="log", xlim=(min(finite) / 1.4, 1.6 * right), xlabel=epsilon_label(delta), title=task,
                 ylabel="accuracy on real test images")
        ticks = sorted({point["epsilon"] for point in points})
        axis.set_xticks([min(tick, right) for tick in ticks],
                        ["no privacy" if math.isinf(tick) else f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    named = {label: handle for axis in np.atleast_1d(axes) for handle, label in zip(*axis.get_legend_handles_labels())}
    # Clear of all marks.
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=2, frameon=False)
    return _closed(figure)


def _by_error(axis, accuracies):
    """Let an axis of accuracies go by the logarithm of the error, in which 98% is as far from 99% as 80% from 90%."""
    def rise(accuracy):
        return -np.log10(np.maximum(1 - accuracy, LEAST_ERROR))

    axis.set_yscale("function", functions=(rise, lambda height: 1 - 10.0**-height))
    low, high = rise(np.array([min(accuracies), max(accuracies)]))
    room = 0.06 * max(high - low, 0.3)
    axis.set_ylim(*(1 - 10.0 ** -np.array([low - room, high + room])))
    shown = [each for each in ACCURACIES if low - room <= rise(each) <= high + room]
    axis.set_yticks(shown, [f"{100 * each:g}%" for each in shown])


def epsilon_label(delta: float) -> str:
    """An axis's words, with the scope that an epsilon never goes without."""
    return f"epsilon (total, delta = {delta:g}, add/remove)".replace("e-0", "e-")


def _mean_line(axis, points, task, right, dash):
    """The mean over seeds at each epsilon, joined in order."""
    values: dict[float, list[float]] = {}
    for point in points:
        values.setdefault(min(point["epsilon"], right), []).append(point[task])
    positions = sorted(values)
    axis.plot(positions, [np.mean(values[position]) for position in positions], color="grey", linestyle=dash,
              zorder=0)


def sample_grids(grids: dict[str, np.ndarray]) -> Figure:
    """Grids of generated images, three in a row: title -> (height, width) in [0, 1], white ink on black, uncurated."""
    columns = min(len(grids), GRIDS_IN_A_ROW)
    rows = math.ceil(len(grids) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 3.7 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(grids) :]:
        axis.set_axis_off()
    for axis, (title, grid) in zip(axes.flat, grids.items()):
        axis.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        side = grid.shape[0] // 10
        axis.set_yticks([side * (label + 0.5) for label in range(10)], range(10))
        axis.set(title=title, xticks=[], ylabel="class asked for")
    return _closed(figure)


def pair_heatmap(pairs: list[list]) -> Figure:
    """Accuracy of each pair of classes. pairs: [i, j, accuracy in [0, 1]] for i < j."""
    side = max(j for _, j, _ in pairs) + 1
    table = np.full((side, side), np.nan)
    for i, j, accuracy in pairs:
        table[j, i] = accuracy
    figure, axis = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
    seaborn.heatmap(100 * table[1:, :-1], annot=True, fmt=".0f", vmin=50, vmax=100, cmap="cividis", ax=axis,
                    xticklabels=range(side - 1), yticklabels=range(1, side),
                    cbar_kws={"label": "accuracy on real test images, percent (50 is chance)"})
    axis.set(xlabel="one class", ylabel="the other")
    return _closed(figure)


def information(curves: list[dict], class_entropy: float) -> Figure:
    """L_I in nats over critic steps, a panel a method: what was seen, faint, and its mean over some steps.

    curves: dicts with method, epsilon and history, [[step, nats], ...].
    class_entropy: H of the categorical code in nats, drawn for scale; L_I also counts the continuous codes.
    """
    methods, means = list(dict.fromkeys(curve["method"] for curve in curves)), []
    figure, axes = plt.subplots(len(methods), 1, figsize=(6.4, 2.4 * len(methods)), layout="constrained",
                                sharey=True, squeeze=False)
    for axis, method in zip(axes.flat, methods):
        for curve in sorted((each for each in curves if each["method"] == method), key=lambda each: each["epsilon"]):
            steps, nats = np.array(curve["history"]).T
            width, colour = math.ceil(len(steps) / SMOOTHED), epsilon_colour(curve["epsilon"])
            axis.plot(steps, nats, color=colour, alpha=0.15, linewidth=0.8)
            name = "no privacy" if math.isinf(curve["epsilon"]) else f"epsilon {curve['epsilon']:g}"
            means.append(np.convolve(nats, np.full(width, 1 / width), "valid"))
            axis.plot(steps[width - 1 :], means[-1], color=colour, label=name)
        axis.axhline(class_entropy, color="grey", linestyle=":", label="H of the class code alone")
        axis.set(title=method, ylabel="bound L_I (nats)")
        axis.grid(alpha=0.3)
    axes[-1, 0].set(xlabel="critic steps", ylim=(-1, 1 + max(class_entropy, *map(np.max, means))))
    named = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=3, frameon=False)
    return _closed(figure)


class _PlainFormatter(LogFormatter):
    """Writes 0.6 and 1000 where matplotlib writes powers of ten, at the ticks that matplotlib would label."""

    def __call__(self, x, pos=None):
        return f"{x:g}" if super().__call__(x, pos) else ""


def panels(table: list[dict]) -> Figure:
    """Curves, one panel above another, on logarithmic axes unless a row says otherwise.

    table: dicts with title, xlabel, ylabel and curves, name -> (x, y); optionally here, the (x, y) of the reader's own
    parameters (a star), and linear, "x", "y" or "xy".
    """
    figure, axes = plt.subplots(len(table), 1, figsize=(6.4, 3.6 * len(table)), layout="constrained", squeeze=False)
    for axis, row in zip(axes.flat, table):
        assert len(row["curves"]) <= len(DASHES)  # else zip would drop the rest
        for (name, (x, y)), colour, dash in zip(row["curves"].items(), seaborn.color_palette("colorblind"), DASHES):
            axis.plot(x, y, color=colour, linestyle=dash, label=name, marker="o" if len(x) < 20 else None, markersize=4)
        if "here" in row:
            axis.plot(*row["here"], "*", markersize=14, color="black", label="these parameters", linestyle="none")
        linear = row.get("linear", "")
        axis.set(title=row["title"], xlabel=row["xlabel"], ylabel=row["ylabel"],
                 xscale="linear" if "x" in linear else "log", yscale="linear" if "y" in linear else "log")
        for scale in [side for side in (axis.xaxis, axis.yaxis) if side.get_scale() == "log"]:
            scale.set_major_formatter(_PlainFormatter())
            scale.set_minor_formatter(_PlainFormatter(minor_thresholds=(1, 0.4)))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return _closed(figure)


def pictures(images: dict[str, np.ndarray]) -> Figure:
    """Small grey images in two columns: title -> (height, width), each drawn from its own least to largest value."""
    rows = math.ceil(len(images) / 2)
    figure, axes = plt.subplots(rows, 2, figsize=(6.4, 3.3 * rows), layout="constrained")
    for axis in axes.flat[len(images) :]:
        axis.set_axis_off()
    for axis, (title, image) in zip(axes.flat, images.items()):
        axis.imshow(image, cmap="gray_r", interpolation="nearest")
        axis.set(title=title, xticks=[], yticks=[])
    return _closed(figure)


def near_tie(images: dict[str, np.ndarray], curves: dict[str, tuple], xlabel: str, ylabel: str) -> Figure:
    """Grey images in [0, 1] side by side, white ink on black, and below them curves around zero.

    images: title -> (height, width).  curves: name -> (x, y); where one is above zero and another below, they disagree.
    """
    figure = plt.figure(figsize=(6.4, 5.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
    for axis, (title, image) in zip(above.subplots(1, len(images)), images.items()):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set(title=title, xticks=[], yticks=[])
    axis = below.subplots()
    axis.axhline(0, color="black", linewidth=0.8)
    for (name, (x, y)), colour, dash, marker in zip(curves.items(), seaborn.color_palette("colorblind"), DASHES,
                                                    MARKERS):
        axis.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return _closed(figure)


def histograms(table: list[dict]) -> Figure:
    """How often whole numbers were seen, panels side by side.

    table: dicts with title, xlabel, ylabel (the first's is shown) and samples, name -> whole numbers.
    A panel's samples share its bins, each of which holds equally many whole numbers.
    """
    figure, axes = plt.subplots(1, len(table), figsize=(7, 3.4), layout="constrained", squeeze=False)
    for axis, row in zip(axes.flat, table):
        values = np.concatenate(list(row["samples"].values()))
        width = math.ceil((np.ptp(values) + 1) / BINS)
        bins = np.arange(values.min(), values.max() + width + 1, width) - 0.5
        for (name, values), colour, dash in zip(row["samples"].items(), seaborn.color_palette("colorblind"), DASHES):
            axis.hist(values, bins, histtype="stepfilled", alpha=0.3, color=colour)
            axis.hist(values, bins, histtype="step", color=colour, linestyle=dash, linewidth=1.5, label=name)
        axis.set(title=row["title"], xlabel=row["xlabel"])
        axis.grid(alpha=0.3)
    axes.flat[0].set(ylabel=table[0]["ylabel"])
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return _closed(figure)


def quality(curves: list[dict], delta: float) -> Figure:
    """Accuracy against seconds of training. curves: dicts with epsilon, seconds and accuracy, two lists."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for curve, dash in zip(curves, DASHES):
        name = "no privacy" if math.isinf(curve["epsilon"]) else f"epsilon {curve['epsilon']:g}"
        axis.plot(curve["seconds"], curve["accuracy"], marker="o", markersize=4, linestyle=dash, label=name,
                  color=epsilon_colour(curve["epsilon"]))
    axis.set(xlabel="seconds of training", ylabel="accuracy on real test images", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, title=epsilon_label(delta), alignment="left", fontsize=9, title_fontsize=9)
    return _closed(figure)


def norm_bands(curves: list[dict], clip_norm: float) -> Figure:
    """Gradient norms over training: the median, in a band between the outer quantiles, and the clip norm C.

    curves: dicts with name, epsilon, steps (looks,) and norms (looks, quantiles), the median in the middle.
    """
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for curve, dash in zip(curves, DASHES):
        low, *_, high = norms = np.array(curve["norms"]).T
        colour = epsilon_colour(curve["epsilon"])
        axis.fill_between(curve["steps"], low, high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(curve["steps"], norms[len(norms) // 2], color=colour, linestyle=dash, label=curve["name"])
    axis.axhline(clip_norm, color="tab:red", linestyle=":", label=f"clip norm C = {clip_norm:g}")
    axis.set(xlabel="critic steps", ylabel="norm of one record's gradient", yscale="log")
    axis.yaxis.set_major_formatter(_PlainFormatter())
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return _closed(figure)


def bars(shares: dict[str, float], xlabel: str) -> Figure:
    """Horizontal bars, the first at the top. shares: name -> value."""
    figure, axis = plt.subplots(figsize=(6.4, 0.6 + 0.32 * len(shares)), layout="constrained")
    axis.barh(list(shares), list(shares.values()), color=seaborn.color_palette("colorblind")[0])
    axis.invert_yaxis()
    axis.set(xlabel=xlabel)
    axis.grid(alpha=0.3, axis="x")
    return _closed(figure)


def blank(width: float, height: float) -> Figure:
    """An empty figure, inches. From pyplot, whose first figure makes a notebook draw figures: before it shows a
    name.
    """
    return _closed(plt.figure(figsize=(width, height), layout="constrained"))


def _closed(figure: Figure) -> Figure:
    """Out of pyplot's hands, or a notebook would show it twice."""
    plt.close(figure)
    return figure


def png(grid: np.ndarray) -> bytes:
    """Images (rows, columns, side, side) in [-1, 1] as one PNG, on that fixed range."""
    from matplotlib import image

    rows, columns, side, _ = grid.shape
    file = io.BytesIO()
    image.imsave(file, grid.transpose(0, 2, 1, 3).reshape(rows * side, columns * side), cmap="gray", vmin=-1, vmax=1,
                 format="png", metadata={"Software": None})
    return file.getvalue()


def colour_png(grid: np.ndarray) -> bytes:
    """Images (rows, columns, 3, side, side) in [-1, 1] as one PNG, on that fixed range."""
    from PIL import Image

    rows, columns, _, side, _ = grid.shape
    pixels = np.rint((grid.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(0, 3, 1, 4, 2).reshape(rows * side, columns * side, 3)).save(
        file, "PNG", optimize=True)
    return file.getvalue()
