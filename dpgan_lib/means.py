"""Means over seeds, with intervals where there are seeds for one."""

import math

import numpy as np
from scipy import stats

LEVEL = 0.95  # of intervals for a mean over seeds


def half_width(found: list[float]) -> float | None:
    """Of the interval for the mean over seeds, by Student's t; None for fewer than two."""
    if len(found) < 2:
        return None
    spread = np.std(found, ddof=1) / math.sqrt(len(found))
    return float(stats.t.ppf((1 + LEVEL) / 2, len(found) - 1) * spread)


def percent(found: list[float]) -> str:
    """The mean in percent, with its interval where there are seeds for one; a hole says so."""
    if not found:
        return "not measured"
    half = half_width(found)
    return f"{100 * np.mean(found):.1f}" + (f" &plusmn; {100 * half:.1f}" if half is not None else "")


def mean_words(found: list[float]) -> str:
    """The mean in percent for running text, with its interval where there are seeds for one."""
    half = half_width(found)
    return f"{np.mean(found):.1%}" + (f" \u00b1 {100 * half:.1f}" if half is not None else "")
