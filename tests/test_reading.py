"""The MNIST study with a private reader: its plan, and what a record says of the reader and of each set of images."""

from types import SimpleNamespace

import numpy as np
import pytest

from dpgan_lib.config import reader_steps, release_noise
from dpgan_lib.privacy import accounting
from dpgan_lib.records import checks, store, verify
from dpgan_lib.records.store import staleness
from dpgan_lib.studies import registry
from dpgan_lib.studies.mnist_tradeoff import claims, study, tables
from dpgan_lib.studies.mnist_tradeoff.study import Parameters, ReadParameters
from dpgan_lib.studies.study import kept_of, privacy_statement
from dpgan_lib.warm_start.reader import ReadingPosterior

SMOKE = {"dataset": "digits", "profile": "smoke"}


def test_what_is_asked_for_finds_its_study():
    assert registry.study("mnist_tradeoff", ReadParameters()) is study.READING
    assert registry.study("mnist_tradeoff/reader") is study.READING
    assert registry.study("mnist_tradeoff", Parameters()) is study.STUDY


def test_without_privacy_nothing_has_noise():
    config = study.run_with_reader(ReadParameters(**SMOKE, epsilon="inf"))
    assert (config.privacy.noise_multiplier, config.reader.noise_multiplier, release_noise(config)) == (0, 0, 0)
    assert config.reader.rate == study.LARGEST_RATE and config.reader.expected_batch <= config.privacy.records


@pytest.mark.full
def test_parts_take_their_shares_and_spend_no_more_than_asked_together():
    config = study.run_with_reader(ReadParameters(**SMOKE, epsilon=4.0))
    release = accounting.parts_of_run(noise_multiplier=0.0, sampling_rate=1.0, steps=0, reader=None,
                                      release_noise=release_noise(config))
    before_critic = (*release, accounting.SampledGaussian(**reader_steps(config)))
    shares = study.SHARES["release"], study.SHARES["release"] + config.reader.share
    for share, parts in zip(shares, (release, before_critic), strict=True):
        assert accounting.spent_pld(parts, 1e-5) == pytest.approx(4.0 * share, rel=0.01)  # a thousandth of noise
    assert 3.6 <= privacy_statement(config, "one")["epsilon_spent"]["pld"] <= 4.0
    whole = study.run_of(Parameters(**SMOKE, epsilon=4.0))
    assert (config.optimiser, config.model, config.latent) == (whole.optimiser, whole.model, whole.latent)
    assert sum(study.SHARES.values()) == pytest.approx(1)  # rounding


@pytest.mark.full
def test_a_record_says_what_the_reader_reads_and_what_each_set_of_images_teaches():
    asked = ReadParameters(**SMOKE, epsilon=10.0)
    record = study.READING.obtain(asked, fresh=True, progress=False)
    assert record.kind == "reader" and staleness(record) == []
    metrics = record.metrics
    for images in ("plain", "faithful", "wide"):
        assert 0 <= metrics[images]["synthetic"]["ten_cnn"] <= 1 and metrics[images]["fidelity"]["fid_test"] > 0
    assert metrics["faithful"]["agreement"] >= metrics["plain"]["agreement"] > metrics["wide"]["agreement"]
    assert {"ten_mlp", "pairs_logistic"} <= set(metrics["faithful"]["synthetic"])
    assert "pairs_cnn" in metrics["wide"]["synthetic"] and metrics["reader"]["accuracy"] > 0.5
    assert not [check for check in verify.check(record) if check.outcome == checks.FAILED]
    kept = kept_of(record)
    assert isinstance(kept.posterior, ReadingPosterior) and np.isclose(kept.shares.sum(), 1)


# What records say

def read(epsilon, reader=0.99, plain=0.9, faithful=0.97, wide=0.985, pairs=0.995, seed=0):
    """A record with these accuracies, all else alike."""
    fidelity = {"fid_test": 10.0, "precision": 0.5, "recall": 0.5}
    sets = {name: {"synthetic": {"ten_cnn": value}, "fidelity": fidelity, "agreement": 0.9}
            for name, value in (("plain", plain), ("faithful", faithful), ("wide", wide))}
    sets["wide"]["synthetic"]["pairs_cnn"] = pairs
    return SimpleNamespace(kind="reader", asked={"dataset": "mnist", "profile": "laptop", "seed": seed},
                           config=SimpleNamespace(privacy=SimpleNamespace(epsilon=epsilon)),
                           metrics={"reader": {"accuracy": reader}} | sets)


@pytest.mark.parametrize("changes, verdict", [
    ({}, "holds"), ({"wide": 0.96}, "holds in part"),
    ({"reader": 0.9, "faithful": 0.9, "wide": 0.9, "pairs": 0.9}, "does not hold")])
def test_the_claim_on_the_reader(monkeypatch, changes, verdict):
    monkeypatch.setattr(store, "staleness", lambda record: [])
    records = [read(epsilon, seed=seed, **changes) for epsilon in (0.2, 1.0, 10.0) for seed in range(3)]
    (claim,) = (each for each in claims.CLAIMS if each.judge is claims.judge_reader)
    found = claim.verdict(records)
    assert (found.verdict, found.seeds) == (verdict, 3)
    assert claim.verdict(records[:1] + records[3:4]).verdict == "a first look"


def test_each_row_is_one_set_of_images_and_a_set_without_pairs_has_none():
    table = tables.reading_table([tables.reading_row(read(1.0)), tables.reading_row(read(1.0, wide=0.975, seed=1))])
    assert table.count('scope="row"') == 4 and "epsilon 1: the reader itself" in table
    wide = table.partition("images wide")[2].partition("</tr>")[0]
    assert "98.0 &plusmn;" in wide and "99.5" in wide
    assert table.partition("images as asked for")[2].partition("</tr>")[0].count("&ndash;") == 1
    assert "not measured" in tables.reading_targets_table([])
