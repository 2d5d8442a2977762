"""Randomness by purpose and step."""

from itertools import combinations

import numpy as np

from dpgan_lib.privacy.streams import PURPOSES, stream


def test_the_same_run_purpose_and_step_give_the_same_numbers():
    assert np.array_equal(stream("a", "noise", 3).standard_normal(100), stream("a", "noise", 3).standard_normal(100))


def test_other_runs_purposes_and_steps_give_other_numbers():
    names = [("a", purpose, step) for purpose in PURPOSES for step in (0, 1, 2)] + [("b", "noise", 0)]
    draws = [stream(*name).standard_normal(1000) for name in names]
    for one, other in combinations(draws, 2):
        # Independent normals: the correlation of 1,000 pairs is beyond 5.5 / sqrt(1000) once in 26 million.
        assert abs(np.corrcoef(one, other)[0, 1]) < 5.5 / 1000**0.5


def test_no_step_runs_into_the_next():
    long, following = stream("a", "noise", 0).standard_normal(100_000), stream("a", "noise", 1).standard_normal(8)
    assert not np.isin(following, long).any()
