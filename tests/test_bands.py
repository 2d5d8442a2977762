"""Bands over seeds: the interval that the formula names, its share of next seeds, and `dpgan reproduce` end to end."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from sample_record import store_record

from dpgan_lib import cli, paths
from dpgan_lib.records import bands
from dpgan_lib.records.bands import Band
from dpgan_lib.records.store import Record, read
from dpgan_lib.studies import registry, reproduce
from dpgan_lib.studies.wasserstein import study


@pytest.fixture
def seeds(tmp_path):
    """Records of one run, one a seed; ten_cnn is given, and twice it is another metric."""
    def store(*values, first=0, **config):
        return [store_record(tmp_path, seed=seed, changes={"metrics": metrics(value)}, **config)
                for seed, value in enumerate(values, first)]

    return store


def metrics(value: float) -> dict:
    return {"synthetic": {"ten_cnn": value, "twice": 2 * value}, "always": 1.0}


# A band

def test_a_band_is_the_interval_of_the_formula():
    low, high = Band((1.0, 2.0, 4.0)).limits
    t, s = 4.302652729911275, math.sqrt(7 / 3)  # Student's at 0.975 with 2 degrees of freedom, from a printed table
    assert (low + high) / 2 == pytest.approx(7 / 3) and (high - low) / 2 == pytest.approx(t * s * math.sqrt(4 / 3))


def test_the_chance_of_a_value_at_the_edge_is_the_level():
    band = Band((1.0, 2.0, 4.0))
    assert [band.chance(edge) for edge in band.limits] == pytest.approx([1 - bands.LEVEL] * 2)
    assert band.chance(7 / 3) == 1.0


@pytest.mark.parametrize("n", [2, 3, 10])
def test_a_band_holds_nineteen_of_twenty_next_seeds(n):
    draws = np.random.default_rng(0).normal(5, 2, (2_000, n + 1))
    held = np.mean([Band(tuple(row[:-1])).holds(row[-1]) for row in draws.tolist()])
    assert abs(held - bands.LEVEL) < 4 * math.sqrt(0.05 * 0.95 / 2_000)  # four standard deviations of a share


@pytest.mark.parametrize("values", [(), (1.0,), (0.1, 0.1, 0.1)])
def test_one_seed_or_a_constant_shows_no_spread(values):
    assert not Band(values).is_known


# Records

def test_metrics_are_flat_and_leave_out_what_has_no_name(tmp_path):
    record = store_record(tmp_path, changes={"metrics": {
        "a": {"b": 0.5, "n": 3, "collapsed": True, "ceiling": "inf", "word": "x"}, "table": [[1, 2], [3, 4]],
        "runs": [{"w1": 0.1}, {"w1": 0.2}]}})
    assert bands.metrics(record) == {"a/b": 0.5, "a/n": 3.0, "runs/0/w1": 0.1, "runs/1/w1": 0.2}


def test_only_seeds_may_differ_within_a_group(seeds):
    three, other, smoke = seeds(1, 2, 3), seeds(1, epsilon=2.0), seeds(1, profile="smoke")
    assert bands.groups([*three, *other, *smoke]) == [three, other, smoke]


def test_a_seed_is_left_out_at_any_depth():
    assert bands.seedless({"seed": 1, "run": {"seed": 2, "rate": 3}}) == {"run": {"rate": 3}}


def test_a_record_is_no_judge_of_itself(seeds):
    records = seeds(0.9, 0.91, 0.92)
    assert bands.among(records[0], records).known["synthetic/ten_cnn"].values == (0.91, 0.92)
    assert bands.among(records[0], records[:2]).verdict == bands.NO_BAND


# A verdict

def test_a_value_within_is_reproduced_and_one_far_off_is_not(seeds):
    published, (near, far) = seeds(0.90, 0.91, 0.92), seeds(0.93, 0.1, first=3)
    assert bands.compare(near, published).verdict == bands.WITHIN
    assert bands.compare(far, published).verdict == bands.NOT_REPRODUCED
    assert bands.compare(far, published).inside == 0


def test_a_metric_outside_its_own_band_may_be_chance_among_many(seeds):
    published, (edge,) = seeds(0.90, 0.91, 0.92), seeds(0.91 + 0.0555, first=3)
    compared = bands.compare(edge, published)
    assert compared.inside == 0 and 0.025 < compared.known["synthetic/ten_cnn"].chance(0.9655) < 0.05
    assert compared.verdict == bands.WITHIN  # two metrics: p must fall below 0.025


def test_sound_runs_are_called_not_reproduced_within_the_level():
    rng, called, trials = np.random.default_rng(1), 0, 1_000
    for draws in rng.normal(size=(trials, 6, 4)):  # six independent metrics of three published seeds and one more
        known = {str(i): Band(tuple(row[:3])) for i, row in enumerate(draws.tolist())}
        values = {str(i): row[3] for i, row in enumerate(draws.tolist())}
        called += bands.Comparison(values, known).verdict == bands.NOT_REPRODUCED
    level = 1 - bands.LEVEL
    assert 0 < called / trials < level + 4 * math.sqrt(level * (1 - level) / trials)  # four standard deviations


def test_without_a_band_nothing_is_reproduced(seeds):
    fresh, *published = seeds(0.9, 0.9, 0.9)
    lines, reproduced = reproduce.outcome(fresh, reproduce.Reproduction(None, published, is_repeat=False))
    assert not reproduced and lines[-1].startswith(bands.NO_BAND)


# The command: smoke runs of the GAN in the plane, a second each

SMOKE = study.Parameters(profile="smoke")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A published store with three seeds of one run and one seed of another; its grid has one cell more."""
    folder = tmp_path_factory.mktemp("store")
    cells = [*(replace(SMOKE, seed=seed) for seed in (0, 1, 2)), replace(SMOKE, epsilon="inf")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(folder))
        patch.setenv("DPGAN_PUBLISHED", str(folder / "published"))
        patch.setattr(study, "STUDY", replace(study.STUDY, grid=(*cells, replace(SMOKE, lipschitz="penalty"))))
        for cell in cells:
            record = registry.obtain("wasserstein", cell, fresh=True, progress=False)
            shutil.copytree(record.folder, paths.published() / record.study / record.run_id)
        yield folder


def dpgan(*words):
    return CliRunner().invoke(cli.main, ["--quiet", "reproduce", "wasserstein", *words])


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_next_seed_is_held_against_its_band_and_nothing_published_changes(store):
    before = contents(store / "published")
    done = dpgan()
    assert done.exit_code == 0, done.output
    assert "seed 3" in done.stderr and "3 published seeds" in done.stderr
    assert done.stdout.count("(3 seeds)") == 7 and "inside   runs/0/w1: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith(bands.WITHIN)
    assert contents(store / "published") == before


def test_a_published_seed_gives_the_same_digits(store):
    done = dpgan("-p", "seed", "1", "-p", "epsilon", "1")
    assert done.exit_code == 0 and done.stdout.splitlines()[-1] == "the same, digit for digit"
    assert "DIFFERS" not in done.stdout and done.stdout.count("same ") > 7


def test_a_run_that_is_far_off_ends_with_status_1(store, monkeypatch):
    run_id = study.STUDY.address(SMOKE)
    record = read(paths.published() / "wasserstein" / run_id)
    record.content["metrics"]["floor"] = 1e6
    monkeypatch.setattr(registry, "obtain", lambda *_, **__: record)
    by_band, by_digit = dpgan("--run", run_id), dpgan("-p", "seed", "0")
    assert (by_band.exit_code, by_digit.exit_code) == (1, 1)
    assert "OUTSIDE  floor: " in by_band.stdout and by_band.stdout.splitlines()[-1].startswith(bands.NOT_REPRODUCED)
    assert "DIFFERS  floor: " in by_digit.stdout and "on the same machine" in by_digit.stdout.splitlines()[-1]


def test_other_digits_on_another_machine_name_it(store):
    published = read(paths.published() / "wasserstein" / study.STUDY.address(SMOKE))
    content = published.content | {"metrics": published.metrics | {"floor": 0.0},
                                   "provenance": published.provenance | {"trained_on": "a large device"}}
    lines, same = reproduce.outcome(Record(published.folder, content), reproduce.Reproduction(None, [published], True))
    assert not same and "threads there, a large device here" in lines[-1]


@pytest.mark.parametrize("words, reason", [
    (("-p", "epsilon", "3"), "no cell of the grid"), (("--run", "0123"), "no cell of the grid"),
    (("-p", "lipschitz", "penalty"), "is not published"), (("-p", "epsilon", "inf"), "makes no band"),
    (("-p", "seed", "-1"), "must be a whole number")])
def test_what_cannot_be_compared_is_refused_before_anything_is_computed(store, monkeypatch, words, reason):
    monkeypatch.setattr(registry, "obtain", None)
    done = dpgan(*words)
    assert done.exit_code == 2 and reason in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_chapter_without_records_is_refused():
    done = CliRunner().invoke(cli.main, ["reproduce", "accountant"])
    assert done.exit_code == 2 and "is no study with a grid" in done.stderr
