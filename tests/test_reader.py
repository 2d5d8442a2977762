"""What a reader is before its first step, and how its training is kept and charged; its laws stand with the others."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_laws import (
    BATCH,
    CATEGORIES,
    NOISE,
    RECORDS,
    SIDE,
    STEPS,
    Killed,
    learnt,
    reading,
    watch_reader_steps,
)
from torch.nn import functional as F

from dpgan_lib.config import ReadRunConfig, WarmRunConfig, config_from
from dpgan_lib.gan.networks import Generator, Reader
from dpgan_lib.privacy import ledger
from dpgan_lib.records import checks, verify
from dpgan_lib.records.store import strict
from dpgan_lib.report import cards
from dpgan_lib.studies.study import privacy_statement
from dpgan_lib.warm_start import methods, reader
from dpgan_lib.warm_start.features import NormalisedScattering, oriented_wavelets, wavelets
from dpgan_lib.warm_start.generators import Z_DIM
from dpgan_lib.warm_start.reader import WhitenedFeatures

SCATTERING = NormalisedScattering(side=SIDE, channels=1)


def some_images(count=60, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 1, SIDE, SIDE)).astype(np.float32))


def a_generator(config):
    torch.manual_seed(0)
    return Generator(config.latent, config.model)


def test_the_configuration_survives_json():
    config = reading()
    again = config_from(config.to_dict())
    assert again == config and type(again) is ReadRunConfig and again.hash == config.hash


# Features

def test_with_six_orientations_the_wavelets_are_those_of_the_embedding():
    assert np.array_equal(oriented_wavelets(SIDE, 4, 2.0, 6), wavelets(SIDE, 4, 2.0))


def test_three_channels_have_mean_0_and_variance_1_within_an_image():
    groups = SCATTERING(some_images(5)).view(5, 27, -1)
    assert SCATTERING.outputs == 27 * groups.shape[2]
    assert torch.allclose(groups.mean(2), torch.zeros(5, 27), atol=1e-5)  # float32
    assert bool((groups.var(2, correction=0) <= 1 + 1e-5).all())


def test_an_images_features_do_not_depend_on_its_neighbours():
    together = SCATTERING(some_images(9))
    alone = torch.cat([SCATTERING(image) for image in some_images(9).split(1)])
    assert torch.allclose(together, alone, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("count", [200, 400])  # fewer images than features, and more
def test_whitened_features_of_the_generator_have_mean_0_and_mean_square_norm_1(count):
    settings, images = reading().reader, some_images(count)
    features = WhitenedFeatures(settings, SCATTERING)
    features.mean, features.whitening = reader.whitening(SCATTERING, images, settings)
    phi = features(images)
    assert phi.shape == (count, settings.directions)
    assert float(phi.mean(0).norm()) < 1e-5 and float(phi.square().sum(1).mean()) == pytest.approx(1, rel=1e-4)
    covariance = phi.T @ phi / len(phi)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-5  # float32
    plain = WhitenedFeatures(settings, SCATTERING)
    plain.mean, plain.whitening = reader.whitening(SCATTERING, images, replace(settings, exponent=0.0))
    ratio = [float(spread[0] / spread[-1]) for spread in (covariance.diag(), plain(images).var(0))]
    assert 1 < ratio[0] < ratio[1], "whitening brings variances nearer to each other"


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_features_of_any_image_are_finite(value):
    settings = reading().reader
    features = WhitenedFeatures(settings, SCATTERING)
    features.mean, features.whitening = reader.whitening(SCATTERING, some_images(), settings)
    assert features(torch.full((1, 1, SIDE, SIDE), value)).isfinite().all()


def test_the_first_reader_reads_the_generators_images():
    """Of three patterns with a little noise, which a linear reader tells apart."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = F.one_hot(labels, 3) + 0.1 * torch.randn(90, 3, generator=rng)
    network = Reader(3, 3)
    reader.fit(network, features, labels)
    assert bool((network.logits(features).argmax(1) == labels).all())


# The account

def test_a_runs_statement_holds_the_readers_steps_and_their_share_of_epsilon():
    config = reading()
    statement = privacy_statement(config, "one image")
    assert statement["reader"] == {"noise_multiplier": NOISE, "sampling_rate": BATCH / RECORDS, "steps": STEPS}
    warm = {name: value for name, value in vars(config).items() if name != "reader"}
    without = privacy_statement(WarmRunConfig(**warm), "one image")
    assert "reader" not in without
    assert all(epsilon > without["epsilon_spent"][name] for name, epsilon in statement["epsilon_spent"].items())


def content(config):
    statement = privacy_statement(config, "one image")
    return strict({"config": config.to_dict(), "card": {"unit": "one image"}, "privacy": statement})


def failures(content):
    found = [*verify._privacy(content), *verify._epsilon(content["privacy"])]
    return {check.name for check in found if check.outcome == checks.FAILED}


EPSILONS = {f"epsilon spent ({name})" for name in ("pld", "rdp", "moments")}


@pytest.mark.full
@pytest.mark.parametrize("name, value, caught", [
    ("noise_multiplier", 2.5, {"reader's noise multiplier"}), ("steps", STEPS + 1, {"reader's steps"}),
    ("sampling_rate", 0.25, {"reader's sampling rate"})])
def test_a_statement_of_another_reader_than_the_configs_fails(name, value, caught):
    config = reading()
    config = replace(config, privacy=replace(config.privacy, epsilon=100.0, delta=1e-3))  # enough for anything
    right = content(config)
    assert not failures(right)
    edited = copy.deepcopy(right)
    edited["privacy"]["reader"][name] = value
    assert failures(edited) == caught | EPSILONS
    del edited["privacy"]["reader"]
    assert failures(edited) == {"reader"} | EPSILONS


def test_a_card_says_that_a_reader_took_steps():
    noise = cards._noise(content(reading())["privacy"])
    assert f"; a reader's steps of multiplier {NOISE}, sampling rate 0.2, {STEPS} steps; " in noise


# Training

def test_a_reader_learns_what_images_mean(tmp_path, monkeypatch):
    """From labels that the generator does not know: of images that are bright on one half."""
    config = reading(steps=60, noise=0.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    images = some_images(RECORDS).numpy() / 4
    labels = np.arange(RECORDS) % 2
    images[labels == 1, :, :4] += 0.7
    state = reader.train(replace(config, reader=replace(config.reader, rate=50.0)), a_generator(config), images, labels,
                         tmp_path)
    said = state.log_probabilities(torch.from_numpy(images))
    assert said.shape == (RECORDS, CATEGORIES) and torch.allclose(said.exp().sum(1), torch.ones(RECORDS))
    assert float((said.argmax(1).numpy() == labels).mean()) > 0.9


def test_the_average_is_that_of_the_second_half(tmp_path):
    config, weights = reading(steps=7), []

    class Run:
        released, published = [], weights

    state = learnt(tmp_path, config, run=Run)
    mean = torch.stack([each["logits.weight"] for each in weights[3:]]).mean(0)
    assert torch.allclose(state.average.logits.weight, mean, atol=1e-6)  # float32


def test_another_configurations_checkpoint_is_refused(tmp_path):
    learnt(tmp_path, reading(steps=1))
    with pytest.raises(ValueError, match="another configuration"):
        learnt(tmp_path, reading(steps=2))


def released(steps):
    config = reading(steps=steps)
    return replace(config, seed=None)


def test_a_release_is_charged_before_a_block_and_takes_no_step_twice(tmp_path, monkeypatch):
    config, charges = released(3 * reader.BLOCK), []
    train_block = reader.train_block

    def dying(config, state, records):
        charges.append((state.step, ledger.charged(tmp_path)))
        if len(charges) == 2:
            raise Killed
        train_block(config, state, records)

    monkeypatch.setattr(reader, "train_block", dying)
    with pytest.raises(Killed):
        learnt(tmp_path, config)
    state = learnt(tmp_path, config)
    assert charges == [(0, reader.BLOCK), (reader.BLOCK, 2 * reader.BLOCK), (2 * reader.BLOCK, 3 * reader.BLOCK)]
    # Neither block had been stored: the first was computed and lost, the second charged alone.
    assert state.step == config.reader.steps and state.taken == reader.BLOCK


def test_two_releases_share_no_noise(tmp_path):
    runs = []
    for name in ("one", "other"):
        class Run:
            released, published = [], []

        learnt(tmp_path / name, released(1), run=Run)
        runs.append(Run.released[0]["logits.weight"])
    assert not torch.equal(*runs)


def test_the_watch_sees_every_step(tmp_path, monkeypatch):
    """Else the laws would look at nothing."""
    class Run:
        released, published = [], []

    watch_reader_steps(monkeypatch, Run)
    state = learnt(tmp_path, reading(steps=4))
    assert len(Run.released) == state.taken == 4


# A whole run: noisy sums, a generator, the reader, the critic

def whole_run():
    config = reading()
    return replace(config, latent=replace(config.latent, z_dim=Z_DIM))


def trained(folder, **options):
    images, labels = some_images(RECORDS).numpy(), np.arange(RECORDS) % CATEGORIES
    return methods.train(whole_run(), images, labels, folder, **options)


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_category_of_a_runs_posterior_is_the_readers_and_stays_so(tmp_path, cpu):
    config = whole_run()
    state = trained(tmp_path)
    kept = reader._load(config, tmp_path / reader.FOLDER, torch.device("cpu"))
    assert (kept.step, state.step) == (config.reader.steps, config.privacy.steps)
    said = state.posterior(some_images(7))
    assert said.shape == (7, CATEGORIES + 2 * config.latent.continuous)
    # float32: one product of 324 numbers against two.
    assert torch.allclose(said[:, :CATEGORIES].log_softmax(1), kept.log_probabilities(some_images(7)), atol=1e-4)
    assert {name.split(".")[0] for name, _ in state.posterior.named_parameters()} == {"posterior"}
    again = methods.empty_posterior(config)
    again.load_state_dict(state.posterior.state_dict())
    assert torch.equal(again(some_images(7)), said)


def test_the_reader_pulls_images_towards_their_category(cpu, tmp_path):
    images = some_images(7).requires_grad_()
    likelihood = trained(tmp_path).posterior(images)[:, :CATEGORIES].log_softmax(1)[:, 0].sum()
    gradient, = torch.autograd.grad(likelihood, images)
    assert gradient.isfinite().all() and gradient.any()


def test_a_resumed_run_is_an_uninterrupted_one(tmp_path, cpu):
    whole, part = trained(tmp_path / "whole"), None
    while part is None or part.step < whole.step:
        part = trained(tmp_path / "parts", max_minutes=0)
    for name in ("average", "critic", "posterior"):
        weights, others = (getattr(state, name).state_dict() for state in (whole, part))
        assert all(torch.equal(value, others[key]) for key, value in weights.items()), name
