"""The clipped sum: what any record must leave standing on any architecture, oracles, and the models that are
refused.
"""

import inspect
import math

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from torch import nn

from dpgan_lib import profiles
from dpgan_lib.config import PrivacyConfig
from dpgan_lib.gan import networks, steps
from dpgan_lib.gan.latent import category, sample_latent
from dpgan_lib.privacy import clipping
from dpgan_lib.privacy.clipping import check_separable, clipped_sum
from dpgan_lib.studies.cost import bench
from dpgan_lib.studies.cost.ways import WAYS

PROFILE = profiles.PROFILES["smoke"]
PRIVACY = PrivacyConfig(epsilon=1.0, delta=1e-5, records=1000, expected_batch=50, steps=10, clip_norm=0.5,
                        noise_multiplier=2.0)


class Scores(nn.Module):
    """A random small network with one score a record; conv layers of both norm routes, biased and not."""

    def __init__(self, kernel, stride, padding, width, bias):
        super().__init__()
        side = (12 + 2 * padding - kernel) // stride + 1
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, kernel, stride, padding, bias=bias), nn.Tanh(),
            nn.Conv2d(width, 12, 3, padding=1, bias=bias), nn.Tanh(), nn.Flatten(),
            nn.Linear(12 * side**2, 3, bias=bias))

    def forward(self, images, category):
        return (self.layers(images) * category).sum(1)


ARCHITECTURES = [(5, 2, 2, 4, True), (3, 1, 0, 3, False), (4, 3, 1, 40, True)]


def example(batch, seed=0):
    rng = torch.Generator().manual_seed(seed)
    images = 3 * torch.randn(batch, 2, 12, 12, generator=rng)
    return images, torch.eye(3)[torch.randint(3, (batch,), generator=rng)]


def explicit_sum(model, inputs, clip_norm):
    """The definition: one backward pass a record."""
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for i in range(len(inputs[0])):
        gradients = torch.autograd.grad(model(*(tensor[i : i + 1] for tensor in inputs)).sum(), parameters.values())
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        for name, gradient in zip(parameters, gradients):
            total[name] += min(1.0, clip_norm / norm) * gradient
    return total


def assert_close(ours, other):
    # float32 sums in another order: a few 1e-7 of the largest entry; 1e-5 leaves room for the longest of them.
    for name, gradient in ours.items():
        assert torch.allclose(gradient, other[name], rtol=0, atol=1e-5 * float(1 + other[name].abs().max())), name


def norm(gradients):
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch", [0, 1, 7])
@pytest.mark.parametrize("clip_norm", [0.3, 1e6, math.inf])
def test_clipped_sum_is_the_explicit_loop(architecture, batch, clip_norm):
    torch.manual_seed(batch)
    model = Scores(*architecture)
    assert_close(clipped_sum(model, example(batch), clip_norm), explicit_sum(model, example(batch), clip_norm))


@pytest.mark.filterwarnings("ignore:.*non-full backward hook:FutureWarning", "ignore:.*full backward hook:UserWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_clipped_sum_is_opacus(architecture):
    torch.manual_seed(1)
    model, inputs = Scores(*architecture), example(6)
    ours = clipped_sum(model, inputs, 0.3)
    wrapped = GradSampleModule(model, loss_reduction="sum")
    wrapped(*inputs).sum().backward()
    samples = {name.removeprefix("_module."): parameter.grad_sample for name, parameter in wrapped.named_parameters()}
    norms = sum(sample.flatten(1).square().sum(1) for sample in samples.values()).sqrt()
    weights = (0.3 / norms).clamp(max=1)
    assert_close(ours, {name: torch.tensordot(weights, sample, dims=1) for name, sample in samples.items()})


def critic_and_batch(batch=8):
    rng = np.random.default_rng(0)
    generator, critic, posterior = networks.build_networks(PROFILE.latent, PROFILE.model, rng)
    z, code = sample_latent(PROFILE.latent, batch, rng)
    return generator, critic, posterior, z, code


def test_clipped_sum_of_the_books_critic_is_the_explicit_loop():
    generator, critic, _, z, code = critic_and_batch()
    inputs = generator(z, code).detach(), category(PROFILE.latent, code)
    assert_close(clipped_sum(critic, inputs, 0.01), explicit_sum(critic, inputs, 0.01))


ADVERSARIAL = {"random": 1.0, "huge": 1e18, "nan": math.nan, "inf": math.inf, "zero": 0.0}


@pytest.mark.parametrize("value", ADVERSARIAL.values(), ids=ADVERSARIAL)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_record_moves_the_sum_by_at_most_the_clip_norm(architecture, value):
    torch.manual_seed(2)
    model, (images, categories) = Scores(*architecture), example(6)
    images[-1] *= value
    without = clipped_sum(model, (images[:-1], categories[:-1]), 0.4)
    with_it = clipped_sum(model, (images, categories), 0.4)
    difference = norm({name: with_it[name] - without[name] for name in without})
    assert difference <= 0.4 * (1 + 1e-4)  # the slack is float32 rounding of six summed gradients
    if not math.isfinite(value):
        assert difference == pytest.approx(0, abs=1e-5)  # such a record contributes nothing


def test_a_large_record_is_clipped_to_exactly_the_clip_norm():
    torch.manual_seed(2)
    model, (images, categories) = Scores(*ARCHITECTURES[0]), example(1)
    assert norm(clipped_sum(model, (100 * images, categories), 0.4)) == pytest.approx(0.4, rel=1e-5)  # float32


def test_the_step_ends_inside_w():
    generator, critic, _, z, code = critic_and_batch()
    images, categories = generator(z, code).detach(), category(PROFILE.latent, code)
    steps.critic_step(critic, torch.optim.SGD(critic.parameters(), lr=100.0), (images, categories),
                      (images, categories), PRIVACY, True, np.random.default_rng(0))
    assert max(parameter.detach().abs().max().item()
               for parameter in critic.parameters()) <= np.float32(critic.model.weight_clip)


REFUSED = {
    "batch norm": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(300, 1)), "'1'"),
    "batch norm without parameters":
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), nn.Flatten(), nn.Linear(300, 1)), "'1'"),
    "grouped convolution": (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(400, 1)), "'0'"),
    "layer norm": (nn.Sequential(nn.Flatten(), nn.LayerNorm(288), nn.Linear(288, 1)), "'1'"),
}


class OneScore(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, images):
        return self.layers(images).squeeze(1)


@pytest.mark.parametrize("layers, culprit", REFUSED.values(), ids=REFUSED)
def test_a_model_without_per_example_gradients_is_refused_by_name(layers, culprit):
    with pytest.raises(ValueError, match=culprit.strip("'")):
        check_separable(OneScore(layers), example(5)[0])


def test_a_frozen_an_unreached_a_shared_and_a_twice_used_parameter_are_refused():
    frozen = OneScore(nn.Sequential(nn.Flatten(), nn.Linear(288, 1)))
    frozen.layers[1].bias.requires_grad_(False)
    unreached = OneScore(nn.Sequential(nn.Flatten(), nn.Linear(288, 1)))
    unreached.spare = nn.Linear(2, 2)
    shared = OneScore(nn.Sequential(nn.Flatten(), nn.Linear(288, 288), nn.Linear(288, 288), nn.Linear(288, 1)))
    shared.layers[2].weight = shared.layers[1].weight
    twice_used = nn.Linear(288, 288)
    twice = OneScore(nn.Sequential(nn.Flatten(), twice_used, twice_used, nn.Linear(288, 1)))
    for model, culprit in (frozen, "frozen"), (unreached, "spare"), (shared, "share"), (twice, "twice"):
        with pytest.raises(ValueError, match=culprit):
            check_separable(model, example(5)[0])


def test_data_enters_two_signatures_alone():
    """The wall: of the functions that a training step calls, the critic's and the reader's alone get real data."""
    private = steps.critic_step, steps.reader_step
    handed = set().union(*(inspect.signature(step).parameters for step in (steps.generator_step, steps.update_average)))
    assert handed == {"generator", "posterior", "critic", "optimiser", "z", "code", "latent", "settings", "average",
                      "decay"}
    for step in private:
        assert "real" in inspect.signature(step).parameters and inspect.signature(step).return_annotation is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("clip_norm", [0.3, math.inf])
def test_passes_of_any_size_give_the_same_sum(architecture, clip_norm, monkeypatch):
    """A batch is never cut: one of 21 takes one pass, or three that are filled up, or 21."""
    torch.manual_seed(3)
    model, inputs = Scores(*architecture), example(21)
    whole = clipped_sum(model, inputs, clip_norm)
    for size, multiple in (8, 8), (8, 5), (1, 1):
        monkeypatch.setitem(clipping.PASS, "cpu", size)
        monkeypatch.setitem(clipping.PADDING, "cpu", multiple)
        assert_close(clipped_sum(model, inputs, clip_norm), whole)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, (3, 1, 2, 4, True)])
def test_patches_are_what_a_convolution_multiplies_its_weights_with(architecture):
    layer = Scores(*architecture).layers[0]
    images = example(3)[0]
    flat = layer.weight.movedim(1, -1).flatten(1)  # in the order height, width, channel
    by_patches = clipping.patches(layer, images) @ flat.T + (0 if layer.bias is None else layer.bias)
    assert torch.allclose(by_patches, layer(images).flatten(2).mT, atol=1e-5)  # float32 sums in another order


@pytest.mark.filterwarnings("ignore:.*non-full backward hook:FutureWarning", "ignore:.*full backward hook:UserWarning",
                            "ignore:Full backward hook is firing:UserWarning")
def test_every_way_of_the_benchmark_gives_the_same_sum():
    """Else the benchmark would compare different things."""
    critic = bench.new_critic(bench.CRITICS["CelebA"])
    half = bench.random_half(bench.CRITICS["CelebA"], 5, 0)
    for name, (is_private, _, make) in WAYS.items():
        if is_private and "compiled" not in name:
            assert_close(make(critic)(critic, half, 0.05), explicit_sum(critic, half, 0.05))
