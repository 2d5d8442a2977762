"""Ways to break the private mechanism, most of them seen in the wild. Each is a small patch of the real library.

A mutant is wrong in silence: it trains, it logs the planned values, its epsilon is a lie. An auditor has to see through
each of them (watch), and some law of the mechanism has to fail for each.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Protocol
from unittest import mock

import numpy as np
import torch
from torch import nn

from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan import steps as steps_module
from dpgan_lib.privacy import clipping, mechanism

BATCHES_PER_EPOCH = 5  # 1 / q of the runs that mutants are put into


class Patch(Protocol):
    """What puts other definitions in place, and takes them away again: _Patches, or pytest's MonkeyPatch."""

    def setattr(self, owner, name: str, value) -> None:
        """owner.name = value, for the time being."""


@contextmanager
def patches() -> Iterator[Patch]:
    """Other definitions are in place until the end of a with block."""
    with ExitStack() as stack:
        yield _Patches(stack)


class _Patches:
    def __init__(self, stack: ExitStack):
        self.stack = stack

    def setattr(self, owner, name: str, value) -> None:
        self.stack.enter_context(mock.patch.object(owner, name, value))


def wrap(patch, module, name, wrapper):
    """Put wrapper(original, *arguments) in the place of module.name."""
    original = getattr(module, name)
    patch.setattr(module, name, lambda *arguments, **named: wrapper(original, *arguments, **named))


def halved_noise(patch):
    wrap(patch, mechanism, "_normal", lambda normal, *arguments: normal(*arguments) / 2)


def biases_without_noise(patch):
    wrap(patch, mechanism, "_normal", lambda normal, like, rng: normal(like, rng) * (like.dim() > 1))


def uniform_noise(patch):
    """Of the right spread."""
    patch.setattr(mechanism, "_normal", lambda like, rng: torch.from_numpy(
        rng.uniform(-math.sqrt(3), math.sqrt(3), like.shape).astype(np.float32)))


def no_noise_on_an_empty_batch(patch):
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, *, noise_multiplier, **public: mean(
        model, inputs, noise_multiplier=noise_multiplier * (len(inputs[0]) > 0), **public))


def noise_reused_between_steps(patch):
    wrap(patch, loop, "stream", lambda stream, key, purpose, step=0: stream(
        key, purpose, 0 if purpose == "noise" else step))


def noise_reused_between_parameters(patch):
    wrap(patch, mechanism, "_normal", lambda normal, like, rng: normal(like, copy.deepcopy(rng)))


def noise_shared_between_epsilons(patch):
    """The key of a run's randomness leaves epsilon and what follows from it out."""
    whole = RunConfig.hash.fget  # type: ignore[attr-defined]  # of a property
    patch.setattr(RunConfig, "hash", property(lambda config: whole(replace(
        config, privacy=replace(config.privacy, epsilon=0.0, noise_multiplier=0.0)))))


def no_clip(patch):
    wrap(patch, mechanism, "clipped_sum", lambda clipped_sum, model, inputs, _: clipped_sum(model, inputs, math.inf))


def convolutions_left_out_of_the_norm(patch):
    def factors_of(factors, layer, *rest):
        squares, gradients = factors(layer, *rest)
        return squares * isinstance(layer, nn.Linear), gradients

    wrap(patch, clipping, "_factors", factors_of)


def weight_zero_for_nan_instead_of_a_mask(patch):
    patch.setattr(clipping, "_kept", lambda tensor, counted: tensor)


def the_sum_clipped_instead_of_each_record(patch):
    def clip(clipped_sum, model, inputs, clip_norm):
        sums = clipped_sum(model, inputs, math.inf)
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in sums.values()))
        factor = min(1.0, len(inputs[0]) * clip_norm / norm) if norm else 1.0
        return {name: gradient * factor for name, gradient in sums.items()}

    wrap(patch, mechanism, "clipped_sum", clip)


def small_gradients_stretched_to_C(patch):
    """Scaled by C / norm, never mind whether the norm is above C: private, but another algorithm."""
    def stretch(clipped_sum, model, inputs, clip_norm):
        tiny = 1e-6 * min(clip_norm, 1.0)
        return {name: gradient * (clip_norm / tiny) for name, gradient in clipped_sum(model, inputs, tiny).items()}

    wrap(patch, mechanism, "clipped_sum", lambda clipped_sum, model, inputs, clip_norm: (
        clipped_sum(model, inputs, clip_norm) if math.isinf(clip_norm)
        else stretch(clipped_sum, model, inputs, clip_norm)))


def realised_batch_divisor(patch):
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, *, expected_batch, **public: mean(
        model, inputs, expected_batch=max(1, len(inputs[0])), **public))


def fakes_counted_by_the_realised_batch(patch):
    wrap(patch, loop, "critic_step", lambda critic_step, critic, optimiser, real, fake, *rest: critic_step(
        critic, optimiser, real, tuple(half[: max(1, len(real[0]))] for half in fake), *rest))


def steps_skipped_where_a_score_is_not_finite(patch):
    def step(critic_step, critic, optimiser, real, fake, *rest):
        if critic(*real).isfinite().all():
            critic_step(critic, optimiser, real, fake, *rest)
        else:
            for parameter in critic.parameters():
                parameter.grad = torch.zeros_like(parameter)

    wrap(patch, loop, "critic_step", step)


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


def batches_cut_to_a_shape(patch):
    wrap(patch, loop, "poisson_sample", lambda sample, records, sampling_rate, rng: sample(
        records, sampling_rate, rng)[: round(1.1 * records * sampling_rate)])


def steps_rounded_up_to_whole_blocks(patch):
    def block(train_block, config, state, records):
        size = config.optimiser.critic_steps
        steps = math.ceil(config.privacy.steps / size) * size
        train_block(replace(config, privacy=replace(config.privacy, steps=steps)), state, records)

    wrap(patch, loop, "train_block", block)


def accountant_not_restored_on_resume(patch):
    """The steps done are forgotten, the weights are not: the budget is spent once more."""
    def load(load_checkpoint, *arguments):
        state = load_checkpoint(*arguments)
        if state is not None:
            state.step = 0
        return state

    wrap(patch, loop, "load_checkpoint", load)


def fresh_noise_on_resume(patch):
    """Steps that a crash undid are repeated with other noise: two releases, charged as one."""
    processes = []

    def load(load_checkpoint, *arguments):
        processes.append(None)
        return load_checkpoint(*arguments)

    wrap(patch, loop, "load_checkpoint", load)
    wrap(patch, loop, "stream", lambda stream, key, purpose, step=0: stream(
        f"{key}{len(processes)}" if purpose == "noise" else key, purpose, step))


def a_generator_that_sees_the_data(patch):
    def block(train_block, config, state, records):
        train_block(config, state, records)
        with torch.no_grad():  # its images are as bright as the data's, on average
            state.generator.layers[-2].bias.add_(records.images.mean(), alpha=0.01)

    wrap(patch, loop, "train_block", block)


def a_critic_with_a_second_writer(patch):
    def step(critic_step, critic, optimiser, real, *rest):
        critic_step(critic, optimiser, real, *rest)
        with torch.no_grad():  # centres the scores on those of the real batch
            critic.scores.bias.sub_(critic(*real).nan_to_num().sum(), alpha=1e-3)
            critic.project()

    wrap(patch, loop, "critic_step", step)


def batches_of_one_size(patch):
    """Without replacement, as many records each time; accounted for as Poisson."""
    patch.setattr(loop, "poisson_sample", lambda records, sampling_rate, rng: rng.choice(
        records, min(records, round(records * sampling_rate)), replace=False))


def noise_on_the_last_layer_alone(patch):
    wrap(patch, mechanism, "_normal", lambda normal, like, rng: normal(like, rng) * (like.dim() < 4))


def a_step_lost_on_resume(patch):
    """The checkpoint counts one step too few, so a step's noise is drawn again, at other weights."""
    def load(load_checkpoint, *arguments):
        state = load_checkpoint(*arguments)
        if state is not None:
            state.step -= 1
        return state

    wrap(patch, loop, "load_checkpoint", load)


MUTANTS: dict[str, Callable[[Patch], None]] = {apply.__name__.replace("_", " "): apply for apply in (
    halved_noise, biases_without_noise, uniform_noise, no_noise_on_an_empty_batch, noise_reused_between_steps,
    noise_reused_between_parameters, noise_shared_between_epsilons, no_clip, convolutions_left_out_of_the_norm,
    weight_zero_for_nan_instead_of_a_mask, the_sum_clipped_instead_of_each_record, small_gradients_stretched_to_C,
    realised_batch_divisor, fakes_counted_by_the_realised_batch, steps_skipped_where_a_score_is_not_finite,
    shuffled_batches, batches_cut_to_a_shape, steps_rounded_up_to_whole_blocks, accountant_not_restored_on_resume,
    fresh_noise_on_resume, a_generator_that_sees_the_data, a_critic_with_a_second_writer, batches_of_one_size,
    noise_on_the_last_layer_alone, a_step_lost_on_resume)}
