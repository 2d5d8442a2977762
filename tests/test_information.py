"""The study of mutual information: its runs, the two forces on G and Q, what records say, the chapter at smoke size."""

import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import jupytext
import numpy as np
import pytest
import torch

from dpgan_lib import data, paths
from dpgan_lib.book import chapters
from dpgan_lib.config import EvaluationConfig
from dpgan_lib.gan.latent import sample_latent
from dpgan_lib.gan.steps import generator_step
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy.streams import stream
from dpgan_lib.records import store
from dpgan_lib.studies.mutual_information import claims, figures, study, tables
from dpgan_lib.studies.mutual_information.study import Parameters
from dpgan_lib.studies.study import generator_of
from dpgan_lib.studies.verdicts import NOT_MEASURED

SMOKE = {"dataset": "digits", "profile": "smoke"}


# Parameters and runs

@pytest.mark.parametrize("values, words", [
    ({"dataset": "fashion_mnist"}, "codes are named as digits"), ({"conditional": 1}, "must be True or False"),
    ({"info_weight": -1.0}, "info_weight=-1.0"), ({"epsilon": 0}, "epsilon=0")])
def test_a_wrong_parameter_is_refused_in_one_line(values, words):
    with pytest.raises(ValueError) as refusal:
        study.run_of(Parameters(**SMOKE | values))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_chapter_shows_the_librarys_defaults():
    path = chapters.chapter_path("mutual_information")
    assert Parameters(**chapters.defaults(jupytext.read(path), path.name)) == Parameters()


def test_what_the_critic_sees_is_the_parameters_choice_and_the_papers_is_the_default():
    assert not study.run_of(Parameters(**SMOKE)).model.conditional
    assert study.run_of(Parameters(**SMOKE, conditional=True)).model.conditional


def test_the_grid_asks_every_question_once_and_needs_no_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("data was opened"))
    grid = study.STUDY.grid
    plain = [each for each in grid if each.epsilon == "inf"]
    assert len({study.STUDY.address(each) for each in plain}) == len(plain)
    assert len(set(grid)) == len(grid)
    for weight in study.INFO_WEIGHTS:
        assert {each.seed for each in plain if each.info_weight == weight and not each.conditional} == {0, 1, 2}
    assert {each.epsilon for each in grid} == {"inf", 10.0, 1.0}


def test_the_default_run_is_published():
    assert Parameters() in study.STUDY.grid


# The information term reads no data

@pytest.fixture(scope="module")
def taught():
    """A small private run on digits and the same run on garbage, each after its critic's first steps."""
    config = study.run_of(Parameters(**SMOKE, epsilon=10.0))
    files = data.load("digits", progress=False)
    garbage = np.random.default_rng(0).uniform(-1, 1, files.train_images.shape).astype(np.float32)
    return config, [study.after_critic_steps(config, images, files.train_labels)
                    for images in (files.train_images, garbage)]


def test_the_gradient_of_the_information_term_does_not_change_when_the_data_is_replaced(taught):
    config, states = taught
    one, other = (study.forces(config, state, np.random.default_rng(1)) for state in states)
    assert torch.equal(one["information"], other["information"])
    assert float(one["information"].norm()) > 0
    assert not torch.equal(one["critic"], other["critic"]), "the critic learnt nothing from the data: no test"


def test_the_two_forces_are_what_the_generator_step_descends(taught):
    config, (state, _) = taught
    forces = study.forces(config, state, np.random.default_rng(1))
    z, code = sample_latent(config.latent, config.optimiser.fakes, np.random.default_rng(1))
    weights = [*state.generator.parameters(), *state.posterior.parameters()]
    generator_step(state.generator, state.posterior, state.critic, torch.optim.SGD(weights, lr=0.0), z, code,
                         config.latent, config.optimiser)
    gradient = torch.cat([weight.grad.flatten() for weight in weights])
    expected = -forces["critic"] - config.optimiser.info_weight * forces["information"]
    assert float((gradient - expected).norm()) < 1e-5 * float(gradient.norm())  # float32


# A record

@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A tiny run, measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("home")))
        run_of = study.run_of
        patch.setattr(study, "run_of", lambda asked: replace(
            run_of(asked), privacy=replace(run_of(asked).privacy, steps=4),
            evaluation=EvaluationConfig(images=200, cnn_steps=10)))
        return study.STUDY.obtain(Parameters(**SMOKE, info_weight=0.3), progress=False)


def test_a_record_is_current_and_holds_measures_within_their_ranges(record):
    assert store.staleness(record) == []
    sources = record.provenance["sources"]
    assert (sources["training"]["method"], sources["measuring"]["kind"]) == ("plain", "run")
    row = tables.row(record)
    for name in ("posterior", "independent", "strokes", "purity", "nmi", "obeyed", "slant_random", "width_fixed"):
        assert 0 <= row[name] <= 1, name
    assert row["nats"] <= math.log(10) and 1 <= row["drawn"] <= 10 and row["info_weight"] == 0.3
    assert row["continuous"] <= 2 * (math.log(2) + 3 - 0.5 * math.log(2 * math.pi))


def test_the_judge_never_meets_the_test_set_that_it_is_scored_on(record):
    files = data.load("digits", progress=False)
    known = {image.tobytes() for image in files.train_images}
    assert not any(image.tobytes() in known for image in files.test_images)


def test_the_released_generator_of_a_record_draws_its_sample_grid(record):
    config = record.config
    grid = classifiers.sample_grid(generator_of(record), config.latent, stream(config.hash, "evaluation", 2))
    shown = store.read_samples(record)
    assert np.abs((grid.transpose(0, 2, 1, 3).reshape(shown.shape) + 1) / 2 - shown).max() < 0.01  # grey levels


def test_tables_have_a_line_for_each_run_and_mark_collapse(record):
    row = tables.row(record)
    page = tables.table([row | {"drawn": 2}, row | {"seed": 1, "drawn": 9}], "runs")
    assert page.count("<tr>") == 3 and page.count("(collapsed)") == 1
    grids, names = tables.grids([record])
    assert len(names["lambda 0.3, no privacy, seed 0"]) == 10 and grids.keys() == names.keys()
    assert "code 2, width" in tables.moves_table([record])


def test_a_sweep_is_of_runs_that_differ_in_lambda_labels_epsilon_and_seed():
    asked = [Parameters(**SMOKE, **other) for other in (
        {}, {"info_weight": 3.0}, {"conditional": True}, {"epsilon": 10.0}, {"seed": 5})]
    points = [SimpleNamespace(kind="run", asked=asdict(each)) for each in asked]
    for each in asked:
        assert study.STUDY.comparable(points, each) == points
    for other in ({"dataset": "grown_digits"}, {"delta": 1e-6}, {"profile": "laptop"}):
        assert study.STUDY.comparable(points, Parameters(**SMOKE | other)) == []


def test_points_are_those_of_the_rows_asked_for():
    rows = [{"info_weight": weight, "seed": seed, "nmi": weight + seed} for weight in (0, 1) for seed in (0, 1)]
    assert tables.points(rows, "nmi", seed=1) == [(0, 1), (1, 2)]
    words = tables.mean_shares(rows, ["nmi"])
    assert words["nmi_0"] == "50%" and words["nmi_0_1"] == "not measured"


# Figures

def test_figures_say_what_their_tables_say(record):
    drawn = figures.against_weight([
        {"title": "t", "ylabel": "share", "lines": {"chance": 0.1},
         "series": [{"name": "a", "points": [(0.0, 0.1), (0.0, 0.2), (3.0, 0.9)]},
                    {"name": "b", "epsilon": 1.0, "points": []}]}])
    axis = drawn.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "3"]
    assert axis.get_legend_handles_labels()[1] == ["chance", "a", "b"]
    assert list(next(line for line in axis.lines if line.get_label() == "a").get_ydata()) == pytest.approx([0.15, 0.9])
    curves = {name: (np.array([0.0, 0.5]), 0.7) for name in "abc"}
    assert [axis.get_title() for axis in figures.learning(curves).axes][:3] == ["a", "b", "c"]


# Claims

def run(weight, seed, read=0.9, conditional=False, epsilon="inf"):
    asked = {"info_weight": weight, "seed": seed, "conditional": conditional, "epsilon": epsilon}
    return SimpleNamespace(asked=asked, metrics={"readers": {"independent": {"accuracy": read}}})


@pytest.fixture
def current(monkeypatch):
    monkeypatch.setattr(store, "staleness", lambda record: [])


def seeds(weight, **values):
    return [run(weight, seed, **values) for seed in (0, 1, 2)]


@pytest.mark.parametrize("records, verdict", [
    (seeds(0.0, read=0.1) + seeds(1.0, read=0.9), "holds"),
    (seeds(0.0, read=0.1) + seeds(1.0, read=0.4), "does not hold"),
    (seeds(0.0, read=0.1)[1:] + [run(0.0, 0, read=0.95)] + seeds(1.0, read=0.9), "does not hold"),
    (seeds(0.0, read=0.1)[:1] + seeds(1.0)[1:], NOT_MEASURED), (seeds(1.0), NOT_MEASURED),
    (seeds(0.0, conditional=True) + seeds(1.0, epsilon=10.0), NOT_MEASURED)])
def test_the_claim_that_images_depend_on_their_code(current, records, verdict):
    assert claims.judge_readable(records).verdict == verdict


def infogan(*agreements, loss="js", deformed=False, profile="laptop"):
    return [SimpleNamespace(
        kind="infogan", metrics={"generated": {"disclosed": {"agreement": agreement}}},
        asked={"dataset": "mnist", "profile": profile, "loss": loss, "deformed": deformed, "seed": seed,
               "shared": True, "z_dim": 16})
        for seed, agreement in enumerate(agreements)]


@pytest.mark.parametrize("records, verdict, fewest", [
    (infogan(0.9, 0.4, 0.4), "holds", 3), (infogan(0.9, 0.2, 0.2), "does not hold", 3), ([], NOT_MEASURED, None),
    (infogan(0.4, 0.4, 0.4, loss="penalty") + infogan(0.9, 0.9, 0.9, loss="spectral"), "holds", 3),
    (infogan(0.4, 0.4, 0.4, loss="penalty") + infogan(0.9, loss="spectral"), "does not hold", 3)])  # one seed is none
def test_the_claim_that_codes_are_meaningful(current, records, verdict, fewest):
    found = claims.judge_meaning(records)
    assert (found.verdict, found.seeds) == (verdict, fewest)


def test_each_form_of_infogan_is_judged_by_its_own_runs():
    records = [each for loss in ("js", "penalty", "spectral") for is_deformed in (False, True)
               for size in ("laptop", "smoke") for each in infogan(0.9, loss=loss, deformed=is_deformed, profile=size)]
    forms = [claim.admits(records) for claim in claims.CLAIMS if claim.judge is claims.judge_meaning]
    assert [[(each.asked["loss"], each.asked["deformed"]) for each in form] for form in forms] == [
        [("js", False)], [("js", True)], [("penalty", False), ("spectral", False)],
        [("penalty", True), ("spectral", True)]]


def test_a_history_is_averaged_over_a_few_steps():
    config = SimpleNamespace(optimiser=SimpleNamespace(info_weight=0.3))
    history = [(4 * step, float(step % 2)) for step in range(2 * tables.SMOOTHED + 2)]
    (name, (steps, nats)), = tables.histories([SimpleNamespace(config=config, content={"history": history})]).items()
    assert name == "lambda 0.3" and len(steps) == 3 and list(nats) == [0.5, 0.5, 0.5]
    assert steps[0] == 4 * (tables.SMOOTHED - 1) / 2


# The chapter

@pytest.mark.full
def test_the_chapter_runs_at_smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "01_mutual_information.ipynb"
    chapters.run_chapter("mutual_information", SMOKE, output, timeout=120, progress=False)
    address = study.STUDY.address(Parameters(**SMOKE))
    assert (paths.runs() / "mutual_information" / address / "record.json").is_file()
    assert {"independent_0", "purity_1", "judge_nmi"} <= set(chapters.glued(output))
