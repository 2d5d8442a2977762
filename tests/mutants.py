"""Ways to break the private mechanism, most of them seen in the wild. Each is a small patch of the real library.

A mutant is wrong in silence: it trains, it logs the planned values, its epsilon is a lie.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan import steps as steps_module
from dpgan_lib.gan.networks import Reader
from dpgan_lib.privacy import clipping, mechanism
from dpgan_lib.warm_start import reader

BATCHES_PER_EPOCH = 5  # 1 / q of the laws' runs
MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def mutant(apply):
    MUTANTS[apply.__name__.replace("_", " ")] = apply
    return apply


def wrap(patch, module, name, wrapper):
    """Put wrapper(original, *arguments) in the place of module.name."""
    original = getattr(module, name)
    patch.setattr(module, name, lambda *arguments, **named: wrapper(original, *arguments, **named))


@mutant
def halved_noise(patch):
    wrap(patch, mechanism, "_normal", lambda normal, *arguments: normal(*arguments) / 2)


@mutant
def biases_without_noise(patch):
    wrap(patch, mechanism, "_normal", lambda normal, like, rng: normal(like, rng) * (like.dim() > 1))


@mutant
def uniform_noise(patch):
    """Of the right spread."""
    patch.setattr(mechanism, "_normal", lambda like, rng: torch.from_numpy(
        rng.uniform(-math.sqrt(3), math.sqrt(3), like.shape).astype(np.float32)))


@mutant
def no_noise_on_an_empty_batch(patch):
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, *, noise_multiplier, **public: mean(
        model, inputs, noise_multiplier=noise_multiplier * (len(inputs[0]) > 0), **public))


@mutant
def noise_reused_between_steps(patch):
    wrap(patch, loop, "stream", lambda stream, key, purpose, step=0: stream(
        key, purpose, 0 if purpose == "noise" else step))


@mutant
def noise_reused_between_parameters(patch):
    wrap(patch, mechanism, "_normal", lambda normal, like, rng: normal(like, copy.deepcopy(rng)))


@mutant
def noise_shared_between_epsilons(patch):
    """The key of a run's randomness leaves epsilon and what follows from it out."""
    whole = RunConfig.hash.fget
    patch.setattr(RunConfig, "hash", property(lambda config: whole(replace(
        config, privacy=replace(config.privacy, epsilon=0.0, noise_multiplier=0.0)))))


@mutant
def no_clip(patch):
    wrap(patch, mechanism, "clipped_sum", lambda clipped_sum, model, inputs, _: clipped_sum(model, inputs, math.inf))


@mutant
def convolutions_left_out_of_the_norm(patch):
    def factors_of(factors, layer, *rest):
        squares, gradients = factors(layer, *rest)
        return squares * isinstance(layer, nn.Linear), gradients

    wrap(patch, clipping, "_factors", factors_of)


@mutant
def weight_zero_for_nan_instead_of_a_mask(patch):
    patch.setattr(clipping, "_kept", lambda tensor, counted: tensor)


@mutant
def the_sum_clipped_instead_of_each_record(patch):
    def clip(clipped_sum, model, inputs, clip_norm):
        sums = clipped_sum(model, inputs, math.inf)
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in sums.values()))
        factor = min(1.0, len(inputs[0]) * clip_norm / norm) if norm else 1.0
        return {name: gradient * factor for name, gradient in sums.items()}

    wrap(patch, mechanism, "clipped_sum", clip)


@mutant
def small_gradients_stretched_to_C(patch):
    """Scaled by C / norm, never mind whether the norm is above C: private, but another algorithm."""
    def stretch(clipped_sum, model, inputs, clip_norm):
        tiny = 1e-6 * min(clip_norm, 1.0)
        return {name: gradient * (clip_norm / tiny) for name, gradient in clipped_sum(model, inputs, tiny).items()}

    wrap(patch, mechanism, "clipped_sum", lambda clipped_sum, model, inputs, clip_norm: (
        clipped_sum(model, inputs, clip_norm) if math.isinf(clip_norm)
        else stretch(clipped_sum, model, inputs, clip_norm)))


@mutant
def realised_batch_divisor(patch):
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, *, expected_batch, **public: mean(
        model, inputs, expected_batch=max(1, len(inputs[0])), **public))


@mutant
def fakes_counted_by_the_realised_batch(patch):
    wrap(patch, loop, "critic_step", lambda critic_step, critic, optimiser, real, fake, *rest: critic_step(
        critic, optimiser, real, tuple(half[: max(1, len(real[0]))] for half in fake), *rest))


@mutant
def steps_skipped_where_a_score_is_not_finite(patch):
    def step(critic_step, critic, optimiser, real, fake, *rest):
        if critic(*real).isfinite().all():
            critic_step(critic, optimiser, real, fake, *rest)
        else:
            for parameter in critic.parameters():
                parameter.grad = torch.zeros_like(parameter)

    wrap(patch, loop, "critic_step", step)


@mutant
def shuffled_batches(patch):
    """Each epoch a permutation, cut into batches of one size; accounted for as Poisson."""
    part = 0

    def of_the_epoch(stream, key, purpose, step=0):
        nonlocal part
        if purpose == "sampling":
            step, part = divmod(step, BATCHES_PER_EPOCH)
        return stream(key, purpose, step)

    wrap(patch, loop, "stream", of_the_epoch)
    patch.setattr(loop, "poisson_sample", lambda records, sampling_rate, rng: np.array_split(
        rng.permutation(records), BATCHES_PER_EPOCH)[part])


@mutant
def batches_cut_to_a_shape(patch):
    wrap(patch, loop, "poisson_sample", lambda sample, records, sampling_rate, rng: sample(
        records, sampling_rate, rng)[: round(1.1 * records * sampling_rate)])


@mutant
def steps_rounded_up_to_whole_blocks(patch):
    def block(train_block, config, state, records):
        size = config.optimiser.critic_steps
        steps = math.ceil(config.privacy.steps / size) * size
        train_block(replace(config, privacy=replace(config.privacy, steps=steps)), state, records)

    wrap(patch, loop, "train_block", block)


@mutant
def accountant_not_restored_on_resume(patch):
    """The steps done are forgotten, the weights are not: the budget is spent once more."""
    def load(load_checkpoint, *arguments):
        state = load_checkpoint(*arguments)
        if state is not None:
            state.step = 0
        return state

    wrap(patch, loop, "load_checkpoint", load)


@mutant
def fresh_noise_on_resume(patch):
    """Steps that a crash undid are repeated with other noise: two releases, charged as one."""
    processes = []

    def load(load_checkpoint, *arguments):
        processes.append(None)
        return load_checkpoint(*arguments)

    wrap(patch, loop, "load_checkpoint", load)
    wrap(patch, loop, "stream", lambda stream, key, purpose, step=0: stream(
        f"{key}{len(processes)}" if purpose == "noise" else key, purpose, step))


@mutant
def a_generator_that_sees_the_data(patch):
    def block(train_block, config, state, records):
        train_block(config, state, records)
        with torch.no_grad():  # its images are as bright as the data's, on average
            state.generator.layers[-2].bias.add_(records.images.mean(), alpha=0.01)

    wrap(patch, loop, "train_block", block)


@mutant
def a_critic_with_a_second_writer(patch):
    def step(critic_step, critic, optimiser, real, *rest):
        critic_step(critic, optimiser, real, *rest)
        with torch.no_grad():  # centres the scores on those of the real batch
            critic.scores.bias.sub_(critic(*real).nan_to_num().sum(), alpha=1e-3)
            critic.project()

    wrap(patch, loop, "critic_step", step)


# Of the private reader


def wrap_readers_mean(patch, change):
    """Put change(noisy_mean, model, inputs, **public) in the place of noisy_mean for a reader, and for nobody else."""
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, **public: (
        change(mean, model, inputs, **public) if isinstance(model, Reader) else mean(model, inputs, **public)))


@mutant
def a_reader_without_a_clip(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, inputs, sum_of=lambda model, inputs, _: clipping.clipped_sum(model, inputs, math.inf), **public))


@mutant
def a_reader_without_noise(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, inputs, **public | {"noise_multiplier": 0.0}))


@mutant
def a_readers_noise_that_is_not_scaled_by_C(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, clip_norm, noise_multiplier, **public: mean(
        model, inputs, clip_norm=clip_norm, noise_multiplier=noise_multiplier / clip_norm, **public))


@mutant
def a_reader_divided_by_the_realised_batch(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, expected_batch, **public: mean(
        model, inputs, expected_batch=max(1, len(inputs[0])), **public))


@mutant
def a_readers_bias_left_out_of_the_norm(patch):
    def without_bias(model, inputs, clip_norm):
        features, category = inputs
        error = category - category.sum(1, keepdim=True) * torch.softmax(model.logits(features).detach(), 1)
        norms = error.norm(dim=1) * features.norm(dim=1)
        error = error.nan_to_num() * torch.where(norms.isfinite(), (clip_norm / norms).clamp(max=1), 0)[:, None]
        return {"logits.weight": error.T @ features.nan_to_num(posinf=0.0, neginf=0.0), "logits.bias": error.sum(0)}

    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(model, inputs, sum_of=without_bias, **public))


@mutant
def a_readers_features_centred_on_the_batch(patch):
    """A normalisation over records, as in a batch norm, before the clip."""
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, (inputs[0] - inputs[0].nan_to_num().sum(0) / max(1, len(inputs[0])), inputs[1]), **public))


@mutant
def no_readers_noise_on_an_empty_batch(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, noise_multiplier, **public: mean(
        model, inputs, noise_multiplier=noise_multiplier * (len(inputs[0]) > 0), **public))


@mutant
def a_readers_step_that_is_not_counted(patch):
    def block(train_block, config, state, records):
        first = state.step
        train_block(config, state, records)
        state.step -= first == 0 and state.step > 1

    wrap(patch, reader, "train_block", block)


@mutant
def a_readers_noise_reused_between_steps(patch):
    wrap(patch, reader, "stream", lambda stream, key, purpose, step=0: stream(
        key, purpose, 0 if purpose == "noise" else step))


@mutant
def a_readers_fresh_noise_on_resume(patch):
    processes = []

    def load(load_checkpoint, *arguments):
        processes.append(None)
        return load_checkpoint(*arguments)

    wrap(patch, reader, "_load", load)
    wrap(patch, reader, "stream", lambda stream, key, purpose, step=0: stream(
        f"{key}{len(processes)}" if purpose == "noise" else key, purpose, step))


@mutant
def a_reader_with_a_second_writer(patch):
    def step(reader_step, network, optimiser, real, *rest):
        reader_step(network, optimiser, real, *rest)
        with torch.no_grad():  # as often as it is right, a label is said more often
            right = F.one_hot(network.logits(real[0]).argmax(1), real[1].shape[1]) * real[1]
            network.logits.bias.add_(right.sum(0), alpha=1e-3)

    wrap(patch, reader, "reader_step", step)


@mutant
def a_readers_features_whitened_by_the_data(patch):
    seen = []

    def remembered(on_device, *arguments):
        seen.append(on_device(*arguments))
        return seen[-1]

    def of_the_data(new_state, config, generator):
        state = new_state(config, generator)
        state.features.mean = state.features.scattering(seen[-1].images).mean(0)
        return state

    wrap(patch, reader, "on_device", remembered)
    wrap(patch, reader, "new_state", of_the_data)
