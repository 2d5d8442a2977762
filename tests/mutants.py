"""Wrong versions of the private reader's step; some law of test_laws must catch each. Those of the critic's step are in
studies.audit.mutants, where an auditor is set to find them.
"""

import math

import torch
from torch.nn import functional as F

from dpgan_lib.gan import steps as steps_module
from dpgan_lib.gan.networks import Reader
from dpgan_lib.privacy import clipping
from dpgan_lib.studies.audit.mutants import wrap
from dpgan_lib.warm_start import reader


def wrap_readers_mean(patch, change):
    """Put change(noisy_mean, model, inputs, **public) in the place of noisy_mean for a reader, and for nobody else."""
    wrap(patch, steps_module, "noisy_mean", lambda mean, model, inputs, **public: (
        change(mean, model, inputs, **public) if isinstance(model, Reader) else mean(model, inputs, **public)))


def a_reader_without_a_clip(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, inputs, sum_of=lambda model, inputs, _: clipping.clipped_sum(model, inputs, math.inf), **public))


def a_reader_without_noise(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, inputs, **public | {"noise_multiplier": 0.0}))


def a_readers_noise_that_is_not_scaled_by_C(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, clip_norm, noise_multiplier, **public: mean(
        model, inputs, clip_norm=clip_norm, noise_multiplier=noise_multiplier / clip_norm, **public))


def a_reader_divided_by_the_realised_batch(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, expected_batch, **public: mean(
        model, inputs, expected_batch=max(1, len(inputs[0])), **public))


def a_readers_bias_left_out_of_the_norm(patch):
    def without_bias(model, inputs, clip_norm):
        features, category = inputs
        error = category - category.sum(1, keepdim=True) * torch.softmax(model.logits(features).detach(), 1)
        norms = error.norm(dim=1) * features.norm(dim=1)
        error = error.nan_to_num() * torch.where(norms.isfinite(), (clip_norm / norms).clamp(max=1), 0)[:, None]
        return {"logits.weight": error.T @ features.nan_to_num(posinf=0.0, neginf=0.0), "logits.bias": error.sum(0)}

    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(model, inputs, sum_of=without_bias, **public))


def a_readers_features_centred_on_the_batch(patch):
    """A normalisation over records, as in a batch norm, before the clip."""
    wrap_readers_mean(patch, lambda mean, model, inputs, **public: mean(
        model, (inputs[0] - inputs[0].nan_to_num().sum(0) / max(1, len(inputs[0])), inputs[1]), **public))


def no_readers_noise_on_an_empty_batch(patch):
    wrap_readers_mean(patch, lambda mean, model, inputs, *, noise_multiplier, **public: mean(
        model, inputs, noise_multiplier=noise_multiplier * (len(inputs[0]) > 0), **public))


def a_readers_step_that_is_not_counted(patch):
    def block(train_block, config, state, records):
        first = state.step
        train_block(config, state, records)
        state.step -= first == 0 and state.step > 1

    wrap(patch, reader, "train_block", block)


def a_readers_noise_reused_between_steps(patch):
    wrap(patch, reader, "stream", lambda stream, key, purpose, step=0: stream(
        key, purpose, 0 if purpose == "noise" else step))


def a_readers_fresh_noise_on_resume(patch):
    processes = []

    def load(load_checkpoint, *arguments):
        processes.append(None)
        return load_checkpoint(*arguments)

    wrap(patch, reader, "_load", load)
    wrap(patch, reader, "stream", lambda stream, key, purpose, step=0: stream(
        f"{key}{len(processes)}" if purpose == "noise" else key, purpose, step))


def a_reader_with_a_second_writer(patch):
    def step(reader_step, network, optimiser, real, *rest):
        reader_step(network, optimiser, real, *rest)
        with torch.no_grad():  # as often as it is right, a label is said more often
            right = F.one_hot(network.logits(real[0]).argmax(1), real[1].shape[1]) * real[1]
            network.logits.bias.add_(right.sum(0), alpha=1e-3)

    wrap(patch, reader, "reader_step", step)


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


READERS = {apply.__name__.replace("_", " "): apply for apply in (
    a_reader_without_a_clip,
    a_reader_without_noise,
    a_readers_noise_that_is_not_scaled_by_C,
    a_reader_divided_by_the_realised_batch,
    a_readers_bias_left_out_of_the_norm,
    a_readers_features_centred_on_the_batch,
    no_readers_noise_on_an_empty_batch,
    a_readers_step_that_is_not_counted,
    a_readers_noise_reused_between_steps,
    a_readers_fresh_noise_on_resume,
    a_reader_with_a_second_writer,
    a_readers_features_whitened_by_the_data)}
