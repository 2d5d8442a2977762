"""The MNIST study: four methods, their ablations and one with a reader as configurations, the ceiling, and tables."""

import math
import re
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from sample_record import store_record

from dpgan_lib import data
from dpgan_lib.config import WarmRunConfig, release_noise
from dpgan_lib.privacy import accounting
from dpgan_lib.records.store import RECORDS_ONLY, staleness
from dpgan_lib.report import numbers
from dpgan_lib.studies import registry
from dpgan_lib.studies.mnist_tradeoff import study, tables
from dpgan_lib.studies.mnist_tradeoff.study import ABLATIONS, CEILING, METHODS, Ceiling, Parameters
from dpgan_lib.studies.study import privacy_statement

SMOKE = {"dataset": "digits", "profile": "smoke"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv(RECORDS_ONLY, raising=False)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("epsilon", [0.5, pytest.param(10.0, marks=pytest.mark.full), "inf"])
@pytest.mark.parametrize("method", METHODS)
def test_each_method_spends_no_more_than_asked_and_almost_that(method, epsilon):
    config = study.run_of(Parameters(**SMOKE, epsilon=epsilon, method=method))
    spent = privacy_statement(config, "one")["epsilon_spent"]["pld"]
    asked = float(epsilon)
    assert 0.9 * asked <= spent <= asked
    assert isinstance(config, WarmRunConfig) == (method in ("releases", "both")) == (release_noise(config) < math.inf)
    assert (config.privacy.steps == 0) == (method == "releases")
    assert config.model.conditional == (method != "paper")


@pytest.mark.full
def test_of_the_whole_method_the_releases_take_their_share():
    config = study.run_of(Parameters(**SMOKE, epsilon=4.0))
    alone = accounting.epsilon_pld(noise_multiplier=release_noise(config), sampling_rate=1.0, steps=1, delta=1e-5)
    assert alone == pytest.approx(4.0 * study.RELEASE_SHARE, rel=0.01)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_is_another_run(ablation):
    config = study.run_of(Parameters(**SMOKE, epsilon="inf", ablation=ablation))
    others = [study.run_of(Parameters(**SMOKE, epsilon="inf", ablation=other)) for other in ABLATIONS]
    assert others.count(config) == 1 and others[list(ABLATIONS).index(ablation)] == config
    assert study.ABLATION_WORDS.keys() == ABLATIONS.keys()


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_what_was_asked_names_the_method_and_the_ablation(store, method, ablation):
    """No configuration is asked to give them back: two that are alike were asked for by name."""
    asked = {"method": method, "ablation": ablation}
    record = store_record(store, changes={"asked": asdict(Parameters(**SMOKE)) | asked})
    assert tables.row(record).items() >= asked.items()
    assert tables.name(record).startswith(METHODS[method].name) and (f"({ablation})" in tables.name(record)) == (
        ablation != "none")


@pytest.mark.parametrize("wrong, words", [
    ({"method": "papr"}, "Did you mean 'paper'"), ({"method": 3}, "method=3"),
    ({"ablation": "x"}, "must be one of none"),
    ({"method": "paper", "ablation": "unfitted"}, 'takes something out of method="both"')])
def test_a_wrong_method_is_refused_in_one_line(wrong, words):
    with pytest.raises(ValueError) as refusal:
        study.run_of(Parameters(**SMOKE, **wrong))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_more_noise_fewer_styles():
    rounds = [study.rounds_at(epsilon) for epsilon in (0.01, 0.2, 0.5, 1.0, 5.0, 10.0, math.inf)]
    assert rounds == sorted(rounds) and (rounds[0], rounds[-1]) == (2, 6)


def test_points_of_one_figure():
    asked = [Parameters(**SMOKE, epsilon="inf", **change) for change in (
        {}, {"method": "paper", "info_weight": 1.0}, {"seed": 3}, {"ablation": "one_style"})]
    points = [SimpleNamespace(kind="run", asked=asdict(each)) for each in asked]
    for each in asked:
        assert study.STUDY.comparable(points, each) == points
    for change in ({"info_weight": 0.0}, {"delta": 1e-6}, {"method": "paper"}):
        assert study.STUDY.comparable(points, Parameters(**SMOKE, epsilon="inf", **change)) == []
    assert study.STUDY.comparable([SimpleNamespace(kind="ceiling", asked=points[0].asked)], asked[0]) == []


@pytest.mark.full
def test_the_ceiling_is_computed_once_then_found(store, monkeypatch):
    ceiling = Ceiling(**SMOKE)
    monkeypatch.setattr(study, "SIZES", {"smoke": dict(images=300, cnn_steps=14)})
    record = registry.obtain("mnist_tradeoff", ceiling, progress=False)
    assert record.run_id == CEILING.address(ceiling) and staleness(record) == []
    assert len(record.metrics["real"]["cnn_pairs"]) == 45
    assert study.trained([record]) == []
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("data was opened"))
    assert registry.obtain("mnist_tradeoff", ceiling, progress=False) == record


# Tables

def row(**fields):
    return {"method": "both", "ablation": "none", "epsilon": 10.0, "seed": 0, "ten_cnn": 0.9, "fid_test": 4.0} | fields


def texts(html):
    return [re.sub("<[^>]+>", " ", line).split() for line in html.splitlines() if line.startswith("<tr><th")]


def test_means_have_intervals_where_there_are_seeds():
    rows = [row(seed=seed, ten_cnn=accuracy) for seed, accuracy in enumerate((0.90, 0.92, 0.94))]
    half = 100 * 4.302653 * 0.02 / math.sqrt(3)  # Student's t at 97.5%, two degrees of freedom
    assert numbers.percent(tables.values(rows, "ten_cnn")) == f"92.0 &plusmn; {half:.1f}"
    assert numbers.percent([0.9]) == "90.0" and numbers.percent([]) == "not measured"
    page = tables.accuracy_table(rows + [row(ablation="one_style", ten_cnn=0.1)],
                                 dict.fromkeys(tables.ACCURACIES, 0.99))
    assert "92.0" in page and "10.0" not in page and texts(page)[-1][:3] == ["real", "images", "(ceiling)"]


@pytest.mark.parametrize("accuracy, reached", [(0.93, "yes"), (0.929, "no")])
def test_a_target_is_reached_or_not(accuracy, reached):
    line = texts(tables.targets_table([row(ten_cnn=accuracy)], []))[0]
    assert reached in line and "93.0" in line
    assert "measured" in " ".join(texts(tables.targets_table([], []))[0])


@pytest.mark.parametrize("accuracy, met", [(0.71, True), (0.703, False)])
def test_the_same_settings_on_other_data_are_held_against_what_is_published(accuracy, met):
    assert [each["met"] for each in tables.fashion_targets([row(ten_cnn=accuracy)])] == [met, None]
    assert tables.targets_table([], []).count("Fashion-MNIST") == len(tables.FASHION)


def test_the_ratio_of_distances_needs_both_runs():
    assert tables.fid_ratio([row()]) is None
    assert tables.fid_ratio([row(), row(epsilon=math.inf, fid_test=2.0)]) == 2.0


def test_a_row_of_a_record_and_the_parts_of_its_budget(store):
    record = store_record(store, epsilon=3.0)
    assert tables.row(record).items() >= {"method": "dp_sgd", "ablation": "none", "epsilon": 3.0, "ten_cnn": 0.8,
                                          "fid_test": 4.0}.items()
    assert tables.name(record) == "DP-SGD alone, epsilon 3, seed 0"
    line = texts(tables.budget_table([record]))[0]
    assert line[-4:-2] == ["none", "none"] and line[-1] == "3"


def test_a_half_is_compared_where_both_have_the_seed():
    rows = [row(seed=0, ten_cnn=0.9), row(seed=1, ten_cnn=0.5), row(method="releases", seed=0, ten_cnn=0.8),
            row(ablation="one_style", seed=1, ten_cnn=0.1), row(method="releases", epsilon=1.0, ten_cnn=0.8)]
    (line,) = texts(tables.halves_table(rows))
    assert line == ["epsilon", "10", "1", "10.0", "0", "not", "measured"]


def test_ablations_show_their_holes():
    lines = texts(tables.ablation_table([row(), row(ablation="one_style", ten_cnn=0.7)], 10.0))
    found = [line[-1] for line in lines]
    assert found.count("measured") == len(ABLATIONS) - 2 and "90.0" in found and "70.0" in found
