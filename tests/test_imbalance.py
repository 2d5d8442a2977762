"""The study of class imbalance: what is thinned, what each remedy trains on, and what counts as recall."""

import numpy as np
import pytest

from dpgan_lib import data, imbalance, results
from dpgan_lib.imbalance import RARE, Parameters

SMOKE = {"dataset": "digits", "profile": "smoke"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.001])
def test_one_digit_is_thinned_and_the_others_stay(digits, kept):
    rows = imbalance.chosen(digits.train_labels, Parameters(**SMOKE, kept=kept))
    whole, thinned = (np.bincount(labels, minlength=10) for labels in (digits.train_labels, digits.train_labels[rows]))
    assert len(set(rows)) == len(rows)
    assert thinned[RARE] == max(1, round(kept * whole[RARE]))
    assert (np.delete(thinned, RARE) == np.delete(whole, RARE)).all()


def test_fewer_records_are_a_draw_by_seed(digits):
    one, again, other = (imbalance.chosen(digits.train_labels, Parameters(**SMOKE, kept=1.0, records=600, seed=seed))
                         for seed in (0, 0, 1))
    assert len(one) == 600 and (one == again).all() and (one != other).any()


def test_the_noise_is_calibrated_for_the_records_that_are_left():
    config = imbalance.plan(Parameters(**SMOKE, epsilon="inf", kept=0.1))
    assert config.privacy.records == imbalance.size(Parameters(**SMOKE, kept=0.1)) < data.card("digits").records
    assert config.dataset == f"digits_{config.privacy.records}_0.1"
    assert len({imbalance.address(Parameters(**SMOKE, epsilon="inf", **change)) for change in (
        {}, {"kept": 0.5}, {"records": 600}, {"seed": 1})}) == 4


@pytest.mark.parametrize("wrong, words", [({"kept": 0}, "kept=0"), ({"kept": True}, "kept=True"), ({"kept": 1.5}, "kept=1.5"),
                                          ({"records": 3}, "records=3"), ({"records": 10**6}, "records=1000000")])
def test_what_makes_no_sense_is_refused(wrong, words):
    with pytest.raises(ValueError) as refusal:
        imbalance.plan(Parameters(**SMOKE, **wrong))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_recall_and_precision_are_of_the_rare_digit(digits):
    def half_of_them(images):
        seen = digits.test_labels.copy()
        rare = np.flatnonzero(seen == RARE)
        seen[rare[::2]] = 0  # half of the rare ones missed, rounded up
        seen[np.flatnonzero(seen == 1)[:5]] = RARE  # five false alarms
        return seen

    scores = imbalance._scores(half_of_them, digits)
    rare = (digits.test_labels == RARE).sum()
    assert scores["recall"] == pytest.approx((rare // 2) / rare)
    assert scores["precision"] == pytest.approx((rare // 2) / (rare // 2 + 5))
    assert imbalance._scores(lambda images: np.zeros(len(images)), digits)["precision"] == 0


def test_a_record_and_what_each_remedy_trains_on(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "LOCAL", tmp_path)
    monkeypatch.setitem(imbalance.CNN_STEPS, "smoke", 1)
    trained = []
    cnn = imbalance.evaluation.train_cnn
    monkeypatch.setattr(imbalance.evaluation, "train_cnn",
                        lambda images, labels, *rest: trained.append(labels) or cnn(images, labels, *rest))
    parameters = Parameters(**SMOKE, epsilon="inf", kept=0.05)
    record = imbalance.compute(parameters, False)
    assert record.run_id == imbalance.address(parameters) and results.staleness(record) == []
    assert record.metrics["remedies"].keys() == imbalance.REMEDIES.keys() and not list(tmp_path.glob("*/.work*"))
    row = imbalance.row(record)
    assert row["kept"] == 0.05 and row["rare"] == record.metrics["counts"][RARE] == round(0.05 * (digits.train_labels == RARE).sum())
    real, oversampled, topped_up, synthetic = (np.bincount(labels, minlength=10) for labels in trained)
    level = int(np.median(real))
    assert real.tolist() == record.metrics["counts"]
    assert oversampled[RARE] == topped_up[RARE] == level and (synthetic == level).all()
    assert (np.delete(oversampled, RARE) == np.delete(real, RARE)).all()


def test_the_grid_names_distinct_cells():
    assert len(set(imbalance.GRID)) == len(imbalance.GRID)
