"""What comes before the critic: charged, stored, resumed; the critic and its witness; people as the unit."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.config import PrototypeConfig, PrototypeStartConfig, WarmRunConfig, config_from
from dpgan_lib.gan import loop, state
from dpgan_lib.privacy import accounting, ledger
from dpgan_lib.studies import parameters
from dpgan_lib.studies.parameters import RunParameters
from dpgan_lib.warm_start import embedding, fit, methods, prototypes, training
from dpgan_lib.warm_start.generators import Z_DIM
from dpgan_lib.warm_start.methods import PrototypeRounds

WARM = PrototypeStartConfig(
    release_noise=2.0, embedding_share=0.2, prototypes=PrototypeConfig(rounds=2, candidates=4, level=0.35),
    frequencies=50, steps=3, batch=40, rate=0.01, image_rate=0.3, network_rate=0.1, info_weight=0.1, averaging=0.5,
    witness_weight=1.0)
STEPS = 6


def warm_run(seed=0, steps=STEPS, **change):
    plain = parameters.plan_run(RunParameters(dataset="digits", profile="smoke", seed=0))
    values = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    values |= {"seed": seed, "privacy": replace(plain.privacy, steps=steps),
               "latent": replace(plain.latent, z_dim=Z_DIM)}
    return WarmRunConfig(**values, warm_start=replace(WARM, **change))


@pytest.fixture(scope="module")
def digits():
    files = data.load("digits")
    return files.train_images, files.train_labels


@pytest.fixture
def rounds(monkeypatch):
    """The numbers of the noisy sums that are computed."""
    computed, noisy_sums = [], training._noisy_sums

    def watched(config, first, features, sums, records):
        computed.append(len(sums))
        return noisy_sums(config, first, features, sums, records)

    monkeypatch.setattr(training, "_noisy_sums", watched)
    return computed


def weights(trained):
    return torch.cat([tensor.flatten().float() for network in (trained.average, trained.critic, trained.posterior)
                      for tensor in network.state_dict().values()])


class Killed(Exception):
    pass


def kill_at(patch, number):
    noisy_sums = training._noisy_sums

    def dying(config, first, features, sums, records):
        if len(sums) == number:
            raise Killed
        return noisy_sums(config, first, features, sums, records)

    patch.setattr(training, "_noisy_sums", dying)


# The configuration

def test_the_configuration_survives_json():
    config = warm_run()
    again = config_from(config.to_dict())
    assert again == config and type(again) is WarmRunConfig and again.hash == config.hash
    plain = parameters.plan_run(RunParameters(dataset="digits", profile="smoke"))
    assert config_from(plain.to_dict()) == plain


def test_all_noisy_sums_together_are_one_gaussian_mechanism():
    """PLD composes any mechanisms; that Gaussians without sampling compose to one is checked by it."""
    for s in (0.7, 2.0):
        settings = replace(WARM, release_noise=s)
        alone = accounting.epsilon_pld(noise_multiplier=s, sampling_rate=1.0, steps=1, delta=1e-5)
        together = accounting.epsilon_pld(noise_multiplier=settings.round_noise, sampling_rate=1.0, delta=1e-5,
                                          steps=settings.prototypes.rounds, release_noise=settings.embedding_noise)
        assert together == pytest.approx(alone, rel=1e-3)  # intervals of the loss


def test_noise_is_asked_for_as_accounted(digits, tmp_path, monkeypatch):
    config, asked = warm_run(steps=0), []
    for module in (prototypes, embedding):
        noisy_sums = module.noisy_sums
        monkeypatch.setattr(module, "noisy_sums",
                            lambda *given, sums=noisy_sums: asked.append(given[-2]) or sums(*given))
    methods.train(config, *digits, tmp_path)
    assert asked == [config.warm_start.round_noise] * 2 + [config.warm_start.embedding_noise]


# Stored, resumed, charged

@pytest.mark.full
def test_the_same_run_twice_and_another_seed(digits, tmp_path):
    three = [methods.train(warm_run(seed), *digits, tmp_path / str(index)) for index, seed in enumerate([0, 0, 1])]
    assert torch.equal(weights(three[0]), weights(three[1]))
    assert not torch.equal(weights(three[0]), weights(three[2]))


@pytest.mark.full
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_killed_warm_start_goes_on_behind_its_last_noisy_sum(number, digits, tmp_path, rounds, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, number)
        with pytest.raises(Killed):
            methods.train(warm_run(), *digits, tmp_path / "killed")
    resumed = methods.train(warm_run(), *digits, tmp_path / "killed")
    assert rounds == [0, 1, 2]
    assert torch.equal(weights(resumed), weights(methods.train(warm_run(), *digits, tmp_path / "whole")))


def test_a_run_that_goes_on_computes_no_noisy_sum_again(digits, tmp_path, rounds, monkeypatch):
    assert methods.train(warm_run(), *digits, tmp_path, max_minutes=0).step < STEPS
    monkeypatch.setattr(fit, "fit", lambda *_: pytest.fail("fitted again"))
    assert methods.train(warm_run(), *digits, tmp_path).step == STEPS and rounds == [0, 1, 2]


def test_noisy_sums_alone_are_a_run_of_no_step(digits, tmp_path):
    trained = methods.train(warm_run(steps=0), *digits, tmp_path)
    assert trained.step == 0 and trained.seconds > 0
    z, code = state.draw_latent(warm_run(), 5, 0, torch.device("cpu"))
    assert trained.average(z, code).shape == (5, 1, 28, 28)


def test_another_configuration_does_not_resume(digits, tmp_path):
    methods.train(warm_run(steps=0), *digits, tmp_path)
    with pytest.raises(ValueError, match="belongs to another configuration"):
        methods.train(warm_run(steps=0, rate=0.02), *digits, tmp_path)


def test_a_release_charges_each_before_it_computes_it(digits, tmp_path, monkeypatch):
    noisy_sums = training._noisy_sums

    def checked(config, first, features, sums, records):
        assert ledger.charged(tmp_path / training.FOLDER) == len(sums) + 1
        return noisy_sums(config, first, features, sums, records)

    monkeypatch.setattr(training, "_noisy_sums", checked)
    methods.train(warm_run(None), *digits, tmp_path)
    assert ledger.charged(tmp_path) == STEPS  # critic steps have their own account


def test_what_a_release_charged_and_lost_is_not_computed_again(digits, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 1)
        with pytest.raises(Killed):
            methods.train(warm_run(None), *digits, tmp_path)
    with pytest.raises(RuntimeError, match="charged and then lost"):
        methods.train(warm_run(None), *digits, tmp_path)


# What enters

def test_given_the_noisy_sums_the_data_enter_no_more(digits, tmp_path, monkeypatch):
    """The stored sums and garbage in the data's place give the same start."""
    images, labels = digits
    methods.train(warm_run(steps=0), images, labels, tmp_path)
    path = tmp_path / training.FOLDER / training.FILE
    first = training._load(warm_run(steps=0), path.parent)
    training._save(warm_run(steps=0), training.WarmStartState(first.sums, {}), path.parent)
    garbage = loop.on_device(warm_run(steps=0), np.full_like(images, math.nan), labels * 0)
    monkeypatch.setattr(training, "_noisy_sums", lambda *_: pytest.fail("data were read"))
    start, _ = training.begin(warm_run(steps=0), PrototypeRounds(), garbage, path.parent)
    for name, tensor in start.generator.state_dict().items():
        assert torch.equal(tensor, first.networks[f"generator/{name}"])


@pytest.fixture(scope="module")
def start(digits, tmp_path_factory):
    config = warm_run(release_noise=0.0)
    return training.begin(config, PrototypeRounds(), loop.on_device(config, *digits),
                         tmp_path_factory.mktemp("warm_start"))[0]


def test_the_critic_starts_at_zero_beside_its_witness_and_learns(digits, start):
    config = warm_run()
    begun = state.new_state(config, torch.device("cpu"), start)
    images, categories = torch.rand(4, 1, 28, 28), torch.eye(10)[:4]
    scores = begun.critic(images, categories)
    assert not scores.any()
    scores.sum().backward()
    assert begun.critic.scores.weight.grad.norm() > 0
    loop.train_block(config, begun, loop.on_device(config, *digits))
    assert begun.critic(images, categories).abs().max() > 0


def test_the_generator_meets_witness_and_critic_together(start, monkeypatch):
    begun = state.new_state(warm_run(), torch.device("cpu"), start)
    torch.nn.init.normal_(begun.critic.scores.bias, generator=torch.Generator().manual_seed(0))
    z, code = state.draw_latent(warm_run(), 60, 0, torch.device("cpu"))
    fakes = begun.generator(z, code).detach(), code[:, :10]
    images, categories = fakes[0][:7], fakes[1][:7]
    whole = loop._scores(begun, fakes)(images, categories)
    torch.testing.assert_close(whole, start.witness(*fakes)(images, categories) + begun.critic(images, categories))


def test_the_witness_scores_real_images_above_fakes(digits, start):
    """Its gap is |d|^2 > 0 by construction; for images of other digits than these it has no reason to be."""
    images, labels = digits
    categories = torch.from_numpy(labels[:, None] == np.arange(10)).float()
    z, code = state.draw_latent(warm_run(), 500, 0, torch.device("cpu"), start)
    fakes = start.generator(z, code).detach()
    scores = start.witness(fakes, code[:, :10])
    assert scores(torch.from_numpy(images), categories).mean() > scores(fakes, code[:, :10]).mean()


def test_fakes_come_in_the_released_shares(digits, start):
    images, labels = digits
    wanted = torch.from_numpy(np.bincount(labels) / len(labels)).float()
    torch.testing.assert_close(start.shares.float(), wanted, rtol=0, atol=1e-4)
    skewed = replace(start, shares=torch.tensor([1.0] + [0.0] * 9))
    _, code = state.draw_latent(warm_run(), 50, 0, torch.device("cpu"), skewed)
    assert (code[:, 0] == 1).all()


# People as the unit

def test_of_a_person_one_image_enters(digits):
    images, labels = digits
    people = np.repeat(np.arange(len(images) // 3 + 1), 3)[: len(images)]
    config = warm_run()
    config = replace(config, privacy=replace(config.privacy, records=len(set(people)), expected_batch=100))
    records = loop.on_device(config, images, labels, np.random.default_rng(0).permutation(people))
    owner = {row: person for person, rows in enumerate(records.people) for row in rows}
    assert sorted(owner) == list(range(len(images)))
    rows = records.sample(1.0, np.random.default_rng(1))
    assert sorted(owner[row] for row in rows) == list(range(len(records.people)))
    sizes = [len(records.sample(config.privacy.sampling_rate, np.random.default_rng(seed))) for seed in range(200)]
    assert abs(np.mean(sizes) - 100) < 5 * 10 / math.sqrt(200)  # a binomial's spread is below 10
    firsts = [rows[np.isin(rows, records.people[0])].item()
              for rows in (records.sample(1.0, np.random.default_rng(seed)) for seed in range(60))]
    assert set(firsts) == set(records.people[0])  # each of three in 60 draws


def test_a_run_by_people_trains_and_a_wrong_number_of_them_is_refused(digits, tmp_path):
    images, labels = digits
    people = np.arange(len(images)) // 2
    count = int(people.max()) + 1
    config = warm_run()
    config = replace(config, privacy=replace(config.privacy, records=count))
    assert methods.train(config, images, labels, tmp_path, people=people).step == STEPS
    with pytest.raises(ValueError, match=f"of {count} people do not match the declared N"):
        methods.train(warm_run(), images, labels, tmp_path / "other", people=people)
