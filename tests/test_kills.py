"""Commands killed at random points and given again: the same bits, or a plain refusal, and never a wrong record."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dpgan_lib.privacy import budget, ledger
from dpgan_lib.records import checks, store, verify

pytestmark = pytest.mark.full
KILLS = int(os.environ.get("DPGAN_TEST_KILLS", 1))  # of each command; set it to 20 to be thorough
DPGAN = [sys.executable, "-W", "ignore", "-m", "dpgan_lib.cli", "--quiet"]


def run(words: list[str], home: Path, seconds: float | None = None) -> subprocess.CompletedProcess | None:
    """The command to its end, or None if it was killed after some seconds."""
    environment = os.environ | {"DPGAN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*DPGAN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
            return subprocess.CompletedProcess(words, process.returncode, out, errors)
        except subprocess.TimeoutExpired:
            process.kill()  # SIGKILL
            return None


def points(seconds: float) -> list[float]:
    return [random.Random(seed).uniform(0.2, 1.0) * seconds for seed in range(KILLS)]


KINDS = ["plain"] if KILLS == 1 else ["plain", "digits"]  # the latter takes several times as long


@pytest.fixture(scope="module", params=KINDS)
def private(request, tmp_path_factory):
    """A kind, private data, and how long its release takes when nobody kills it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("private") / "private.npz"
    np.savez(path, images=rng.integers(0, 256, (1500, 28, 28)).astype(np.uint8), labels=rng.integers(0, 10, 1500))
    started = time.monotonic()
    assert run(release(request.param, path, path.parent / "out"), path.parent).returncode == 0
    return request.param, path, time.monotonic() - started


def release(kind, path, out):
    return ["release", str(path), "--name", "clinic", "--kind", kind, "--records", "1500", "--classes", "10",
            "--epsilon", "3", "--delta", "1e-5", "--profile", "smoke", "--out", str(out)]


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_release_that_was_killed_says_what_it_lost_or_is_refused(private, tmp_path, kill):
    kind, path, seconds = private
    command = release(kind, path, tmp_path / "out")
    run(command, tmp_path, points(seconds)[kill])
    charged = max((ledger.charged(folder) for folder in tmp_path.glob("out/release/.work-*")), default=0)
    done = run(command, tmp_path)
    records = [store.read(each.parent) for each in tmp_path.glob("out/release/*/record.json")]
    if not records:
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        lost = re.search(r"(\d+) of (\d+) (critic|reader) steps", done.stderr)
        assert int(lost[1]) < 0.9 * int(lost[2]) if lost else "a noisy sum was charged and then lost" in done.stderr
        return
    if "such a release already" in done.stderr:  # killed between the record and the end
        assert done.returncode == 2
    for steps in records[0].content["steps"].values():
        assert 0.9 * steps["charged"] <= steps["taken"] <= steps["charged"]
    assert records[0].content["steps"]["critic steps"]["charged"] == records[0].config.privacy.steps >= charged
    assert not [check for check in verify.check(records[0]) if check.outcome == checks.FAILED]
    assert len(records) == 1


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_release_that_was_killed_costs_its_budget_one_release(private, tmp_path, kill):
    """All its steps, once: those before the kill and those after it."""
    kind, path, seconds = private
    file = tmp_path / "clinic.budget"
    budget.create(file, population="clinic", epsilon=6.0, delta=1e-5, unit="one image with its label")
    command = [*release(kind, path, tmp_path / "out"), "--budget", str(file)]
    run(command, tmp_path, points(seconds)[kill])
    before = budget.read(file)
    done = run(command, tmp_path)
    assert done.returncode in (0, 1, 2) and done.stderr.count("\n") == (done.returncode > 0), done.stderr
    found = budget.read(file)
    (only,) = [release for release in found.releases.values() if release.granted]
    assert only.charged == only.steps and found.granted == budget.cost(only.mechanisms, only.order) >= before.granted
    for each in tmp_path.glob("out/release/*/record.json"):
        steps = store.read(each.parent).content["steps"]
        assert {part: of_part["charged"] for part, of_part in steps.items()} == only.charged


# A demonstration

TRAIN = ["train", "-p", "profile", "smoke", "-p", "dataset", "digits", "-p", "epsilon", "2"]
BOOK = ["run", "mnist_tradeoff", "-p", "profile", "smoke", "-p", "dataset", "digits", "-p", "epsilon", "2"]


COMMANDS = [TRAIN] if KILLS == 1 else [TRAIN, BOOK]  # a book's training is the same, and takes five times as long


@pytest.fixture(scope="module", params=COMMANDS, ids=lambda words: words[0])
def whole(request, tmp_path_factory):
    """A command, what it leaves when nobody kills it, and how long it takes."""
    home, started = tmp_path_factory.mktemp("home"), time.monotonic()
    assert run(request.param, home).returncode == 0
    return request.param, left(home), time.monotonic() - started


def left(home: Path) -> list:
    """What records say, but for times and places."""
    records = [store.read(path.parent) for path in sorted(home.glob("runs/*/*/record.json"))]
    assert all(store.staleness(record) == [] for record in records)
    return [(record.run_id, record.metrics, record.content["artefacts"], record.content.get("history"))
            for record in records]


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_demonstration_that_was_killed_leaves_the_same_bits_in_the_end(whole, tmp_path, kill):
    words, expected, seconds = whole
    run(words, tmp_path, points(seconds)[kill])
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert left(tmp_path) == expected
