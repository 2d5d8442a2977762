"""Train on synthetic, test on real: recipes that learn what can be learnt, and say chance where nothing can."""

from dataclasses import replace

import numpy as np
import pytest

from dpgan_lib import data
from dpgan_lib.config import EvaluationConfig
from dpgan_lib.gan.state import device, new_state
from dpgan_lib.measures import codes, utility
from dpgan_lib.studies import parameters
from dpgan_lib.studies.parameters import RunParameters

RECIPE = EvaluationConfig(images=1_400, cnn_steps=60)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def accuracies(images, labels, digits, **how):
    return utility.of_images(images, labels, (digits.test_images, digits.test_labels), how.get("recipe", RECIPE),
                             np.random.default_rng(0), how.get("pair_cnns", False))


@pytest.mark.full
def test_real_digits_teach_and_shuffled_labels_do_not(digits):
    images, labels = digits.train_images, digits.train_labels
    real = accuracies(images, labels, digits)
    shuffled = accuracies(images, np.random.default_rng(0).permutation(labels), digits)
    for name in ("ten_cnn", "ten_mlp", "ten_logistic"):
        assert real[name] > 0.8 and shuffled[name] < 0.3, name
    assert real["pairs_logistic"] > 0.95 and abs(shuffled["pairs_logistic"] - 0.5) < 0.1
    assert real["pairs_worst"] == min(accuracy for *_, accuracy in real["pairs"]) and len(real["pairs"]) == 45


@pytest.mark.full
def test_each_pair_has_a_cnn_where_that_is_asked_for(digits, monkeypatch):
    monkeypatch.setattr(utility, "PAIR_STEPS", 1)
    few = np.isin(digits.train_labels, (3, 8))
    of_two = np.isin(digits.test_labels, (3, 8))
    two = digits.test_images[of_two], digits.test_labels[of_two]
    found = utility.of_images(digits.train_images[few], digits.train_labels[few], two, RECIPE,
                              np.random.default_rng(0), pair_cnns=True)
    (first, second, accuracy), = found["cnn_pairs"]
    assert (first, second) == (3, 8) and accuracy == found["pairs_cnn"] == found["pairs_cnn_worst"] > 0.9


@pytest.mark.parametrize("known", [[], [4], [4, 7]])
def test_images_without_some_classes_get_the_accuracy_of_naming_what_they_have(known, digits):
    of_known = np.isin(digits.train_labels, known)
    short = replace(RECIPE, cnn_steps=1)
    images, labels = digits.train_images[of_known], digits.train_labels[of_known]
    test = digits.test_images, digits.test_labels
    pairs = {(i, j): accuracy for i, j, accuracy in utility._pairs(images, labels, test, lambda *_: 2.0)}
    tested = np.bincount(digits.test_labels)
    assert pairs[1, 4] == (tested[4 if 4 in known else 1]) / (tested[1] + tested[4])
    assert pairs[4, 7] == (2.0 if len(known) == 2 else tested[4] / (tested[4] + tested[7]))
    assert pairs[2, 3] == tested[2] / (tested[2] + tested[3])
    if known == [4]:
        found = utility.of_images(images, labels, test, short, np.random.default_rng(0), pair_cnns=False)
        assert found["ten_mlp"] == found["ten_logistic"] == tested[4] / tested.sum()


def run(conditional):
    config = parameters.plan_run(RunParameters(dataset="digits", profile="smoke", epsilon=3.0))
    return replace(config, model=replace(config.model, conditional=conditional),
                   evaluation=EvaluationConfig(images=300, cnn_steps=6))


def test_with_labels_a_code_is_its_class_and_without_them_what_the_judge_sees(digits, monkeypatch):
    generator = new_state(run(True), device()).average
    images, labels, names = utility.generate(run(True), generator, digits)
    assert names == list(range(10)) and labels.tolist() == [k % 10 for k in range(300)] and len(images) == 300
    monkeypatch.setattr(codes, "named", lambda judge, images: np.arange(len(images)) // 100 % 7)
    _, labels, names = utility.generate(run(False), generator, digits)
    assert len(names) == 10 and set(names) <= set(range(7))
    assert labels.tolist() == [names[k % 10] for k in range(300)]


def test_the_metrics_of_a_run_and_their_repetition(digits):
    config = run(True)
    state = new_state(config, device())
    one, other = (utility.measure(config, state, digits) for _ in range(2))
    assert one == other and one.keys() == {"synthetic", "fidelity", "names"}
    assert "pairs_cnn" not in one["synthetic"]  # at epsilon 3
    assert one["fidelity"]["fid_test"] > 5 * one["fidelity"]["floor"]  # an untrained generator
