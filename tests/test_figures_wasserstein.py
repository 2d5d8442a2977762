"""The figures of the chapter on Wasserstein distances show every run, and tell nothing by colour alone."""

import math

import numpy as np
from matplotlib import pyplot as plt

from dpgan_lib.studies.wasserstein import figures


def game(epsilon, ratio, w1, is_new=False):
    return {"lipschitz": "clip", "epsilon": epsilon, "ratio": ratio, "w1": w1, "is_new": is_new}


def test_every_game_is_a_dot_and_the_readers_is_a_star():
    rows = [game(1.0, 1, 0.4), game(1.0, 1, 0.6), game(1.0, 50, 0.3), game(math.inf, 1, 0.2), game(2.0, 5, 0.5, True)]
    (axis,) = figures.ratios(rows, floor=0.1, scope="epsilon").axes
    dots = {line.get_ydata()[0]: line.get_marker() for line in axis.lines if line.get_marker() in ("o", "*")}
    assert dots == {0.4: "o", 0.6: "o", 0.3: "o", 0.2: "o", 0.5: "*"}
    named = {line.get_label(): line for line in axis.lines}
    assert list(named["epsilon 1"].get_ydata()) == [0.5, 0.3]
    assert named["epsilon 1"].get_linestyle() != named["no privacy"].get_linestyle()


def test_a_collapsed_run_is_a_cross_and_widths_have_markers_of_their_own():
    runs = [{"loss": loss, "rate": 1e-3, "width": width, "classes": 3.0, "collapsed": collapsed}
            for loss, width, collapsed in (("JS", 8, True), ("JS", 32, False), ("Wasserstein", 8, False))]
    first, second = figures.stability(runs, fewest=5.0).axes
    drawn = [[line.get_marker() for line in axis.lines if len(line.get_xdata()) == 1] for axis in (first, second)]
    assert drawn == [["x", "s"], ["o"]]


def test_clouds_and_samples_have_titles_and_nothing_is_left_to_pyplot():
    points = np.zeros((3, 2))
    (axis,) = figures.clouds({"plan": {"real": points, "fake": points}}, {"plan": np.zeros((3, 2, 2))}).axes
    assert axis.get_title() == "plan" and len(axis.lines) == 5
    (axis,) = figures.samples(np.zeros((56, 280)), ["one", "two"]).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "two"]
    assert plt.get_fignums() == []
