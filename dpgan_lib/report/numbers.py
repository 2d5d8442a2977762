"""Means over seeds, with intervals where there are seeds for one."""

import math
from decimal import ROUND_CEILING, Context

import numpy as np
from scipy import stats

EPSILON_DIGITS = 3


# Numbers

def plain(value) -> str:
    """A value as one writes it: 10 for 10.0, 1e-5 for 1e-05, "inf" for an infinity."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent, power = repr(value).removesuffix(".0").partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa


def short(value: float) -> str:
    """Four significant digits."""
    return plain(float(f"{value:.4g}"))


def epsilon_name(epsilon: float) -> str:
    """An epsilon in words, "no privacy" for an infinite one."""
    return "no privacy" if math.isinf(epsilon) else f"epsilon {short(epsilon)}"


def rounded_up(epsilon: float) -> str:
    """Three significant digits, never below the value: it is an upper bound."""
    if math.isinf(epsilon):
        return "inf"
    bound = Context(prec=EPSILON_DIGITS, rounding=ROUND_CEILING).create_decimal_from_float(epsilon)
    return f"{bound.normalize():f}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


INTERVAL_LEVEL = 0.95  # of intervals for a mean over seeds


def half_width(found: list[float]) -> float | None:
    """Of the interval for the mean over seeds, by Student's t; None for fewer than two."""
    if len(found) < 2:
        return None
    spread = np.std(found, ddof=1) / math.sqrt(len(found))
    return float(stats.t.ppf((1 + INTERVAL_LEVEL) / 2, len(found) - 1) * spread)


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
