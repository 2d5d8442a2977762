"""Wrong versions of a whole private run: before its first step, between its parts and in what it leaves. Some law of
test_whole_run must catch each; those of a step alone are in mutants and in studies.audit.mutants.
"""

from dataclasses import replace

import numpy as np
import torch

from dpgan_lib.config import FaceStartConfig, RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.privacy import streams
from dpgan_lib.studies.audit import mutants
from dpgan_lib.studies.audit.mutants import wrap
from dpgan_lib.warm_start import embedding, face_model, fit, methods, prototypes, reader, training
from dpgan_lib.warm_start.embedding import Embedding

MUTANTS = {}


# The laws of test_whole_run, by name
REPLAY = "given what was released the data change nothing"
OWN_SUM = "an output depends on the data through its own sum alone"
START = "the critic starts from public numbers"
SPREAD = "noise has the declared spread in every output part and column"
UNRELATED = "noise is unrelated to all other noise"
NAMES = "no two configurations have the same noise"
SENSITIVITY = "one record moves each noisy sum by at most 1"
STEP = "one record moves a step by at most C"
BATCH = "a batch is of records each once with its own label"
FORMULA = "what noise is added to is what it is said to be"
COINS = "batches are drawn by coins of their own"
CHARGED = "what is computed was charged before"
KILLED = "after a kill nothing is computed that was not charged"
EPSILON = "the noise that is used spends the declared epsilon"


def of(case, *laws):
    """Register a mutant, the case (of whole_run) that it is put into, and the laws that it breaks there."""
    def registered(apply):
        apply.case, apply.laws = case, laws
        MUTANTS[apply.__name__.replace("_", " ")] = apply
        return apply

    return registered


PIXELS = 16**2  # of an image of whole_run


def remembered(patch, module, name):
    """A list to which module.name adds each result."""
    found = []

    def remember(original, *arguments, **named):
        found.append(original(*arguments, **named))
        return found[-1]

    wrap(patch, module, name, remember)
    return found


def without_noise(patch, module, columns):
    """In these columns. The noise multiplier and the random numbers come last."""
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        if isinstance(found, Embedding):
            found.sums[:, columns] = exact.sums[:, columns]
        else:
            found[:, columns] = exact[:, columns]
        return found

    wrap(patch, module, "noisy_sums", released)


def other_noise(patch, change):
    """change(stream, config, step) -> the noise of a noisy sum in the warm start's place."""
    def other(stream, config, purpose, step):
        return change(stream, config, step) if purpose == "noise" else stream(config, purpose, step)

    wrap(patch, training, "_stream", other)


def other_start(patch, change):
    """change(start, records) -> what training starts from."""
    def begun(begin, config, first, records, folder):
        start, seconds = begin(config, first, records, folder)
        return change(start, records), seconds

    wrap(patch, training, "begin", begun)


def scaled_noise(patch, module, factor):
    wrap(patch, module, "noisy_sums", lambda noisy_sums, *given: noisy_sums(*given[:-2], factor * given[-2], given[-1]))


# Noise that is not there

@of("prototypes", SPREAD)
def counts_without_noise(patch):
    without_noise(patch, prototypes, PIXELS)


@of("releases", SPREAD)
def an_embeddings_counts_without_noise(patch):
    without_noise(patch, embedding, -1)


@of("prototypes", SPREAD)
def deformations_without_noise(patch):
    without_noise(patch, prototypes, slice(PIXELS + 1, None))


@of("prototypes", SPREAD)
def one_pixel_without_noise(patch):
    without_noise(patch, prototypes, PIXELS // 2)


@of("prototypes", SPREAD)
def counts_with_half_their_noise(patch):
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        found[:, PIXELS] = (found[:, PIXELS] + exact[:, PIXELS]) / 2
        return found

    wrap(patch, prototypes, "noisy_sums", released)


@of("faces", SPREAD)
def attributes_without_noise(patch):
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        found[-3:-1, -3:-1] = exact[-3:-1, -3:-1]
        return found

    wrap(patch, face_model, "noisy_sums", released)


@of("releases", SPREAD)
def an_empty_class_without_noise(patch):
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        found.sums[exact.sums[:, -1] == 0] = 0
        return found

    wrap(patch, embedding, "noisy_sums", released)


@of("faces", SENSITIVITY)
def noise_in_units_of_the_records_that_there_are(patch):
    wrap(patch, face_model, "noisy_sums", lambda noisy_sums, images, *given: noisy_sums(
        images, *given[:-2], given[-2] * len(images) / 80, given[-1]))


# Noise that is less than declared

@of("faces", EPSILON)
def faces_with_the_noise_of_all_sums_together(patch):
    """s in the place of s / sqrt(0.8): epsilon is 1.05 where 1 is declared."""
    patch.setattr(FaceStartConfig, "round_noise", property(lambda settings: settings.release_noise))


@of("faces", SPREAD)
def faces_with_the_noise_of_all_sums_together_in_secret(patch):
    scaled_noise(patch, face_model, 0.8**0.5)


@of("people", SPREAD)
def faces_with_half_their_noise(patch):
    scaled_noise(patch, face_model, 0.5)


@of("prototypes", SPREAD)
def noise_divided_by_the_root_of_rounds_twice(patch):
    scaled_noise(patch, prototypes, 3**-0.5)


@of("prototypes", SPREAD)
def an_embedding_with_half_its_noise(patch):
    scaled_noise(patch, embedding, 0.5)


@of("prototypes", SPREAD)
def a_last_round_with_nine_tenths_of_its_noise(patch):
    """After all rounds were declared to have as much."""
    wrap(patch, prototypes, "noisy_sums", lambda noisy_sums, before, *given: noisy_sums(
        before, *given[:-2], given[-2] * (0.9 if before and before.counts.shape[1] == 2 else 1), given[-1]))


@of("faces", SPREAD)
def off_the_diagonal_too_little_noise(patch):
    """A symmetric matrix whose entries are half of two draws, with a second half for both."""
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        return torch.where(torch.eye(len(found)) == 1, found, exact + (found - exact) / 2**0.5)

    wrap(patch, face_model, "noisy_sums", released)


@of("reader", SPREAD)
def a_readers_last_step_with_four_fifths_of_its_noise(patch):
    wrap(patch, reader, "_stream", lambda stream, config, purpose, step: (
        Fainter(stream(config, purpose, step).bit_generator) if (purpose, step) == ("noise", 11)
        else stream(config, purpose, step)))


class Fainter(np.random.Generator):
    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return (0.8 * super().standard_normal(size, dtype, out)).astype(dtype)


# Noise that is there twice

@of("prototypes", UNRELATED)
def one_noise_for_all_noisy_sums(patch):
    other_noise(patch, lambda stream, config, step: stream(config, "noise", 0))


@of("prototypes", UNRELATED)
def the_last_round_with_the_noise_of_the_first(patch):
    other_noise(patch, lambda stream, config, step: stream(config, "noise", step * (step != 2)))


@of("prototypes", UNRELATED)
def noise_of_sums_shared_between_epsilons(patch):
    other_noise(patch, lambda stream, config, step: stream(replace(
        config, privacy=replace(config.privacy, epsilon=0.0, noise_multiplier=0.0),
        warm_start=replace(config.warm_start, release_noise=1.0)), "noise", step))


@of("faces", UNRELATED)
def noise_of_sums_shared_between_seeds(patch):
    other_noise(patch, lambda stream, config, step: stream(
        config if config.is_release else replace(config, seed=7), "noise", step))


@of("prototypes", NAMES)
def noise_shared_by_all_witness_weights(patch):
    whole = RunConfig.hash.fget
    patch.setattr(RunConfig, "hash", property(lambda config: whole(replace(
        config, warm_start=replace(config.warm_start, witness_weight=1.0)))))


@of("faces", SPREAD)
def noise_cut_at_three_standard_deviations(patch):
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        scale = given[-2] * (1 + (torch.eye(len(found)) == 1) * (2**0.5 - 1)) / 2**0.5
        return exact + (found - exact).clamp(-3 * scale, 3 * scale)

    wrap(patch, face_model, "noisy_sums", released)


@of("prototypes", UNRELATED)
def noise_of_sums_equal_to_that_of_steps(patch):
    other_noise(patch, lambda stream, config, step: training.stream(config.randomness, "noise", step))


@of("releases", UNRELATED)
def one_noise_for_all_classes(patch):
    def released(noisy_sums, *given):
        found, exact = noisy_sums(*given), noisy_sums(*given[:-2], 0.0, np.random.default_rng(0))
        return exact + (found - exact)[:1]

    wrap(patch, prototypes, "noisy_sums", released)


@of("reader", UNRELATED)
def one_noise_for_reader_and_critic(patch):
    wrap(patch, reader, "_stream", lambda stream, config, purpose, step: (
        reader.stream(config.randomness, purpose, step) if purpose == "noise" else stream(config, purpose, step)))


@of("reader", COINS)
def the_same_batches_for_reader_and_critic(patch):
    wrap(patch, reader, "_stream", lambda stream, config, purpose, step: (
        reader.stream(config.randomness, purpose, step) if purpose == "sampling" else stream(config, purpose, step)))


# Release mode

@of("prototypes", UNRELATED)
def a_release_whose_sums_have_the_noise_of_its_public_hash(patch):
    other_noise(patch, lambda stream, config, step: (
        training.stream(config.hash, "noise", step) if config.is_release else stream(config, "noise", step)))


@of("faces", UNRELATED)
def a_release_with_keys_of_32_bits(patch):
    wrap(patch, training, "stream", lambda stream, key, purpose, step=0: (
        stream(key, purpose, step) if key is not None
        else stream(str(streams.secrets.randbits(128) % 2**32), purpose, step)))


@of("faces", UNRELATED)
def a_release_with_half_of_each_key(patch):
    wrap(patch, training, "stream", lambda stream, key, purpose, step=0: (
        stream(key, purpose, step) if key is not None
        else stream(str(streams.secrets.randbits(128) >> 64), purpose, step)))


@of("plain", REPLAY)
def a_rate_of_the_records_that_there_are(patch):
    sample = loop.Records.sample
    patch.setattr(loop.Records, "sample", lambda records, rate, rng: sample(
        records, rate * 80 / len(records.images), rng))


@of("plain", COINS)
def a_release_whose_batches_follow_from_its_steps(patch):
    wrap(patch, loop, "stream", lambda stream, key, purpose, step=0: stream(
        "public" if purpose == "sampling" and key is None else key, purpose, step))


# What is computed from data beside noisy outputs

@of("releases", REPLAY)
def a_witness_of_the_sums_before_noise(patch):
    exact = remembered(patch, embedding, "class_sums")
    wrap(patch, training, "_witness", lambda witness, config, features, released: witness(
        config, features, Embedding(exact[-1], released.noise_multiplier)))


@of("prototypes", REPLAY)
def a_generator_fitted_to_the_sums_before_noise(patch):
    exact = remembered(patch, embedding, "class_sums")
    wrap(patch, fit, "fit", lambda fitted, generator, posterior, features, released, *rest: fitted(
        generator, posterior, features, Embedding(exact[-1], released.noise_multiplier), *rest))


def shares_of(records):
    return records.categories.double().sum(0) / records.categories.double().sum()


@of("prototypes", REPLAY)
def first_prototypes_of_the_sums_before_noise(patch):
    """The generator starts from them; what is stored has noise."""
    exact = remembered(patch, prototypes, "style_sums")
    wrap(patch, methods.PrototypeRounds, "generator", lambda generator, rounds, config, sums: generator(
        rounds, config, exact[-len(sums):]))


@of("faces", REPLAY)
def eigenfaces_of_the_sums_before_noise(patch):
    exact = remembered(patch, face_model, "second_moments")
    wrap(patch, face_model, "read", lambda read, sums, *rest: read(exact[-1], *rest))


@of("releases", REPLAY)
def shares_of_the_true_labels(patch):
    other_start(patch, lambda start, records: replace(start, shares=shares_of(records)))


@of("prototypes", REPLAY)
def fakes_in_the_shares_of_the_true_labels(patch):
    """The shares that are released have noise."""
    seen = remembered(patch, loop, "on_device")
    wrap(patch, loop, "draw_latent", lambda draw, config, count, step, device, start=None: draw(
        config, count, step, device, start and replace(start, shares=shares_of(seen[-1]))))


def nudged(network, records):
    with torch.no_grad():
        next(network.parameters()).add_(records.images.mean(), alpha=1e-3)


@of("prototypes", REPLAY)
def a_generator_nudged_by_the_data(patch):
    other_start(patch, lambda start, records: nudged(start.generator, records) or start)


@of("reader", REPLAY)
def a_posterior_nudged_by_the_data(patch):
    other_start(patch, lambda start, records: nudged(start.posterior, records) or start)


def other_state(patch, change):
    """change(state, records): of a state before the first step."""
    seen = remembered(patch, loop, "on_device")

    def changed(new_state, *given):
        state = new_state(*given)
        change(state, seen[-1])
        return state

    wrap(patch, loop, "new_state", changed)


@of("plain", REPLAY)
def an_average_that_starts_from_the_data(patch):
    other_state(patch, lambda state, records: nudged(state.average, records))


@of("plain", REPLAY, START)
def a_critic_whose_biases_start_at_the_labels_shares(patch):
    other_state(patch, lambda state, records: state.critic.scores.bias.data.copy_(shares_of(records)))


@of("prototypes", START)
def a_critic_whose_biases_start_at_the_released_shares(patch):
    """Private, and not what is said."""
    other_state(patch, lambda state, records: state.critic.scores.bias.data.copy_(state.start.shares))


@of("reader", REPLAY)
def a_reader_whitened_by_the_data(patch):
    seen = remembered(patch, reader, "on_device")

    def of_the_data(whitening, scattering, images, settings):
        return whitening(scattering, seen[-1].images.nan_to_num()[: len(images)], settings)

    wrap(patch, reader, "whitening", of_the_data)


@of("plain", REPLAY)
def a_history_that_tells_of_the_data(patch):
    def block(train_block, config, state, records):
        train_block(config, state, records)
        if state.history:
            step, bound = state.history[-1]
            state.history[-1] = (step, round(bound + float(records.images.mean()), 4))

    wrap(patch, loop, "train_block", block)


@of("plain", REPLAY)
def a_checkpoint_that_keeps_a_sum_of_the_data(patch):
    seen = remembered(patch, loop, "on_device")

    def save(save_checkpoint, config, state, folder):
        save_checkpoint(config, state, folder)
        np.save(folder / "sum.npy", seen[-1].images.sum(0).numpy())

    wrap(patch, loop, "save_checkpoint", save)


@of("prototypes", OWN_SUM)
def records_matched_with_prototypes_before_noise(patch):
    exact = remembered(patch, prototypes, "style_sums")
    wrap(patch, methods.PrototypeRounds, "noisy_sums", lambda noisy_sums, rounds, config, before, *rest: noisy_sums(
        rounds, config, exact[-len(before):] if before else [], *rest))


@of("plain", OWN_SUM)
def a_step_with_some_of_the_last_batch(patch):
    seen = []

    def step(critic_step, critic, optimiser, real, *rest):
        seen.append(real)
        before = seen[-2:-1] or [tuple(half[:0] for half in real)]
        critic_step(critic, optimiser, tuple(torch.cat([new, old[:1]]) for new, old in zip(real, before[0])), *rest)

    wrap(patch, loop, "critic_step", step)


# More than one record's share

@of("releases", SENSITIVITY, FORMULA)
def a_record_counted_twice(patch):
    wrap(patch, embedding, "class_sums", lambda sums, features, images, categories: sums(
        features, torch.cat([images, images[-1:]]), torch.cat([categories, categories[-1:]])))


@of("prototypes", SENSITIVITY)
def a_record_in_two_styles(patch):
    wrap(patch, prototypes, "style_sums", lambda sums, guess, images, categories, settings: (
        lambda found: found + found.roll(1, 0))(sums(guess, images, categories, settings)))


@of("prototypes", SENSITIVITY)
def the_class_of_a_record_chosen_by_others(patch):
    wrap(patch, prototypes, "style_sums", lambda sums, guess, images, categories, settings: sums(
        guess, images, categories.roll(len(images) % 2, 1), settings))


@of("faces", SENSITIVITY, FORMULA)
def images_scaled_by_the_brightest_of_all(patch):
    wrap(patch, face_model, "second_moments", lambda sums, images, *rest: sums(
        images / images.nan_to_num(0, 0, 0).abs().max(), *rest))


@of("releases", SENSITIVITY, FORMULA)
def classes_of_few_records_left_out_before_the_noise(patch):
    def kept(sums, *given):
        found = sums(*given)
        return torch.where(found[:, -1:] / embedding.SHARE < 13.5, 0, found)

    wrap(patch, embedding, "class_sums", kept)


@of("people", SENSITIVITY, FORMULA)
def all_images_of_a_person_in_the_sums(patch):
    sample = loop.Records.sample
    patch.setattr(loop.Records, "sample", lambda records, rate, rng: (
        np.concatenate(records.people) if rate == 1 else sample(records, rate, rng)))


@of("people", BATCH, COINS)
def all_images_of_a_person_in_a_batch(patch):
    sample = loop.Records.sample
    patch.setattr(loop.Records, "sample", lambda records, rate, rng: (
        sample(records, rate, rng) if rate == 1 else np.concatenate([
            records.people[person] for person in loop.poisson_sample(len(records.people), rate, rng)])))


@of("plain", BATCH)
def a_record_twice_in_a_batch(patch):
    wrap(patch, loop, "poisson_sample", lambda sample, *given: np.append(rows := sample(*given), rows[:1]))


@of("plain", BATCH)
def labels_of_other_records_in_a_batch(patch):
    wrap(patch, loop, "train_block", lambda block, config, state, records: block(
        config, state, replace(records, categories=records.categories.roll(1, 0))))


@of("faces", SENSITIVITY)
def images_that_are_not_clipped(patch):
    """Of an infinite image, no number is left."""
    def rows_of(rows, images, *rest):
        found = rows(images, *rest)
        return torch.where(images.flatten(1).isfinite().all(1, keepdim=True), found, torch.nan)

    wrap(patch, face_model, "bounded_rows", rows_of)


@of("plain", STEP)
def steps_without_a_clip(patch):
    mutants.no_clip(patch)


# The account

@of("prototypes", CHARGED)
def sums_charged_after_they_are_computed(patch):
    wrap(patch, training, "charge", lambda charge, folder, steps: charge(folder, steps - 1))


@of("reader", CHARGED)
def a_readers_blocks_charged_after_they_are_computed(patch):
    wrap(patch, reader, "charge", lambda charge, folder, steps: charge(folder, max(0, steps - reader.BLOCK)))


@of("plain", CHARGED)
def steps_charged_after_they_are_computed(patch):
    wrap(patch, loop, "charge", lambda charge, folder, steps: charge(folder, max(0, steps - 2)))


@of("faces", CHARGED)
def data_looked_at_before_the_first_charge(patch):
    wrap(patch, training, "begin", lambda begin, config, first, records, folder: (
        records.images.mean(), begin(config, first, records, folder))[1])


@of("prototypes", KILLED)
def a_lost_sum_computed_again_for_nothing(patch):
    patch.setattr(training, "charged", lambda folder: 0)


@of("reader", KILLED)
def a_readers_lost_steps_taken_again_for_nothing(patch):
    patch.setattr(reader, "charged", lambda folder: 0)


@of("plain", KILLED)
def lost_steps_taken_again_for_nothing(patch):
    patch.setattr(loop, "charged", lambda folder: 0)


@of("faces", KILLED)
def a_demonstration_that_goes_on_with_fresh_noise(patch):
    starts = remembered(patch, training, "_load")
    other_noise(patch, lambda stream, config, step: (
        stream(config, "noise", step) if config.is_release
        else training.stream(f"{config.hash}{len(starts)}", "noise", step)))
