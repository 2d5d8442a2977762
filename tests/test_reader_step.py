"""The private reader's step against oracles, and what any record must leave standing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from test_mechanism import assert_close, explicit_sum, norm
from torch import nn
from torch.nn import functional as F

from dpgan_lib.config import ReaderConfig
from dpgan_lib.gan.networks import Reader
from dpgan_lib.gan.steps import reader_step
from dpgan_lib.privacy.clipping import check_separable, clipped_sum
from dpgan_lib.privacy.mechanism import noisy_mean

INPUTS, CLASSES, CLIP = 12, 4, 0.7
PRIVATE = ReaderConfig(share=0.5, expected_batch=10, steps=1, clip_norm=CLIP, noise_multiplier=1.5, rate=1.0, images=40,
                       directions=INPUTS, exponent=0.25, floor=0.01)
PLAIN = replace(PRIVATE, clip_norm=math.inf, noise_multiplier=0.0)


def trained_a_little():
    reader = Reader(INPUTS, CLASSES)
    torch.manual_seed(0)
    for parameter in reader.parameters():
        nn.init.normal_(parameter, std=0.3)
    return reader


def example(batch, seed=0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (batch,), generator=rng)
    return torch.randn(batch, INPUTS, generator=rng), F.one_hot(labels, CLASSES).float()


def without_last(inputs):
    return tuple(tensor[:-1] for tensor in inputs)


@pytest.mark.parametrize("batch", [0, 1, 30])
@pytest.mark.parametrize("clip_norm", [CLIP, 1e6, math.inf])
def test_the_readers_sum_is_the_explicit_loop(batch, clip_norm):
    reader = trained_a_little()
    assert_close(clipped_sum(reader, example(batch), clip_norm), explicit_sum(reader, example(batch), clip_norm))


@pytest.mark.filterwarnings("ignore:.*non-full backward hook:FutureWarning", "ignore:.*full backward hook:UserWarning",
                            "ignore:Full backward hook is firing:UserWarning")
def test_the_readers_sum_is_opacus():
    reader, (features, category) = trained_a_little(), example(30)
    ours = clipped_sum(reader, (features, category), CLIP)
    wrapped = GradSampleModule(reader.logits, loss_reduction="sum")
    (-F.cross_entropy(wrapped(features), category.argmax(1), reduction="sum")).backward()
    samples = [parameter.grad_sample for parameter in wrapped.parameters()]  # weight, then bias
    weights = (CLIP / sum(sample.flatten(1).square().sum(1) for sample in samples).sqrt()).clamp(max=1)
    assert_close(ours, {name: torch.tensordot(weights, sample, dims=1)
                        for name, sample in zip(("logits.weight", "logits.bias"), samples, strict=True)})


def test_the_norm_is_a_product_of_two():
    reader, (features, category) = trained_a_little(), example(1)
    error = category - torch.softmax(reader.logits(features), 1).detach()
    product = float(error.norm() * F.pad(features, [0, 1], value=1.0).norm())
    assert norm(clipped_sum(reader, (features, category), math.inf)) == pytest.approx(product, rel=1e-5)  # float32


def test_a_reader_is_a_model_whose_gradients_can_be_made_private():
    check_separable(Reader(INPUTS, CLASSES), *example(5))


@pytest.mark.parametrize("value", [1.0, 1e18, math.nan, math.inf, 0.0])
def test_one_record_moves_the_readers_sum_by_at_most_the_clip_norm(value):
    features, category = example(300)
    features[-1] *= value
    with_it, without = (clipped_sum(trained_a_little(), inputs, CLIP)
                        for inputs in ((features, category), without_last((features, category))))
    # The slack is float32 rounding of 300 summed gradients.
    assert norm({name: with_it[name] - without[name] for name in without}) <= CLIP * (1 + 1e-4)
    assert all(gradient.isfinite().all() for gradient in with_it.values())


def test_a_record_contributes_the_same_whoever_shares_its_batch():
    alone = clipped_sum(trained_a_little(), tuple(tensor[-1:] for tensor in example(300)), CLIP)
    for size in (2, 17, 300):
        inputs = tuple(tensor[-size:] for tensor in example(300))
        with_it, without = (clipped_sum(trained_a_little(), each, CLIP) for each in (inputs, without_last(inputs)))
        # float32: 300 summed gradients of norm 0.7 are off by a few 1e-6.
        assert norm({name: with_it[name] - without[name] - alone[name] for name in alone}) < 1e-5


def test_a_record_without_a_category_contributes_nothing():
    features, category = example(5)
    category[-1] = 0
    reader = trained_a_little()
    assert_close(clipped_sum(reader, (features, category), CLIP),
                 clipped_sum(reader, without_last((features, category)), CLIP))


def stepped(settings, real, seed=0, rate=1.0):
    reader = trained_a_little()
    before = {name: parameter.detach().clone() for name, parameter in reader.named_parameters()}
    found = reader_step(reader, torch.optim.SGD(reader.parameters(), rate), real, settings, np.random.default_rng(seed))
    assert found is None
    return {name: parameter.detach() - before[name] for name, parameter in reader.named_parameters()}


def test_the_step_goes_up_by_the_noisy_mean():
    mean = noisy_mean(trained_a_little(), example(9), clip_norm=CLIP, noise_multiplier=1.5, expected_batch=10,
                      rng=np.random.default_rng(0))
    assert_close(stepped(PRIVATE, example(9)), mean)


@pytest.mark.parametrize("batch", [1, 9, 30])
def test_without_privacy_it_is_a_step_of_softmax_regression_with_a_public_divisor(batch):
    reader, (features, category) = trained_a_little(), example(batch)
    likelihood = -F.cross_entropy(reader.logits(features), category.argmax(1), reduction="sum") / 10
    plain = torch.autograd.grad(likelihood, list(reader.parameters()))
    assert_close(stepped(PLAIN, example(batch)), dict(zip(("logits.weight", "logits.bias"), plain, strict=True)))


def test_an_empty_batch_is_a_step_of_noise_alone():
    moved = stepped(PRIVATE, example(0))
    assert all(gradient.count_nonzero() == gradient.numel() for gradient in moved.values())
    assert all(not gradient.any() for gradient in stepped(PLAIN, example(0)).values())
