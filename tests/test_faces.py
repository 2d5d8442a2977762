"""Faces: the release of second moments and what is read from it, the generator, the study, its records and its
chapter.
"""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from dpgan_lib import data
from dpgan_lib.config import FaceModelConfig, FaceRunConfig, config_from
from dpgan_lib.data import cards, celeba, drawn_faces
from dpgan_lib.privacy import accounting, exact
from dpgan_lib.records import store as run_store
from dpgan_lib.records.store import RECORDS_ONLY, staleness
from dpgan_lib.studies import registry
from dpgan_lib.studies.celeba_specificity import claims, study, tables
from dpgan_lib.studies.celeba_specificity.metrics import COLUMNS
from dpgan_lib.studies.celeba_specificity.study import Parameters
from dpgan_lib.studies.study import privacy_statement
from dpgan_lib.studies.verdicts import NOT_MEASURED
from dpgan_lib.warm_start import face_model, methods
from dpgan_lib.warm_start.face_model import basis, bounded_rows, combinations, second_moments
from dpgan_lib.warm_start.generators import FaceGenerator

SETTINGS = FaceModelConfig(luma=6, chroma=3, level=0.7, attribute_weight=0.35, components=8)
SIDE, ATTRIBUTES = 16, 2
DRAWN = {"dataset": "drawn_faces", "attributes": "Smiling,Eyeglasses", "profile": "smoke"}
SMOKE_SECONDS = 60


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv(RECORDS_ONLY, raising=False)
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    images, values, _ = drawn_faces.drawings(300, SIDE, rng)
    scaled = torch.from_numpy(images.astype(np.float32) / 127.5 - 1)
    return scaled, one_hot(torch.from_numpy(face_model.category_of(values[:, :ATTRIBUTES])), 2**ATTRIBUTES).float()


# The release

IMAGES = {"white": torch.ones(3, SIDE, SIDE), "huge": torch.full((3, SIDE, SIDE), 1e30),
          "not a number": torch.full((3, SIDE, SIDE), math.nan), "infinite": torch.full((3, SIDE, SIDE), -math.inf)}
LABELS = {"a combination": one_hot(torch.tensor(2), 4).float(), "none": torch.zeros(4), "all": torch.ones(4),
          "huge": torch.full((4,), -1e30), "not a number": torch.full((4,), math.nan)}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("label", LABELS)
def test_a_record_moves_the_moments_by_at_most_1(faces, image, label):
    images, categories = (part[:20] for part in faces)
    more = torch.cat([images, IMAGES[image][None]]), torch.cat([categories, LABELS[label][None]])
    moved = second_moments(*more, ATTRIBUTES, SETTINGS) - second_moments(images, categories, ATTRIBUTES, SETTINGS)
    assert moved.norm() <= 1 and torch.isfinite(moved).all()


def test_a_bright_face_moves_them_by_all_of_1(faces):
    row = bounded_rows(torch.ones(1, 3, SIDE, SIDE), torch.ones(1, ATTRIBUTES), basis(SETTINGS, SIDE), SETTINGS)
    # The bound is the sensitivity, but for what is cut off each number.
    assert 1 - face_model.GRID * math.sqrt(row.numel()) < row.norm() <= 1


def test_the_noise_is_a_gaussian_mechanisms(faces):
    """As a vector of the diagonal and sqrt(2) times what is above it, every entry's noise has standard deviation s."""
    empty = faces[0][:0], faces[1][:0]
    noise = [face_model.noisy_sums(*empty, ATTRIBUTES, SETTINGS, 3.0, np.random.default_rng(seed))
             for seed in range(20)]
    assert all(torch.equal(each, each.T) for each in noise)
    above = torch.triu(torch.ones_like(noise[0]), 1) == 1
    diagonal = torch.cat([each.diagonal() for each in noise])
    rest = math.sqrt(2) * torch.cat([each[above] for each in noise])
    for entries in (diagonal, rest):
        # five standard errors of a standard deviation
        assert abs(entries.std() - 3.0) < 5 * 3.0 / math.sqrt(2 * len(entries))


def test_blocks_of_another_size_change_nothing(faces, monkeypatch):
    whole = second_moments(*faces, ATTRIBUTES, SETTINGS)
    monkeypatch.setattr(exact, "BLOCK", 7)
    # frequencies are float32, whose products depend on the shape by some 1e-7: a few of them are cut at another step
    assert torch.allclose(whole, second_moments(*faces, ATTRIBUTES, SETTINGS), atol=1e-4)


def test_frequencies_are_orthonormal_and_know_no_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("data was opened"))
    rows = basis(SETTINGS, SIDE)
    assert rows.shape == (SETTINGS.width, 3 * SIDE**2)
    assert torch.allclose(rows @ rows.T, torch.eye(SETTINGS.width), atol=1e-5)  # float32


# What is read from it

def test_without_noise_the_model_is_least_squares(faces):
    """Against numpy's own regression and covariance, up to the ridge."""
    images, categories = faces
    settings = replace(SETTINGS, level=2.0)  # no image is dimmed
    model = face_model.read(second_moments(images, categories, ATTRIBUTES, settings), ATTRIBUTES, SIDE, settings, 0.0)
    low = (images.flatten(1) @ basis(settings, SIDE).T).double().numpy()
    signs = (categories @ combinations(ATTRIBUTES)).double().numpy()
    centred, shifted = signs - signs.mean(0), low - low.mean(0)
    ridge = face_model.RIDGE * np.eye(ATTRIBUTES)
    changes = np.linalg.solve(centred.T @ centred / len(low) + ridge, centred.T @ shifted / len(low))
    mean = low.mean(0) - signs.mean(0) @ changes
    beside = np.cov((low - signs @ changes).T, bias=True)
    values = np.linalg.eigvalsh(beside)[::-1][: settings.components]
    step = face_model.GRID * face_model.norm_unit(settings, SIDE) * face_model._scale(settings)  # of a row's grid
    assert np.allclose(model.changes, changes, atol=step / 4) and np.allclose(model.mean, mean, atol=step / 4)
    assert np.allclose((model.eigenfaces**2).sum(1), values, rtol=1e-3)
    assert (np.diff(values) <= 0).all()


def test_noise_alone_shows_no_eigenface():
    noise = face_model.noisy_sums(torch.zeros(0, 3, SIDE, SIDE), torch.zeros(0, 4), ATTRIBUTES, SETTINGS, 5.0,
                               np.random.default_rng(0))
    size = len(noise)
    assert not face_model.denoised_directions(noise, 5.0 / math.sqrt(2), SETTINGS.components)[3:].any()
    assert size > SETTINGS.width


def test_a_variance_is_found_through_noise():
    """One direction of known variance under noise whose edge is half of it, as the theorem for large matrices says."""
    size, noise = 400, 0.05
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((size, size))
    direction = np.full(size, 1 / math.sqrt(size))
    variance = 2 * noise * math.sqrt(size)
    seen = torch.tensor(variance * np.outer(direction, direction) + noise * (normal + normal.T) / math.sqrt(2))
    found = face_model.denoised_directions(seen, noise, 1)[0]
    left = variance * (1 - (noise**2 * size) / variance**2)
    assert float(found.square().sum()) == pytest.approx(left, rel=0.1)  # of order size^(-1/2), twice
    assert float(found @ torch.tensor(direction)) ** 2 / left == pytest.approx(0.75, abs=0.1)  # 1 - e^2 / v^2


def test_a_combination_and_its_category_say_the_same():
    present = (combinations(3) > 0).numpy()
    assert (face_model.category_of(present) == np.arange(8)).all()


# The generator

def generator(attributes=ATTRIBUTES, **change):
    config = study.run_of(Parameters(**DRAWN, epsilon="inf"))
    latent = replace(config.latent, categories=2**attributes, z_dim=SETTINGS.components - 2, **change)
    model = face_model.FaceModel(*(torch.randn(*shape, SETTINGS.width)
                                   for shape in ((), (attributes,), (SETTINGS.components,))))
    return latent, model, FaceGenerator(latent, model, basis(SETTINGS, SIDE))


def test_an_attribute_starts_as_one_direction():
    latent, model, network = generator()
    code = torch.cat([one_hot(torch.arange(4), 4).float(), torch.zeros(4, 2)], 1)
    network.images.data *= 0.01  # so that no pixel is cut off
    drawn = network(torch.zeros(4, latent.z_dim), code).flatten(1)
    moved = drawn[2] - drawn[0]  # the first attribute is present in the last two combinations
    assert torch.allclose(moved, drawn[3] - drawn[1], atol=1e-5)  # float32
    expected = 2 * 0.01 * model.changes[0] @ basis(SETTINGS, SIDE)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_a_generator_is_read_back_from_its_weights():
    latent, _, network = generator()
    other = FaceGenerator.empty(latent, basis(SETTINGS, SIDE))
    other.load_state_dict(network.state_dict())
    z, code = torch.randn(3, latent.z_dim), torch.cat(
        [one_hot(torch.tensor([0, 1, 3]), 4).float(), torch.rand(3, 2)], 1)
    assert torch.equal(network(z, code), other(z, code))
    with pytest.raises(ValueError, match="do not fit"):
        FaceGenerator(replace(latent, z_dim=3), _, basis(SETTINGS, SIDE))


# Groups

MECHANISM = dict(noise_multiplier=0.9, sampling_rate=0.01, steps=100, delta=1e-5)


@pytest.mark.full
def test_a_group_of_one_is_the_accountants():
    one = accounting.epsilon_of_group(1, **MECHANISM, release_noise=3.0)
    # a thousand losses are rounded up to INTERVAL: its square root times that, and the same once for the release
    assert accounting.epsilon_pld(**MECHANISM, release_noise=3.0) <= one + 0.02
    assert one == pytest.approx(accounting.epsilon_pld(**MECHANISM, release_noise=3.0), abs=0.02)


def test_a_group_in_a_release_is_a_release_of_a_kth_of_its_noise():
    alone = dict(noise_multiplier=0.0, sampling_rate=1.0, steps=0, delta=1e-5)
    group = accounting.epsilon_of_group(3, **alone, release_noise=6.0)
    assert group == pytest.approx(accounting.epsilon_pld(**alone, release_noise=2.0), abs=5e-3)  # a few INTERVALs


@pytest.mark.full
def test_more_images_mean_less_protection_and_never_less_than_in_proportion_to_one():
    found = [accounting.epsilon_of_group(k, **MECHANISM) for k in (1, 2, 4)]
    assert found == sorted(found) and found[2] > 2 * found[0]
    with pytest.raises(ValueError, match="k=0"):
        accounting.epsilon_of_group(0, **MECHANISM)


# The study

@pytest.mark.parametrize("unit", cards.UNITS)
@pytest.mark.parametrize("epsilon", [1.0, pytest.param(10.0, marks=pytest.mark.full), "inf"])
def test_a_run_spends_no_more_than_asked_and_almost_that(epsilon, unit):
    config = study.run_of(Parameters(epsilon=epsilon, unit=unit))
    spent = privacy_statement(config, "one")["epsilon_spent"]["pld"]
    assert 0.9 * float(epsilon) <= spent <= float(epsilon)
    assert config.privacy.records == {"image": 50_000, "person": 7_683}[unit]
    assert config_from(json.loads(json.dumps(config.to_dict()))) == config
    assert isinstance(config, FaceRunConfig)


@pytest.mark.parametrize("wrong, words", [
    ({"dataset": "celeb"}, "Did you mean 'celeba'"), ({"unit": "family"}, "unit='family'"),
    ({"attributes": "Smilin"}, "'Smiling'"),
    ({"attributes": ""}, "attributes=''"), ({"attributes": "Male,Male"}, "different names"), ({"seed": -1}, "seed=-1"),
    ({"dataset": "drawn_faces", "attributes": "Male"}, "attribute='Male'"), ({"delta": 0.1}, "delta=0.1")])
def test_what_makes_no_sense_is_refused_in_one_line(wrong, words):
    with pytest.raises(ValueError) as refusal:
        study.run_of(Parameters(**wrong))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_each_parameter_makes_another_run():
    changes = ({}, {"unit": "person"}, {"seed": 1}, {"info_weight": 0.0}, {"attributes": "Smiling"})
    assert len({study.STUDY.address(Parameters(**{**DRAWN, "epsilon": "inf", **change}))
                for change in changes}) == len(changes)


def test_the_people_of_the_drawings_are_counted():
    assert len(set(drawn_faces.load()["train"].people.tolist())) == cards.PEOPLE["drawn_faces"]


@pytest.fixture(scope="module")
def real_celeba():
    try:
        return celeba.summary()
    except ValueError as refusal:
        pytest.skip(f"CelebA is not at hand: {refusal}")


@pytest.mark.full
def test_the_cards_count_what_is_at_hand(real_celeba):
    named = [name for name, card in data.FACES.items() if card.records == real_celeba["train"]]
    assert named and real_celeba["people"] == cards.PEOPLE[named[0]]


@pytest.mark.full
def test_the_attributes_of_celeba_are_known_without_it(real_celeba):
    listed = celeba._listing().attribute_names
    assert tuple(listed) == celeba.NAMES


@pytest.mark.full
def test_of_a_model_of_real_faces_without_privacy_nothing_is_shown():
    assert not study.may_show(study.run_of(Parameters(epsilon="inf")))
    assert study.may_show(study.run_of(Parameters(epsilon=10.0)))
    assert study.may_show(study.run_of(Parameters(**DRAWN, epsilon="inf")))


@pytest.mark.full
@pytest.mark.parametrize("unit", cards.UNITS)
def test_a_record_of_drawings(store, unit):
    """Train, small, and read: the metrics are whole, and every table and panel can be made of them."""
    started = time.process_time()  # of this process alone, whatever else the machine does
    parameters = Parameters(**DRAWN, epsilon=10.0, unit=unit)
    record = registry.obtain("celeba_specificity", parameters, fresh=True, progress=False)
    assert time.process_time() - started < SMOKE_SECONDS
    assert record.run_id == study.STUDY.address(parameters) and staleness(record) == []
    assert record.card["unit"] == record.privacy["unit"] == cards.UNITS[unit]
    metrics = record.metrics
    assert sum(metrics["counts"]) == 3000
    assert all(asked == 100 for _, asked in metrics["combinations"])
    assert tables.colour_grid(record).shape == (4 * 32, COLUMNS * 32, 3)
    row = tables.row(record)
    assert 0 <= row["specificity", "joint"] <= min(row["specificity", name] for name in ("Smiling", "Eyeglasses"))
    low, high = row["interval", "Smiling"]
    assert low <= row["specificity", "Smiling"] <= high
    assert "Eyeglasses" in tables.rare_table(record)
    assert "The rarest, Smiling, Eyeglasses (295" in tables.rare_words(record)
    assert "Smiling" in tables.specificity_table([record])
    assert tables.rare_panel([record])["curves"] and "FID" in tables.utility_table([record])
    assert claims.admissible_faces([record]) == []


@pytest.mark.full
def test_a_killed_run_goes_on(store, monkeypatch):
    """The warm start is on disk: the second try takes no noisy sum again."""
    asked = Parameters(**DRAWN, epsilon=10.0)
    config, given = study.run_of(asked), study.training_set(asked, study.load(asked))
    methods.train(config, given.images, given.labels, store / "w", max_minutes=0)
    monkeypatch.setattr(face_model, "noisy_sums", lambda *_: pytest.fail("summed again"))
    state = methods.train(config, given.images, given.labels, store / "w")
    assert state.step == config.privacy.steps


def priced(epsilon, control, utility, looks):
    return {"epsilon": epsilon, ("specificity", "Male"): control, ("utility", "Male"): utility, "coverage": looks}


def test_what_privacy_takes_is_counted_from_chance_against_no_privacy():
    rows = [priced(np.inf, 0.9, 0.9, 0.8), priced(1.0, 0.7, 0.8, 0.2), priced(1.0, 0.7, 0.8, 0.4),
            priced(10.0, 0.9, 0.9, 0.8)]
    panel = tables.price_panel(rows, ("Male",))
    shares = [(epsilons, [round(share, 6) for share in shares]) for epsilons, shares in panel["curves"].values()]
    assert shares == [([1, 10], [0.5, 1]), ([1, 10], [0.75, 1]), ([1, 10], [0.375, 1])]
    assert tables.price_words(panel) == ("At epsilon 1, of what the run without privacy has are left: 50% of control, "
                                              "75% of utility, 38% of looks. Looks went first.")


def test_privacy_that_takes_nothing_is_said_to_take_nothing():
    panel = tables.price_panel([priced(np.inf, 0.8, 0.8, 0.5), priced(1.0, 0.9, 0.8, 0.5)], ("Male",))
    assert tables.price_words(panel).endswith("It took none of the three.")


def changing(unit="image", info_weight=2.0, seed=0, specificity=0.8):
    return {"epsilon": 1.0, "seed": seed, "unit": unit, "info_weight": info_weight, "recall": 0.5,
            ("utility", "Male"): 0.7, ("specificity", "Male"): specificity}


def test_a_change_is_held_against_the_run_that_differs_in_nothing_else():
    rows = [changing(), changing(seed=1, specificity=0.9), changing(info_weight=0.0, specificity=0.6),
            changing(unit="person")]
    words = tables.change_words(rows, ("Male",), 2.0, {"info_weight": 0.0})
    assert words == "epsilon 1, seed 0: utility 0.700 to 0.700, specificity 0.800 to 0.600, recall 0.500 to 0.500"
    assert tables.change_words(rows[:2], ("Male",), 2.0, {"unit": "person"}) == "not measured"


# The claim

def verdict(specificity, utility):
    rows = {"epsilon": 10.0, "seed": 0, ("specificity", "Male"): specificity, ("balanced", "Male"): utility}

    class Config:
        unit, names = "image", ("Male",)

    class One:
        config, asked = Config, {"epsilon": 10.0, "seed": 0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "row", lambda record: rows)
        patch.setattr(run_store, "staleness", lambda record: [])
        return claims.judge_faces([One]).verdict


def test_the_claim_on_faces_by_its_rule():
    assert verdict(0.9, 0.8) == "holds" and verdict(0.9, 0.7) == "holds in part"
    assert verdict(0.6, 0.6) == "does not hold"
    assert claims.judge_faces([]).verdict == NOT_MEASURED
