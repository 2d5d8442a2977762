"""Randomness by purpose and step."""

from itertools import combinations

import numpy as np
from randomgen import ChaCha
from scipy import stats

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


# In a release

def test_the_generator_of_a_release_is_chacha20():
    """Its first numbers under a key of zeros are those of RFC 8439, appendix A.1."""
    published = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert ChaCha(key=0, rounds=20).random_raw(4).astype("<u8").tobytes() == published
    drawn = stream(None, "noise").bit_generator
    assert isinstance(drawn, ChaCha) and drawn.state["state"]["rounds"] == 20


def test_every_stream_of_a_release_has_a_key_of_its_own():
    keys = [tuple(stream(None, "noise", 3).bit_generator.state["state"]["keysetup"]) for _ in range(100)]
    assert len(set(keys)) == 100


def test_the_noise_of_a_release_is_normal():
    """By Kolmogorov and Smirnov, of 100,000 numbers: false one time in a million."""
    assert stats.kstest(stream(None, "noise").standard_normal(100_000), "norm").pvalue > 1e-6
