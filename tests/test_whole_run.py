"""Laws over the whole of a private run, from its first noisy sum to what it leaves on disk; and mutants, each of which
breaks some law. They hold for every private method, in the seeded demonstration and in release mode.

A law is a plain function of a case (see whole_run) that raises AssertionError. Laws of the critic's and the reader's
steps alone are in test_laws.
"""

import copy
import hashlib
import math
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import fft, stats
from whole_run import (
    ATTRIBUTES,
    BATCH,
    BLOCK,
    CASES,
    CATEGORIES,
    CLIP,
    DIRECTIONS,
    FACES,
    FREQUENCIES,
    NOISES,
    NOT_PRIVATE,
    READER_STEPS,
    RECORDS,
    SIDE,
    STEPS,
    WARM,
    Data,
    Entropy,
    Killed,
    Seen,
    data,
    garbage,
    is_same,
    left,
    planned,
    run,
)
from whole_run_mutants import MUTANTS

from dpgan_lib.config import config_from
from dpgan_lib.gan import loop
from dpgan_lib.gan.networks import Critic, Reader, build_networks
from dpgan_lib.privacy import accounting
from dpgan_lib.privacy.accounting import SampledGaussian
from dpgan_lib.privacy.streams import stream
from dpgan_lib.studies import study
from dpgan_lib.warm_start import methods, reader
from dpgan_lib.warm_start.deformations import PARAMETERS
from dpgan_lib.warm_start.face_model import COLOURS
from dpgan_lib.warm_start.features import Features

# How often a correct library would fail one statistical check. There are some 50,000, nearly all of single columns, and
# all are seeded.
RARE = 1e-7
LAWS, OF = {}, {}


def law(cases):
    """Register a law, and the cases that it is of."""
    def registered(function):
        name = function.__name__.removeprefix("law_").replace("_", " ")
        LAWS[name], OF[name] = function, list(cases)
        return function

    return registered


# The runs: each is computed once, for all laws

ENTROPY = Entropy(0)


def rounds_of(case):
    return 0 if case == "plain" else planned(case).warm_start.first_rounds + 1


@cache
def demonstration(case, seed=0, noises=NOISES[0]):
    return run(planned(case, seed=seed, noises=noises), case, data(case))


@cache
def released(case, entropy=ENTROPY):
    return run(planned(case, seed=None), case, data(case), entropy=entropy)


def again(seen, given=None, **how):
    """The same run, of other data, given what the first one released. It must not break off, whatever the data."""
    try:
        return run(seen.config, seen.case, data(seen.case) if given is None else given, entropy=seen.entropy,
                   replay=seen, **how)
    except (RuntimeError, ValueError) as error:
        raise AssertionError("the run broke off") from error


def several(case):
    """Two seeds, two epsilons, and releases whose entropy differs by one of each number's 128 bits: the first and, in
    the quicker cases, the last.
    """
    flipped = [1 << 127] + [1] * (case in ("plain", "faces"))
    return [demonstration(case), demonstration(case, seed=1), demonstration(case, noises=NOISES[1]), released(case),
            *(released(case, Entropy(0, bit)) for bit in flipped)]


# Record and replay

@law(CASES)
def law_given_what_was_released_the_data_change_nothing(case):
    """Networks, what the generator meets, shares, history and every file: the same to the bit, of garbage."""
    for seen, same_number in ((demonstration(case), True), (released(case), False)):
        replayed = again(seen, garbage(case, same_number=same_number))
        one, other = left(seen), left(replayed)
        assert list(one) == list(other)
        assert not [name for name in one if not is_same(one[name], other[name])]


@law(CASES)
def law_an_output_depends_on_the_data_through_its_own_sum_alone(case):
    """Given what was released before, garbage in the place of all that the outputs before and after it were of."""
    seen = demonstration(case)
    for lost in (0, 1):
        other = again(seen, lost=lost)
        for kind in ("sums", "reader", "critic"):
            pairs = list(zip(getattr(seen, kind), getattr(other, kind), strict=True))
            for number, (one, another) in enumerate(pairs, start=kind != "sums"):
                assert number % 2 == lost or bits(one) == bits(another), (kind, number)


@law(CASES)
def law_the_critic_starts_from_public_numbers(case):
    """From seeded weights; beside a witness its scores are 0."""
    seen = demonstration(case)
    config = seen.config
    _, expected, _ = build_networks(config.latent, config.model, stream(config.randomness, "initial weights"))
    if case != "plain":
        torch.nn.init.zeros_(expected.scores.weight)
        torch.nn.init.zeros_(expected.scores.bias)
    found = seen.critic[0].before[0] if seen.critic else seen.state.critic.state_dict()
    assert is_same(dict(found), dict(expected.state_dict()))
    assert not seen.critic or not seen.critic[0].before[1]["state"], "its optimiser has seen nothing"


# Noise

@dataclass
class Noise:
    """Of one noisy output, in units of what was declared. numbers: each once, in the order of the output.

    parts: name -> numbers.  columns (rows, columns): each has numbers of its own in its rows.
    """

    mechanism: str
    numbers: np.ndarray
    parts: dict[str, np.ndarray]
    columns: np.ndarray


@cache
def noise_of(case):
    """Of each noisy output of each run.

    The same run with normal numbers that are all 0, given what was released before, says what the noise was added to.
    """
    return [[*noise_of_sums(seen, silent), *noise_of_steps(seen, silent, "reader"),
             *noise_of_steps(seen, silent, "critic")]
            for seen, silent in ((seen, again(seen, silent=True)) for seen in several(case))]


def noise_of_sums(seen, silent):
    for number, (noisy, exact) in enumerate(zip(seen.sums, silent.sums, strict=True)):
        settings = seen.config.warm_start
        if number == settings.first_rounds:
            noise = ((noisy - exact) / settings.embedding_noise).numpy()
            assert noise.shape == (seen.config.latent.categories, 2 * FREQUENCIES + 1)
            yield Noise("embedding", noise.ravel(), {"features": noise[:, :-1], "counts": noise[:, -1]}, noise)
        else:
            of_round = noise_of_moments if seen.case in ("faces", "people") else noise_of_prototypes
            yield of_round(((noisy - exact) / settings.round_noise).numpy())


def noise_of_prototypes(noise):
    width = SIDE**2
    assert noise.shape[1] == width + 1 + 2 * PARAMETERS
    pixels, counts, moved, moved_squares = np.split(noise, [width, width + 1, width + 1 + PARAMETERS], axis=1)
    return Noise("round", noise.ravel(), {"pixels": pixels, "counts": counts, "deformations": moved,
                                          "squares of deformations": moved_squares}, noise)


def noise_of_moments(noise):
    """As a vector of the diagonal and of sqrt(2) times what is above it, every entry has the same noise."""
    width, size = FACES.width, FACES.width + ATTRIBUTES + 1
    assert noise.shape == (size, size)
    assert np.allclose(noise, noise.T, rtol=0, atol=1e-5)  # of a grid, neighbouring points may be met
    noise = noise * np.where(np.eye(size), 1, math.sqrt(2))
    parts = {"diagonal": noise.diagonal(), "pixels": noise[:width, :width][np.triu_indices(width)],
             "pixels with attributes": noise[:width, width:-1], "counts and means": noise[:, -1],
             "attributes": noise[width:-1, width:-1][np.triu_indices(ATTRIBUTES)]}
    return Noise("round", noise[np.triu_indices(size)], parts, noise)


def noise_of_steps(seen, silent, kind):
    settings = seen.config.reader if kind == "reader" and seen.reader else seen.config.privacy
    unit = settings.noise_multiplier * settings.clip_norm / settings.expected_batch
    for step, exact in zip(getattr(seen, kind), getattr(silent, kind), strict=True):
        parts = {name: ((exact.gradient[name] - gradient).double() / unit).numpy().ravel()  # descent on the negative
                 for name, gradient in step.gradient.items()}
        numbers = np.concatenate(list(parts.values()))
        yield Noise(kind, numbers, parts, numbers[None])


@law(CASES)
def law_noise_has_the_declared_spread_in_every_output_part_and_column(case):
    """Every output alone, and of all runs together; parts and columns pooled over rows, rounds, steps and runs."""
    parts, columns = defaultdict(list), defaultdict(list)
    for noise in (noise for each in noise_of(case) for noise in each):
        assert_standard_normal(noise.numbers, noise.mechanism)
        columns[noise.mechanism].append(noise.columns)
        for name, numbers in noise.parts.items():
            parts[noise.mechanism, name].append(numbers.ravel())
    for outputs in zip(*noise_of(case), strict=True):
        assert_standard_normal(np.concatenate([noise.numbers for noise in outputs]), outputs[0].mechanism)
    for name, numbers in parts.items():
        assert_standard_normal(np.concatenate(numbers), name)
    for mechanism, rows in columns.items():
        rows = np.concatenate(rows)
        low, high = stats.chi2.interval(1 - RARE, len(rows))
        squares = (rows**2).sum(0)
        assert low < squares.min() and squares.max() < high, mechanism
        assert np.abs(rows.sum(0)).max() < stats.norm.isf(RARE / 2) * math.sqrt(len(rows)), mechanism


def assert_standard_normal(numbers, what):
    """Independent unit normals: their sum of squares, their sum, the one furthest out and, of many, all of them."""
    low, high = stats.chi2.interval(1 - RARE, len(numbers))
    assert low < (numbers**2).sum() < high, what
    assert abs(numbers.sum()) < stats.norm.isf(RARE / 2) * math.sqrt(len(numbers)), what
    furthest = [stats.norm.isf(-math.expm1(math.log(chance) / len(numbers)) / 2) for chance in (RARE, 1 - RARE)]
    assert furthest[0] < np.abs(numbers).max() < furthest[1], what
    assert len(numbers) < 50 or stats.kstest(numbers, "norm").pvalue > RARE, what


@law(CASES)
def law_no_two_configurations_have_the_same_noise(case):
    """Whatever one setting is changed to."""
    config = planned(case)
    others = [config_from(values) for values in changed(config.to_dict())]
    keys = [str(stream(other.randomness, "noise").bit_generator.state) for other in (config, *others)]
    assert len(keys) == len(set(keys)) > 30


def changed(values):
    """The values, with one changed in each."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from (values | {name: other} for other in changed(value))
        elif value == "inf":
            yield values | {name: 1.0}
        else:
            more = "+" if isinstance(value, str) else 16  # a pool of fakes stays a multiple of a step's
            yield values | {name: not value if isinstance(value, bool) else value + more}


LONGEST, SHORTEST = 2000, 100  # numbers that are compared, of each of two outputs


@law(CASES)
def law_noise_is_unrelated_to_all_other_noise(case):
    """Between rounds, mechanisms, steps, seeds, epsilons and releases, and within each output, at any shift.

    Numbers of 32 and of 64 bits differ though they come of the same random bits, so generators are looked at too.
    """
    numbers = [noise.numbers[:LONGEST] for each in noise_of(case) for noise in each]
    log_of_checks = math.log(2 * 2 * LONGEST * len(numbers) ** 2 / RARE)
    for first, one in enumerate(numbers):
        products, overlaps = shifted_products(one, numbers[first:])
        products[0, overlaps[0] == len(one)] = 0  # with itself
        assert_means_near_0(products, overlaps, log_of_checks)
    generators = [state for seen in several(case) for state in seen.generators]
    assert len(generators) == len(numbers) == len(set(generators))


def shifted_products(one, others):
    """Sums of products of one with each of the others at every shift, and of how many products: two of (n, shifts)."""
    size = 2 * LONGEST
    spectrum = np.conj(np.fft.rfft(one, size))
    products = np.stack([np.fft.irfft(spectrum * np.fft.rfft(other, size), size) for other in others])
    shifts = (np.arange(size) + LONGEST) % size - LONGEST
    lengths = np.array([[len(other)] for other in others])
    overlaps = np.minimum(len(one) + np.minimum(shifts, 0), lengths - np.maximum(shifts, 0))
    return products, np.where(overlaps < np.minimum(SHORTEST, np.minimum(len(one), lengths)), 0, overlaps)


def assert_means_near_0(products, overlaps, log_of_checks):
    """A mean of n products of independent unit normals exceeds m with a probability below exp(-n I(m)), I = sup_l
    (l m + log(1 - l^2) / 2) (Chernoff); of the same numbers it is 1.
    """
    means = np.linspace(1e-3, 8, 4000)
    slope = (np.sqrt(1 + 4 * means**2) - 1) / (2 * means)
    rates = slope * means + np.log(1 - slope**2) / 2
    allowed = np.interp(log_of_checks / np.maximum(overlaps, 1), rates, means) * overlaps
    assert (np.abs(products) <= np.where(overlaps, allowed, np.inf)).all()


# What one record does

ADVERSARIAL = {"bright": 1.0, "dark": -1.0, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "huge": 1e30}


def more_of(case):
    """Name -> data with one record more, or one less; of people, one with three images of which no two are alike."""
    given = data(case)
    for name, value in ADVERSARIAL.items():
        yield f"with one that is {name}", joined(given, np.full_like(given.images[:1], value), 1)
    yield "with another like one that is there", joined(given, given.images[:1], given.labels[0])
    yield "with one of no category", joined(given, given.images[:1], 10**6)
    if case == "people":
        others = np.stack([np.full_like(given.images[0], value) for value in (1.0, -0.5, math.nan)])
        yield "with one of many images", joined(given, others, np.array([1, 2, 3]))
        bright = np.ones_like(given.images[:5])
        yield "with one of many images that are alike", joined(given, bright, 3)
    units = given.people if case == "people" else np.arange(len(given.images))
    for unit in (0, RECORDS // 2, RECORDS - 1):
        yield f"without number {unit}", given.take(units != unit)
    first = np.roll(np.arange(len(given.images) + 1), 1)
    if case != "people":
        yield "with one before all others", joined(given, np.ones_like(given.images[:1]), 2).take(first)


def joined(given, images, labels):
    people = None if given.people is None else np.append(given.people, [RECORDS] * len(images))
    return Data(np.concatenate([given.images, images]), np.append(given.labels, np.broadcast_to(labels, len(images))),
                people)


@law(WARM)
def law_one_record_moves_each_noisy_sum_by_at_most_1(case):
    """In release mode, where any number of records will do. Both runs add the same noise."""
    for base in (released(case), *([after_flat_prototypes(case)] if case == "prototypes" else [])):
        seen = again(base, sums_only=True)
        longest = 0.0
        for name, other in more_of(case):
            moved = [float((one - another).norm()) for one, another in
                     zip(again(base, other, sums_only=True).sums, seen.sums, strict=True)]
            # Sums may be rounded to a grid of a 2^-20 of the noise: 7,000 entries are off by 1e-4 together.
            assert max(moved) <= 1 + 1e-3, name
            longest = max(longest, min(moved))
        assert longest > 0.7, "some record reaches far in each sum, or this law would test nothing"


def after_flat_prototypes(case):
    """A release whose first rounds said that all images are one grey: then styles tie, for any record."""
    seen = copy.copy(released(case))
    seen.sums = [*map(torch.zeros_like, seen.sums[:-1]), seen.sums[-1]]
    for sums in seen.sums[:-1]:
        sums[:, : SIDE**2 + 1] = 1.0
    return seen


STEPS_OF = {"critic": (loop, "critic_step"), "reader": (reader, "reader_step")}


@law(["plain", "prototypes", "reader", "people"])
def law_one_record_moves_a_step_by_at_most_C(case):
    """A step taken again from where it began, with one record more or less and the same noise."""
    seen = demonstration(case)
    for kind, steps in (("critic", seen.critic[:2]), ("reader", seen.reader[:2])):
        for step in steps:
            images, categories = step.real
            expected, alone = gradient_of(seen.config, kind, step, step.real), categories[:1] * 0
            alone[0, 1] = 1
            more = [(torch.cat([images, torch.full_like(images[:1], value)]), torch.cat([categories, alone]))
                    for value in ADVERSARIAL.values()]
            moved = [float((gradient_of(seen.config, kind, step, real) - expected).norm())
                     for real in (*more, (images[1:], categories[1:]))]
            # float32 sums of a few thousand numbers; and a grid, as above
            assert max(moved) * BATCH <= CLIP * (1 + 1e-3)
            assert max(moved) * BATCH > 0.05 * CLIP


def gradient_of(config, kind, step, real):
    module, name = STEPS_OF[kind]
    critic = kind == "critic"
    network = Critic(config.latent, config.model) if critic else Reader(DIRECTIONS, config.latent.categories)
    network.load_state_dict(step.before[0])
    optimiser = (torch.optim.Adam(network.parameters(), betas=(0.0, 0.9)) if critic
                 else torch.optim.SGD(network.parameters(), lr=0.0, momentum=reader.MOMENTUM))
    optimiser.load_state_dict(copy.deepcopy(step.before[1]))
    noise = np.random.default_rng(0)
    given = ((step.fake, config.privacy, config.optimiser.clip_fakes, noise) if critic else (config.reader, noise))
    getattr(module, name)(network, optimiser, real, *given)
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


@law(["plain", "prototypes", "faces", "people"])
def law_a_batch_is_of_records_each_once_with_its_own_label(case):
    """Of people, of as many people."""
    for seen in (demonstration(case), released(case)):
        given = data(case)
        owners = given.people if case == "people" else np.arange(len(given.images))
        of_image = {image.tobytes(): (owner, label)
                    for image, owner, label in zip(given.images, owners, given.labels)}
        assert len(of_image) == RECORDS
        for step in seen.critic:
            images, categories = step.real
            found = [of_image[image.numpy().tobytes()] for image in images]
            assert len({owner for owner, _ in found}) == len(found)
            assert categories.argmax(1).tolist() == [label for _, label in found]
            assert torch.equal(categories.sum(1), torch.ones(len(found)))


# What is summed

@law(WARM)
def law_what_noise_is_added_to_is_what_it_is_said_to_be(case):
    """The embedding's sums, moments, and the first round of prototypes, record by record and from their formulas."""
    seen = demonstration(case)
    exact, given, config = again(seen, silent=True, sums_only=True).sums, data(case), seen.config
    rows = np.unique(given.people, return_index=True)[1] if case == "people" else np.arange(len(given.images))
    images, labels = torch.from_numpy(given.images[rows]), given.labels[rows]
    expected = torch.zeros_like(exact[-1])
    features = Features(side=SIDE, channels=config.model.channels, frequencies=FREQUENCIES)
    for image, label in zip(images, labels):
        expected[label] += torch.cat([features(image[None])[0].double(), torch.tensor([0.3]).double()]) / 1.09**0.5
    assert float((exact[-1] - expected).abs().max()) < TOLERANCE
    first = moments_of(images, labels) if case in ("faces", "people") else means_of(images, labels, config)
    assert float((exact[0] - first).abs().max()) < TOLERANCE


TOLERANCE = 5e-3  # float32 features, or pixels rounded to bytes, of a dozen records; a record's own share is near 1


def means_of(images, labels, config):
    """Of each class: dimmed pixels, a count, and the moments of a deformation that there is none of yet."""
    sums = torch.zeros(CATEGORIES, SIDE**2 + 1 + 2 * PARAMETERS, dtype=torch.float64)
    for image, label in zip(images, labels):
        pixels = (image.flatten().double() + 1) / 2 / (config.warm_start.prototypes.level * SIDE)
        row = torch.cat([pixels / max(1.0, float(pixels.norm())), torch.tensor([0.3]).double()])
        sums[label, : SIDE**2 + 1] += row / math.sqrt(1 + 3 * 0.3**2)
    return sums


def moments_of(images, labels):
    """Of low frequencies, attributes and a 1, each by its weight."""
    size = FACES.width + ATTRIBUTES + 1
    sums = torch.zeros(size, size, dtype=torch.float64)
    for image, label in zip(images.double().numpy(), labels):
        low = []
        for colour, kept in zip(COLOURS, (FACES.luma, FACES.chroma, FACES.chroma)):
            plane = sum(weight * channel for weight, channel in zip(colour, image))
            low.append(fft.dctn(plane, norm="ortho")[:kept, :kept].ravel())
        low = np.concatenate(low) / (FACES.level * math.sqrt(3) * SIDE)
        signs = np.array([1 if label >> bit & 1 else -1 for bit in reversed(range(ATTRIBUTES))])
        row = np.concatenate([low / max(1, np.linalg.norm(low)),
                              FACES.attribute_weight / math.sqrt(ATTRIBUTES) * signs, [0.3]])
        row /= math.sqrt(1 + FACES.attribute_weight**2 + 0.3**2)
        sums += torch.from_numpy(np.outer(row, row))
    return sums


# Sampling

@law([case for case in CASES if case != "releases"])
def law_batches_are_drawn_by_coins_of_their_own(case):
    """At the declared rate; in each step, run and release other coins, and other ones for the reader and the critic."""
    entered = {"reader": [], "critic": []}  # (steps, N) for each run
    for seen in several(case):
        drawn = [(count, rate, rows) for count, rate, rows in seen.batches if rate < 1]
        assert all((count, rate) == (RECORDS, BATCH / RECORDS) for count, rate, _ in drawn)
        steps = np.array([np.isin(np.arange(RECORDS), rows) for _, _, rows in drawn])
        assert len(steps) == len(seen.reader) + len(seen.critic)
        assert [len(rows) for _, _, rows in drawn] == [len(step.real[0]) for step in (*seen.reader, *seen.critic)]
        entered["reader"].append(steps[: len(seen.reader)])
        entered["critic"].append(steps[len(seen.reader) :])
    for kind, runs in entered.items():
        if runs[0].size:
            assert_coins(np.concatenate(runs))
            for one, other in combinations(runs, 2):
                assert_other_coins(one, other)
            assert_other_coins(np.concatenate([steps[1:] for steps in runs]),
                               np.concatenate([steps[:-1] for steps in runs]))
    if entered["reader"][0].size:
        assert_other_coins(np.concatenate([steps[:STEPS] for steps in entered["reader"]]),
                           np.concatenate(entered["critic"]))


def assert_coins(entered):
    rate, sizes = BATCH / RECORDS, entered.sum(1)
    low, high = stats.binom.interval(1 - RARE, entered.size, rate)
    assert low <= sizes.sum() <= high
    # Of n binomial sizes, near-normal ones.
    low, high = stats.chi2.interval(1 - RARE, len(sizes))
    assert low < ((sizes - BATCH) ** 2).sum() / (BATCH * (1 - rate)) < high


def assert_other_coins(one, other):
    """Two coins both fall for a record with probability q^2, and with q if they are one."""
    assert (one & other).sum() <= stats.binom.isf(RARE, one.size, (BATCH / RECORDS) ** 2)


# The account

@law(CASES)
def law_what_is_computed_was_charged_before(case):
    seen, config = released(case), planned(case, seed=None)
    assert [(kind, number) for kind, number, _ in seen.ledger] == [
        *(("sums", number + 1) for number in range(rounds_of(case))),
        *(("reader", number + 1) for number in range(READER_STEPS * (case == "reader"))),
        *(("critic", number + 1) for number in range(config.privacy.steps))]
    ahead = {"sums": 1, "reader": reader.BLOCK, "critic": BLOCK}  # units that are charged for at a time
    for kind, number, charged in seen.ledger:
        assert number <= charged < number + ahead[kind], (kind, number)
    assert seen.charged == len(seen.ledger)
    early = {(charged, computed) for charged, computed in seen.reads if charged <= computed}
    # The reader computes features of each record alone, once, and keeps them in memory: nothing is released of that.
    assert early == ({(rounds_of(case), rounds_of(case))} if case == "reader" else set())


@law(["plain", "prototypes", "reader", "faces"])
def law_after_a_kill_nothing_is_computed_that_was_not_charged(case):
    """A demonstration computes the same again; a release charges anew, or refuses where that cannot be."""
    config = planned(case)
    for kind, number in (("sums", rounds_of(case)), ("reader", READER_STEPS * (case == "reader")),
                         ("critic", config.privacy.steps)):
        if number:
            with tempfile.TemporaryDirectory() as folder:
                whole, parts = demonstration(case), killed_and_resumed(config, case, folder, (kind, number), None)
                for name in ("sums", "reader", "critic"):
                    assert {bits(each) for each in getattr(parts, name)} == {
                        bits(each) for each in getattr(whole, name)}
                assert is_same(left(whole)["average"], left(parts)["average"])
            with tempfile.TemporaryDirectory() as folder:
                parts = killed_and_resumed(planned(case, seed=None), case, folder, (kind, number), Entropy(1))
                assert parts is None if kind == "sums" else all(
                    len(getattr(parts, name)) <= planned_number
                    for name, planned_number in (("sums", rounds_of(case)), ("reader", READER_STEPS),
                                                 ("critic", config.privacy.steps)))


def killed_and_resumed(config, case, folder, kill, entropy):
    """What both runs computed together; None where the second refused."""
    seen = Seen()
    with pytest.raises(Killed):
        run(config, case, data(case), entropy=entropy, folder=folder, kill=kill, into=seen)
    try:
        return run(config, case, data(case), entropy=entropy and Entropy(entropy.seed + 1), folder=folder, into=seen)
    except RuntimeError as refusal:
        assert "charged and then lost" in str(refusal)
        return None


def bits(each):
    """A digest of a noisy output's: where CI is set, pytest shows all of what differs, and would be at it for hours."""
    tensors = [each] if isinstance(each, torch.Tensor) else list(each.gradient.values())
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


@law(CASES)
def law_the_noise_that_is_used_spends_the_declared_epsilon(case):
    """Each output as a mechanism of its own, with the noise that the law of its spread has seen."""
    for seen in (demonstration(case), demonstration(case, noises=NOISES[1]), released(case)):
        config, rate = seen.config, BATCH / RECORDS
        used = [(config.warm_start.round_noise if number < config.warm_start.first_rounds
                 else config.warm_start.embedding_noise, 1.0) for number, _ in enumerate(seen.sums)]
        used += [(config.reader.noise_multiplier, rate) for _ in seen.reader]
        used += [(config.privacy.noise_multiplier, rate) for _ in seen.critic]
        parts = [SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=1) for noise, rate in used]
        assert accounting.spent_rdp(parts, config.privacy.delta) == pytest.approx(config.privacy.epsilon, rel=1e-9)
        with pytest.MonkeyPatch.context() as patch:  # PLD takes a second
            patch.setattr(accounting, "spent", lambda parts, delta: {"rdp": accounting.spent_rdp(parts, delta)})
            statement = study.privacy_statement(config, "one record")
        assert statement["epsilon_spent"]["rdp"] == pytest.approx(config.privacy.epsilon, rel=1e-9)


# The laws and the mutants

def test_every_private_method_is_a_case():
    assert set(CASES.values()) == set(methods.METHODS) - NOT_PRIVATE


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in LAWS for case in OF[name]])
def test_the_law_holds(name, case):
    LAWS[name](case)


def forget_runs():
    for cached in (demonstration, released, noise_of):
        cached.cache_clear()


def broken_laws(mutant):
    """Of the laws that the mutant is said to break, those that it breaks."""
    apply = MUTANTS[mutant]
    with pytest.MonkeyPatch.context() as patch:
        apply(patch)
        forget_runs()
        broken = [name for name in apply.laws if is_broken(LAWS[name], apply.case)]
    forget_runs()  # they are of a library with that mutant
    return broken


def is_broken(each, case):
    try:
        each(case)
    except (AssertionError, pytest.fail.Exception):  # the latter where a kill that a law expects does not come
        return True
    return False


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_breaks_its_laws(mutant, record_property):
    broken = broken_laws(mutant)
    record_property("mutant", (mutant, broken))
    assert broken == list(MUTANTS[mutant].laws)


def test_every_law_has_a_mutant_that_breaks_it():
    """A law that no mutant breaks may be one that nothing breaks."""
    assert {name for apply in MUTANTS.values() for name in apply.laws} == set(LAWS)
