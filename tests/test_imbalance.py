"""The study of class imbalance: what is thinned, what each remedy trains on, and what counts as recall."""

import numpy as np
import pytest

from dpgan_lib import data, paths
from dpgan_lib.measures import classifiers
from dpgan_lib.records import store
from dpgan_lib.studies.class_imbalance import study, tables
from dpgan_lib.studies.class_imbalance.study import RARE, Parameters

SMOKE = {"dataset": "digits", "profile": "smoke"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.001])
def test_one_digit_is_thinned_and_the_others_stay(digits, kept):
    rows = study.chosen(digits.train_labels, Parameters(**SMOKE, kept=kept))
    whole, thinned = (np.bincount(labels, minlength=10) for labels in (digits.train_labels, digits.train_labels[rows]))
    assert len(set(rows)) == len(rows)
    assert thinned[RARE] == max(1, round(kept * whole[RARE]))
    assert (np.delete(thinned, RARE) == np.delete(whole, RARE)).all()


def test_fewer_records_are_a_draw_by_seed(digits):
    one, again, other = (study.chosen(digits.train_labels, Parameters(**SMOKE, kept=1.0, records=600, seed=seed))
                         for seed in (0, 0, 1))
    assert len(set(one)) == 600 and (one == again).all() and (one != other).any()


@pytest.mark.parametrize("change", [{"kept": 0.1}, {"kept": 0.001}, {"kept": 1.0}, {"kept": 1.0, "records": 600}])
def test_the_noise_is_calibrated_for_the_records_that_are_left(digits, change):
    parameters = Parameters(**SMOKE, epsilon="inf", **change)
    left = study.chosen(digits.train_labels, parameters)
    assert study.run_of(parameters).privacy.records == study.size(parameters) == len(left)


def test_how_many_are_rare_is_known_without_the_data(digits):
    grown = data.load("grown_digits", progress=False)
    for name, files in (("digits", digits), ("grown_digits", grown)):
        assert (files.train_labels == RARE).sum() == study.RARE_RECORDS[name]
    assert study.RARE_RECORDS.keys() == data.CARDS.keys()


def test_the_rare_digits_of_mnist(real_mnist):
    assert (real_mnist.train_labels == RARE).sum() == study.RARE_RECORDS["mnist"]


def test_each_data_set_has_an_address_of_its_own():
    changes = ({}, {"kept": 0.5}, {"kept": 1.0, "records": 600}, {"seed": 1})
    assert len({study.STUDY.address(Parameters(**SMOKE | {"epsilon": "inf"} | change)) for change in changes}) == 4


@pytest.mark.parametrize("wrong, words",
                         [({"kept": 0}, "kept=0"), ({"kept": True}, "kept=True"), ({"kept": 1.5}, "kept=1.5"),
                                          ({"records": 3}, "records=3"), ({"records": 10**6}, "records=1000000"),
                                          ({"records": 600, "kept": 0.5}, "kept=0.5")])
def test_what_makes_no_sense_is_refused(wrong, words):
    with pytest.raises(ValueError) as refusal:
        study.run_of(Parameters(**SMOKE, **wrong))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_recall_and_precision_are_of_the_rare_digit(digits):
    def half_of_them(images):
        seen = digits.test_labels.copy()
        rare = np.flatnonzero(seen == RARE)
        seen[rare[::2]] = 0  # half of the rare ones missed, rounded up
        seen[np.flatnonzero(seen == 1)[:5]] = RARE  # five false alarms
        return seen

    scores = study._scores(half_of_them, digits)
    rare = (digits.test_labels == RARE).sum()
    assert scores["recall"] == pytest.approx((rare // 2) / rare)
    assert scores["precision"] == pytest.approx((rare // 2) / (rare // 2 + 5))
    assert study._scores(lambda images: np.zeros(len(images)), digits)["precision"] == 0


@pytest.mark.full
def test_a_record_and_what_each_remedy_trains_on(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.setitem(study.CNN_STEPS, "smoke", 1)
    trained = []
    cnn = classifiers.train_cnn
    monkeypatch.setattr(classifiers, "train_cnn",
                        lambda images, labels, *rest: trained.append(labels) or cnn(images, labels, *rest))
    parameters = Parameters(**SMOKE, epsilon="inf", kept=0.05)
    record = study.STUDY.obtain(parameters, progress=False)
    assert record.run_id == study.STUDY.address(parameters) and store.staleness(record) == []
    assert record.metrics["remedies"].keys() == study.REMEDIES.keys() and not list(paths.runs().glob("*/.work*"))
    row = tables.row(record)
    assert row["kept"] == 0.05
    assert row["rare"] == record.metrics["counts"][RARE] == round(0.05 * (digits.train_labels == RARE).sum())
    real, oversampled, topped_up, synthetic = (np.bincount(labels, minlength=10) for labels in trained)
    level = int(np.median(real))
    assert real.tolist() == record.metrics["counts"]
    assert oversampled[RARE] == topped_up[RARE] == level and (synthetic == level).all()
    assert (np.delete(oversampled, RARE) == np.delete(real, RARE)).all()
    rows = [row, row | {"kept": 1.0, "records": 900}]
    (panel,) = tables.recall_panels(rows)
    assert panel["curves"][tables.WORDS["real"]] == ([0.05], [row["remedies"]["real"]["cnn"]["recall"]])
    assert tables.WORDS["weighted"] not in panel["curves"], "no CNN is trained so"
    assert tables.size_panel(rows)["curves"]["the real images"][0] == [900]
    assert list(tables.grids([record])) == ["5% kept, no privacy, seed 0"]
    for table in (tables.remedy_table(rows, "cnn"), tables.remedy_table(rows, "logistic")):
        assert table.count("<tr>") == 2 and "5% kept, no privacy, seed 0" in table
    assert "N = 900, no privacy, seed 0" in tables.size_table(rows)


def test_the_grid_names_distinct_cells():
    assert len(set(study.STUDY.grid)) == len(study.STUDY.grid)
