"""The accountant's chapter: its parameters, refused before anything is computed, and its assertions at others."""

import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import jupytext
import pytest

from dpgan_lib import paths
from dpgan_lib.book import chapters
from dpgan_lib.studies.accountant import study
from dpgan_lib.studies.parameters import parameters_from

USUAL = asdict(study.Parameters())


def chapter_defaults():
    return chapters.defaults(jupytext.read(chapters.chapter_path("accountant")), "03_accountant")


def test_the_chapter_shows_the_librarys_defaults():
    assert chapter_defaults() == USUAL


WRONG = [("noise_multiplier", 0.0, "must lie in [0.1, 1000]"), ("noise_multiplier", -1.0, "must be 0"),
         ("noise_multiplier", 0.1, "must be larger here"), ("sampling_rate", 256.0, "must lie in (0, 1]"),
         ("steps", 0, "must be an integer"), ("steps", 10**7, "must be at most"), ("delta", 1e-12, "must be at least"),
         ("delta", 1.0, "must lie strictly"), ("epsilon", -2.0, "must be a number > 0"),
         ("epsilon", math.inf, "must lie in [0.01, 100]"), ("epsilon", 1000.0, "must lie in [0.01, 100]")]


@pytest.mark.parametrize("field, value, line", WRONG)
def test_a_wrong_parameter_is_refused_before_the_chapter_computes(field, value, line):
    with pytest.raises(ValueError) as error:
        parameters_from(USUAL | {field: value}, study.Parameters)
    assert str(error.value).startswith(f"{field}={value!r} {line}") and "\n" not in str(error.value)
    if value != math.inf:
        with pytest.raises(ValueError, match=f"^{field}="):
            chapters.check_values({field: value}, USUAL, "03_accountant")


def test_an_epsilon_that_no_noise_reaches_is_refused_too():
    with pytest.raises(ValueError, match="^epsilon=0.01 must be one that some noise reaches: "):
        study.Parameters(epsilon=0.01, sampling_rate=1, steps=100_000, noise_multiplier=500.0).check()


@pytest.mark.full
def test_plain_papermill_refuses_an_unknown_parameter_with_the_nearest(tmp_path):
    notebook = paths.project() / "notebooks" / "03_accountant.ipynb"
    command = [Path(sys.executable).with_name("papermill"), notebook, tmp_path / "out.ipynb", "-p", "epsilno", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=paths.project())
    assert done.returncode != 0 and "Did you mean 'epsilon'?" in done.stderr


@pytest.mark.full
def test_the_chapters_assertions_hold_at_other_parameters():
    values = dict(noise_multiplier=3.0, sampling_rate=1.0, steps=3, delta=1e-6, epsilon=0.2)
    output = chapters.run_chapter("accountant", values, timeout=120, progress=False)
    assert set(chapters.glued(output)) >= {"epsilon_moments", "epsilon_pld"}
