"""Channels from a code c to an image x whose mutual information is known, and readers Q(c | x) that bound it.

A channel is a table p(c, x), one row a code and one column an image, which sums to 1. A continuous variable is cut into
cells so fine that the sum is the integral to 1e-9. All information is in nats.
"""

import math

import numpy as np
from scipy.special import entr, rel_entr, softmax, xlogy
from scipy.stats import norm

REACH = 8.0  # standard deviations of a Gaussian that a table covers: 1e-15 of it lies beyond
CELLS_A_DEVIATION = 4  # of the narrowest Gaussian that a table holds; the midpoint rule then errs by 1e-50


# What a channel tells, and what a reader gets of it

def mutual_information(p: np.ndarray) -> float:
    """I(c; x) = sum p(c, x) log(p(c, x) / (p(c) p(x))) of a table p (codes, images)."""
    return float(rel_entr(p, np.outer(p.sum(1), p.sum(0))).sum())


def bound(p: np.ndarray, q: np.ndarray) -> float:
    """L_I = E log Q(c | x) + H(c), the variational bound (Barber and Agakov 2003), for a reader q (codes, images).

    Each column of q sums to 1, or to less where a reader believes in codes that do not exist.
    """
    return float(xlogy(p, q).sum() + entr(p.sum(1)).sum())


def gap(p: np.ndarray, q: np.ndarray) -> float:
    """E_x KL(p(c | x) || Q(c | x)): what the bound falls short of I(c; x) by."""
    return float(p.sum(0) @ rel_entr(posterior(p), q).sum(0))


def posterior(p: np.ndarray) -> np.ndarray:
    """The true p(c | x), by Bayes' rule; uniform for an image that never occurs."""
    seen = p.sum(0)
    return np.divide(p, seen, where=seen > 0, out=np.full(p.shape, 1 / len(p)))


# Channels

def confusion(count: int, accuracy: float) -> np.ndarray:
    """One of `count` equally likely codes, which arrives as it is with that probability, else as any of the others.

    I = log K + a log a + (1 - a) log((1 - a) / (K - 1)), for accuracy a and K codes.
    """
    wrong = (1 - accuracy) / (count - 1)
    return (wrong + (accuracy - wrong) * np.eye(count)) / count


def gaussian(ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """c ~ N(0, 1) and x = c + N(0, 1 / ratio), where ratio is the signal-to-noise ratio: I = 0.5 log(1 + ratio).

    Returns the table, and the values of c and of x.
    """
    noise = ratio**-0.5
    finest = (1 + ratio) ** -0.5  # the spread of c given x
    code = cells(REACH, finest)
    image = cells(REACH * math.hypot(1, noise), min(noise, 1))
    density = norm.pdf(code)[:, None] * norm.pdf(image, code[:, None], noise)
    return density / density.sum(), code, image


def uniform(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """c uniform on [-1, 1], as this book's continuous codes are, and x = c + N(0, noise^2). Returns as gaussian()."""
    # Gauss and Legendre's points and widths: between sharp edges, equal cells would converge slowly.
    code, width = np.polynomial.legendre.leggauss(math.ceil(20 + 12 / noise))
    image = cells(1 + REACH * noise, noise)
    mass = width[:, None] * norm.pdf(image, code[:, None], noise)
    return mass / mass.sum(), code, image


def mixture(means: list[float], spreads: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Equally likely codes; code k makes x ~ N(means[k], spreads[k]^2). Returns the table and the values of x."""
    image = cells(max(map(abs, means)) + REACH * max(spreads), min(spreads))
    density = np.array([norm.pdf(image, mean, spread) for mean, spread in zip(means, spreads)])
    return density / density.sum(), image


def cells(reach: float, finest: float) -> np.ndarray:
    """Middles of equal cells that cover [-reach, reach], CELLS_A_DEVIATION to the finest deviation."""
    count = math.ceil(2 * reach / finest * CELLS_A_DEVIATION)
    return reach * (2 * np.arange(count) + 1 - count) / count


# Readers

def learn(p: np.ndarray, statistics: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """L_I after each of 0..steps steps of gradient ascent on theta in Q(c | x) ~ p(c) exp(sum_s theta_s t_s(c, x)).

    statistics (S, codes, images): the t_s, which say what the reader can look at.  At theta = 0 it knows the prior
    alone, and L_I = 0. L_I is concave in theta, and its gradient is sum t_s(c, x) (p(c, x) - Q(c | x) p(x)).
    """
    theta, history = np.zeros(len(statistics)), []
    for _ in range(steps + 1):
        q = softmax(np.log(p.sum(1))[:, None] + np.tensordot(theta, statistics, 1), axis=0)
        history.append(bound(p, q))
        theta += rate * np.tensordot(statistics, p - q * p.sum(0), 2)
    return np.array(history)


def gaussian_reader(p: np.ndarray, code: np.ndarray, least_spread: float) -> np.ndarray:
    """The best Q that answers with a mean and a spread, as this book's does for a code that is uniform on [-1, 1].

    For each image these are the true posterior's, but for a floor under the spread. q holds the mass of each cell: its
    columns may sum to less than 1, for some of a Gaussian's mass lies outside [-1, 1].
    """
    belief, width = posterior(p), 2 * p.sum(1)  # a cell has its share of [-1, 1]
    mean = code @ belief
    spread = np.sqrt(np.maximum((code**2) @ belief - mean**2, least_spread**2))
    mass = width[:, None] * norm.pdf(code[:, None], mean, spread)
    return np.maximum(mass, np.finfo(float).tiny)  # nothing has no logarithm
