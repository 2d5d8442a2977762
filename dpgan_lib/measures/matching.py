"""Codes and digits matched one to one, and the judge that names digits as well as real training images can teach it."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import nn

from dpgan_lib.measures import codes


def digits_of(table: np.ndarray) -> np.ndarray:
    """The digit of each code (K,), no two the same, by which most of a table's images (K, digits) agree; K <= digits.

    Never many to one: a digit that nothing but another's code draws would then cost nothing.
    """
    return linear_sum_assignment(table, maximize=True)[1]


def agreement(table: np.ndarray, digits: np.ndarray) -> float:
    """The share of a table's images (K, digits) whose digit is their code's."""
    return float(table[np.arange(len(table)), digits].sum() / table.sum())


def table_of(codes_: np.ndarray, digits: np.ndarray, count: int) -> np.ndarray:
    """Images (count, 10) by code (B,) in 0..count-1 and digit (B,)."""
    table = np.zeros((count, codes.DIGITS), dtype=int)
    np.add.at(table, (codes_, digits), 1)
    return table


def matched(codes_: np.ndarray, digits: np.ndarray, count: int) -> dict:
    """How far codes (B,) and digits (B,) agree when each code is named by digits_of these very images.

    table: lists of counts.  names: each code's digit.  agreement: in [0, 1].
    """
    table = table_of(codes_, digits, count)
    names = digits_of(table)
    return {"table": table.tolist(), "names": names.tolist(), "agreement": agreement(table, names)}


def disclosed_judge(dataset: str, steps: int) -> nn.Module:
    """A CNN that names digits, trained on the real training images and labels of the data set.

    It serves measuring alone, of runs without privacy: what it says of a private run would be in no epsilon.
    """
    return codes.public_judge(dataset, steps)
