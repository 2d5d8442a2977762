"""Figures say what their table says, with scope on the axis; colours are one an epsilon, black without privacy."""

import math

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dpgan_lib.report import figures


def point(epsilon, accuracy, is_new=False):
    return {"method": "one", "epsilon": epsilon, "seed": 0, "is_new": is_new, "pairs": accuracy}


def test_tradeoff_draws_every_seed_and_states_the_scope():
    points = [point(1.0, 0.7), point(1.0, 0.75), point(math.inf, 0.9), point(3.0, 0.8, is_new=True)]
    figure = figures.tradeoff(points, {"pairs": 0.98}, 1e-5)
    axis = figure.axes[0]
    heights = [line.get_ydata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
    assert sorted(heights) == [0.7, 0.75, 0.8, 0.9]
    assert axis.get_xlabel() == "epsilon (total, delta = 1e-5, add/remove)"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "3", "no privacy"]
    assert "this run" in axis.get_legend_handles_labels()[1]


def test_methods_are_told_apart_without_colour_and_a_task_that_a_run_lacks_is_left_out():
    points = [point(1.0, 0.7), point(10.0, 0.8), point(1.0, 0.6) | {"method": "other"}]
    del points[1]["pairs"]
    axis = figures.tradeoff(points, {"pairs": 0.98}, 1e-5).axes[0]
    handles, names = axis.get_legend_handles_labels()
    drawn = {name: (handle.get_marker(), handle.get_linestyle()) for handle, name in zip(handles, names)}
    assert {"one", "other"} <= drawn.keys() and len(set(drawn.values())) == len(drawn)
    assert sorted(line.get_ydata()[0] for line in axis.lines if len(line.get_xdata()) == 1 and line.get_marker()
                  in figures.MARKERS) == [0.6, 0.7]


def test_a_run_without_privacy_alone_can_be_drawn():
    assert figures.tradeoff([point(math.inf, 0.9)], {"pairs": 0.98}, 1e-5).axes


def test_colours_are_distinct_and_black_is_no_privacy():
    assert figures.epsilon_colour(math.inf) == (0, 0, 0, 1)
    assert len({figures.epsilon_colour(epsilon) for epsilon in (0.2, 0.5, 1, 2, 5, 10, math.inf)}) == 7


def panel(**more):
    return dict(title="t", xlabel="x", ylabel="y", curves={"a": ([1, 10], [1, 2]), "b": ([1, 10], [3, 4])}) | more


def test_panels_tell_curves_apart_without_colour_and_mark_the_readers_point():
    first, second = figures.panels([panel(here=(10, 2)), panel(linear="y")]).axes
    assert first.get_legend_handles_labels()[1] == ["a", "b", "these parameters"]
    assert len({line.get_linestyle() for line in first.lines[:2]}) == 2
    assert [first.get_xscale(), first.get_yscale(), second.get_xscale(), second.get_yscale()] == [
        "log", "log", "log", "linear"]
    first.figure.draw_without_rendering()
    labels = [text.get_text() for text in first.yaxis.get_ticklabels(which="both")]
    assert {"1", "2", "3"} <= set(labels) and not any("10^" in label for label in labels)


def test_pictures_have_titles():
    figure = figures.pictures({name: np.eye(8) for name in "abc"})
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", ""]


def test_a_near_tie_is_drawn_with_its_curves_around_zero():
    images = {name: np.eye(8) for name in "abc"}
    figure = figures.near_tie(images, {"one": ([1, 2], [3.0, -3.0]), "exact": ([1, 2], [0.0, 0.0])}, "rows", "score")
    *pictures, axis = figure.axes
    assert [each.get_title() for each in pictures] == ["a", "b", "c"]
    assert [list(line.get_ydata()) for line in axis.lines[1:]] == [[3.0, -3.0], [0.0, 0.0]]


def test_a_histogram_counts_every_value_in_bins_of_one_width():
    samples = {"one": np.arange(70), "other": np.array([3, 3, 99])}
    axis, = figures.histograms([{"title": "t", "xlabel": "x", "ylabel": "y", "samples": samples}]).axes
    one, _, other, _ = axis.patches
    widths = np.diff(np.unique(one.get_xy()[:, 0]))
    assert np.allclose(widths, 4) and np.all(np.unique(one.get_xy()[:, 0]) % 1 == 0.5)
    assert one.get_xy()[:, 1].max() == 4 and other.get_xy()[:, 1].max() == 2


def test_no_figure_is_left_to_pyplot():
    figures.panels([panel()])
    figures.pictures({"a": np.eye(8)})
    figures.sample_grids({"a": np.zeros((280, 280))})
    figures.pair_heatmap([[0, 1, 0.9], [0, 2, 0.6], [1, 2, 0.5]])
    figures.information([{"method": "one", "epsilon": 1.0, "history": [[5, -0.1], [10, 0.3]]}], class_entropy=2.3)
    assert plt.get_fignums() == []


def test_information_has_a_panel_a_method_with_a_mean_beside_what_was_seen():
    history = [[step, float(step % 2)] for step in range(80)]
    figure = figures.information([{"method": method, "epsilon": epsilon, "history": history}
                                  for method in ("one", "other") for epsilon in (math.inf, 1.0)], class_entropy=2.3)
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["epsilon 1", "no privacy",
                                                                          "H of the class code alone"]
    seen, mean, *_ = figure.axes[0].lines
    assert set(seen.get_ydata()) == {0, 1} and set(mean.get_ydata()) == {0.5}


def test_accuracies_stand_apart_by_their_errors():
    """As far from 80% to 90% as from 98% to 99%; and a faultless classifier can be drawn."""
    axis = figures.tradeoff([point(1.0, 0.8), point(10.0, 1.0)], {"pairs": 0.99}, 1e-5).axes[0]
    height = axis.transData.transform
    first, second, third, fourth = (height((1, accuracy))[1] for accuracy in (0.8, 0.9, 0.98, 0.99))
    assert second - first == pytest.approx(fourth - third) and fourth > third > second
    assert [label.get_text() for label in axis.get_yticklabels()] == ["80%", "90%", "95%", "98%", "99%", "99.5%"]
    assert height((1, 1.0))[1] <= height((1, axis.get_ylim()[1]))[1]
