"""InfoGAN: networks, the deformations that Q reads through, steps, training, and the study at smoke size."""

import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpgan_lib import data, paths
from dpgan_lib.config import config_from
from dpgan_lib.gan import infogan, infogan_loop
from dpgan_lib.gan.deform import deformed
from dpgan_lib.gan.latent import code_entropy, sample_latent
from dpgan_lib.gan.networks import project_spectral
from dpgan_lib.measures import matching
from dpgan_lib.studies import registry
from dpgan_lib.studies.mutual_information import tables
from dpgan_lib.studies.mutual_information.infogan import LOSSES, SIZES, Parameters, run_of

SMOKE = Parameters(dataset="digits", profile="smoke")
CPU = torch.device("cpu")


def run(steps=6, **asked):
    config = run_of(replace(SMOKE, **asked))
    return replace(config, privacy=replace(config.privacy, steps=steps))


def real_images(count=64):
    return torch.from_numpy(data.load("digits", progress=False).train_images[:count])


def fakes(config, gan, count=32):
    z, code = sample_latent(config.latent, count, np.random.default_rng(0))
    return gan.generator(z, code), code


# Parameters

@pytest.mark.parametrize("values, words", [
    ({"loss": "hinge"}, "loss='hinge'"), ({"deformed": 1}, "deformed=1"), ({"z_dim": 0}, "z_dim=0"),
    ({"profile": "paper"}, "profile='paper'"), ({"dataset": "fashion_mnist"}, "dataset="), ({"seed": -1}, "seed=-1")])
def test_a_wrong_parameter_is_refused_in_one_line(values, words):
    with pytest.raises(ValueError) as refusal:
        run_of(replace(SMOKE, **values))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_run_is_found_again_by_its_fields_and_claims_no_privacy():
    config = run()
    assert config_from(config.to_dict()) == config
    assert math.isinf(config.privacy.epsilon) and not config.privacy.is_private


def test_the_study_stands_beside_the_chapters_first():
    found = registry.studies("mutual_information")
    assert [study.kind for study in found] == ["run", "infogan"]
    assert registry.study("mutual_information/infogan").asked is Parameters
    assert len(set(found[1].grid)) == len({found[1].address(each) for each in found[1].grid})


# Deformations

def test_a_deformed_image_stays_in_range_and_its_ground_is_ground():
    rng = np.random.default_rng(0)
    moved = deformed(real_images(), rng)
    assert moved.shape == (64, 1, 28, 28) and moved.min() >= -1 and moved.max() <= 1 + 1e-6  # rounding
    ground = torch.full((8, 1, 28, 28), -1.0)
    torch.testing.assert_close(deformed(ground, rng), ground)


def test_no_two_images_are_deformed_alike_and_the_same_numbers_deform_the_same():
    image = real_images(1).repeat(2, 1, 1, 1)
    moved, again = (deformed(image, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(moved, again) and not torch.allclose(moved[0], moved[1], atol=0.1)


def test_a_deformation_moves_ink_no_farther_than_it_says():
    dot = torch.full((500, 1, 28, 28), -1.0)
    dot[:, :, 13:15, 13:15] = 1.0
    weight = (deformed(dot, np.random.default_rng(0)) + 1)[:, 0]
    place = torch.arange(28) - 13.5
    across = (weight.sum(1) * place).sum(1) / weight.sum((1, 2))
    # A shift of 2 pixels in the frame of the copy, which is scaled by up to 1 / 0.8, turned and sheared.
    assert 1.5 < across.abs().max() < 2 / 0.8 * (math.hypot(1, 1) + 0.4)


def test_gradients_come_back_through_a_deformation():
    images = real_images(4).requires_grad_()
    deformed(images, np.random.default_rng(0)).sum().backward()
    assert images.grad.abs().sum((1, 2, 3)).min() > 0


# Networks and losses

@pytest.mark.parametrize("loss", LOSSES)
def test_networks_have_the_librarys_shapes(loss):
    config = run(loss=loss)
    gan = infogan.initial(config, np.random.default_rng(0))
    images, _ = fakes(config, gan)
    assert images.shape == (32, 1, 28, 28) and images.abs().max() <= 1
    assert gan.critic(images).shape == (32,) and gan.posterior(images).shape == (32, 14)
    norms = [layer for layer in gan.critic.modules() if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert bool(norms) == (loss == "js")


def test_the_generators_noise_is_uniform():
    gan = infogan.initial(run(), np.random.default_rng(0))
    seen = []
    gan.generator.layers.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    gan.generator(torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 16), dtype=np.float32)),
                  torch.zeros(4000, 12))
    z = seen[0][:, :16].flatten().sort().values
    assert (z - torch.linspace(-1, 1, len(z))).abs().max() < 0.02  # Kolmogorov's distance of 64,000 draws is below 0.01


def test_the_category_is_read_from_copies_and_the_rest_from_the_images():
    config = run()
    posterior = infogan.initial(config, np.random.default_rng(0)).posterior.eval()
    images, copies = real_images(8), real_images(16)[8:]
    reading = posterior.reading(images, copies)
    assert torch.equal(reading[:, :10], posterior(copies)[:, :10])
    assert torch.equal(reading[:, 10:], posterior(images)[:, 10:])


def test_a_code_that_hides_in_the_place_is_read_from_the_image_and_not_from_a_deformed_copy():
    places = torch.arange(10).repeat(100) % 2  # a dot one pixel to the left, or to the right
    images = torch.full((1000, 1, 28, 28), -1.0)
    images[torch.arange(1000), 0, 14, 13 + places] = 1.0

    def guessed(seen):
        centre = ((seen[:, 0] + 1).sum(1) * torch.arange(28)).sum(1) / (seen[:, 0] + 1).sum((1, 2))
        return ((centre > 13.5) == places).float().mean()

    assert guessed(images) == 1 and guessed(deformed(images, np.random.default_rng(0))) < 0.75


@pytest.mark.parametrize("asked", [{"deformed": True}, {"deformed": False}, {"shared": False}])
def test_the_bound_that_is_reported_is_at_most_the_entropy_of_codes_that_q_cannot_know(asked):
    config = run(**asked)
    gan = infogan.initial(config, np.random.default_rng(0))
    images, _ = fakes(config, gan, 256)
    _, other = sample_latent(config.latent, 256, np.random.default_rng(1))  # I = 0: codes of other images
    loss, bound = infogan.information_loss(config, gan.posterior, images, other, 0.1, np.random.default_rng(0))
    assert bound <= 0.1 < code_entropy(config.latent)  # 0 on average
    assert torch.isfinite(loss)


@pytest.mark.parametrize("shared", [True, False])
def test_what_q_learns_reaches_the_critics_features_if_they_are_shared_and_never_its_score(shared):
    config = run(shared=shared)
    gan = infogan.initial(config, np.random.default_rng(0))
    images, code = fakes(config, gan)
    loss, _ = infogan.information_loss(config, gan.posterior, images, code, 0.1, np.random.default_rng(0))
    loss.backward()
    assert (gan.critic.features is gan.posterior.features) == shared
    assert all((each.grad is not None) == shared for each in gan.critic.features.parameters())
    assert all(each.grad is None for each in gan.critic.score.parameters())


def test_the_term_of_a_shared_q_is_the_same_whatever_the_data():
    """So sharing costs no privacy: the information term's gradient reads fakes, codes and w, and no record."""
    config = run()
    gradients = []
    for real in (real_images(32), torch.zeros(32, 1, 28, 28)):
        gan = infogan.initial(config, np.random.default_rng(0))
        images, code = fakes(config, gan)
        optimiser = infogan_loop.adam(torch.nn.ModuleList([gan.critic, gan.posterior]), 1e-3)
        _, pull = infogan.critic_step(config, gan, optimiser, real, images, code, 0.1, np.random.default_rng(0))
        gradients.append((pull, [each.grad for each in gan.posterior.head.parameters()]))
        score = gan.critic.score.weight.grad
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert all(map(torch.equal, gradients[0][1], gradients[1][1])) and score.abs().sum() > 0


def test_numbers_join_the_bound_later_and_rates_fall_to_nothing(monkeypatch):
    config = run(steps=30)
    state, seen, step_of = infogan_loop.new_state(config, CPU), [], infogan_loop.critic_step

    def watched(*arguments):
        seen.append((arguments[-2], state.critic_optimiser.param_groups[0]["lr"],
                     state.generator_optimiser.param_groups[0]["lr"]))
        return step_of(*arguments)

    monkeypatch.setattr(infogan_loop, "critic_step", watched)
    for _ in range(30):
        infogan_loop.train_block(config, state, real_images())
    weights, critic, generator = zip(*seen)
    assert weights == (0.0,) * 10 + (0.1,) * 20
    fall = [1.0] * 20 + [left / 10 for left in range(10, 0, -1)]
    assert critic == pytest.approx([2e-4 * share for share in fall])
    assert generator == pytest.approx([1e-3 * share for share in fall])


# W

def largest(layer):
    return float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))


def test_a_critic_is_in_w_after_every_step():
    spectral, clipping = run(loss="spectral"), run(loss="clipping")
    for config in (spectral, clipping):
        state = infogan_loop.new_state(config, CPU)
        for _ in range(3):
            infogan_loop.train_block(config, state, real_images())
            if config is clipping:
                assert all(each.abs().max() <= 0.01 for each in state.gan.critic.parameters())
                continue
            layers = [each for each in state.gan.critic.modules() if hasattr(each, "weight")]
            bounds = [0.5 if isinstance(each, torch.nn.Conv2d) else 1 for each in layers]  # 2 x 2 patches share a pixel
            assert len(layers) == 4
            assert all(largest(layer) <= bound * (1 + 1e-4) for layer, bound in zip(layers, bounds))  # float32


@pytest.mark.parametrize("layer", [torch.nn.Linear(40, 12), torch.nn.Linear(7, 12), torch.nn.Conv2d(3, 9, 4, stride=2)])
def test_the_projection_by_the_gram_matrix_is_the_projection(layer):
    other = type(layer)(*((3, 9, 4, 2) if isinstance(layer, torch.nn.Conv2d) else (layer.in_features, 12)))
    other.load_state_dict(layer.state_dict())
    infogan.into_spectral_ball(layer, 0.3)
    project_spectral(other, 0.3)
    torch.testing.assert_close(layer.weight, other.weight, atol=1e-5, rtol=0)


def test_the_penalty_is_nothing_for_a_slope_of_one():
    config = run(loss="penalty")
    critic = infogan.initial(config, np.random.default_rng(0)).critic
    image = real_images(32)
    linear = torch.nn.Linear(784, 1)
    torch.nn.init.constant_(linear.weight, 1 / 28)
    critic.forward = lambda images: linear(images.flatten(1)).squeeze(1)
    penalty = infogan.gradient_penalty(critic, image, image.flip(0), np.random.default_rng(0))
    assert penalty.item() < 1e-9
    linear.weight.data *= 3
    penalty = infogan.gradient_penalty(critic, image, image.flip(0), np.random.default_rng(0))
    assert math.isclose(penalty.item(), 4, rel_tol=1e-4)


# Training

def tensors(state):
    return {name: value.clone() for name, value in infogan_loop.tensors(state)}


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    config, images = run(), real_images().numpy()
    whole = infogan_loop.train(config, images, None, tmp_path / "whole")
    cut = infogan_loop.train(config, images, None, tmp_path / "cut", max_minutes=1e-9)
    assert cut.step == 1
    resumed = infogan_loop.train(config, images, None, tmp_path / "cut")
    assert resumed.step == whole.step == 6 and resumed.history == whole.history
    expected, found = tensors(whole), tensors(resumed)
    assert expected.keys() == found.keys() and len(expected) > 60
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    infogan_loop.train(run(), real_images().numpy(), None, tmp_path)
    with pytest.raises(ValueError, match="another configuration"):
        infogan_loop.train(run(seed=1), real_images().numpy(), None, tmp_path)


def test_a_run_that_asks_for_privacy_is_refused(tmp_path):
    config = run()
    private = replace(config.privacy, noise_multiplier=1.0, clip_norm=1.0, epsilon=1.0)
    with pytest.raises(ValueError, match="without privacy"):
        infogan_loop.train(replace(config, privacy=private), real_images().numpy(), None, tmp_path)


# Measures

def test_codes_and_digits_are_matched_one_to_one():
    codes_, digits = np.array([0, 0, 0, 1, 1, 2]), np.array([3, 3, 5, 3, 3, 7])
    found = matching.matched(codes_, digits, 3)
    assert found["names"] == [5, 3, 7] or found["names"] == [3, 5, 7]
    assert found["agreement"] <= 4 / 6 < 5 / 6  # many to one, codes 0 and 1 would both be a 3
    assert sum(map(sum, found["table"])) == 6


@pytest.mark.full  # two judges learn digits
def test_a_smoke_run_is_obtained_and_says_that_it_has_no_privacy(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "runs", lambda: tmp_path)
    record = registry.obtain("mutual_information", SMOKE, progress=False)
    metrics = record.metrics
    assert record.kind == "infogan" and math.isinf(record.epsilon_spent)
    assert set(record.content["artefacts"]) == {"samples.png", "moved.png"}
    assert len(record.content["history"]) == SIZES["smoke"].updates
    assert sorted(metrics["real"]["names"]) == list(range(10))
    for share in (metrics["real"]["accuracy"], *(each["agreement"] for each in metrics["generated"].values())):
        assert 0 <= share <= 1
    assert metrics["reading"]["category"] <= math.log(10)


def stub(seed, real, **asked):
    """What the tables read of a record."""
    shares = {"agreement": real, "names": list(range(10)), "table": np.eye(10, dtype=int).tolist()}
    return SimpleNamespace(asked=asdict(replace(SMOKE, seed=seed, **asked)), seconds={"training": 90.0}, metrics={
        "generated": {"disclosed": shares, "public": shares}, "real": {"accuracy": real}, "taught": real})


def test_the_table_has_a_line_for_each_setting_with_its_seeds_and_the_best_of_them():
    rows = list(map(tables.result_row, [stub(0, 0.25), stub(1, 0.75), stub(0, 0.5, deformed=False)]))
    page = tables.results_table(rows)
    assert page.count("<tr>") == 3
    assert page.count("JS, deformed copies, z of 16") == page.count("JS, images, z of 16") == 1
    assert "<td>2</td><td>50.0 &plusmn; " in page and "<td>75.0</td>" in page
    assert "<td>1</td><td>50.0</td>" in page  # one seed has no interval
