"""Laws of the private mechanism, held through the whole training path; and mutants, each of which breaks some law.

A law is a plain function that raises AssertionError. The library as it is passes them all; a library with the noise
halved, the clip dropped, the batches shuffled and so on does not. The end of a run prints what caught what.
"""

import copy
import math
import tempfile
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mutants import READERS
from recording import Recording, as_drawn, listen, record, watch_critic_steps
from sample_record import run_config
from scipy import stats
from test_warm_training import WARM
from torch.nn import functional as F

from dpgan_lib.config import ReaderConfig, ReadRunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan import state as training_state
from dpgan_lib.gan.networks import Generator, Reader
from dpgan_lib.gan.state import new_state
from dpgan_lib.studies.audit import mutants
from dpgan_lib.warm_start import reader

MUTANTS = mutants.MUTANTS | READERS
RECORDS, BATCH, STEPS, BLOCK, CLIP, NOISE = 100, 20, 5, 2, 0.5, 1.25  # N, q N, T, T between checkpoints, C, sigma
CATEGORIES = 10
RARE = 1e-7  # how often a correct library would fail one statistical check; there are about 300, all seeded


def planned(*, seed=0, epsilon=3.0, noise=NOISE, clip=CLIP, steps=STEPS, block=BLOCK):
    config = run_config(profile="smoke", seed=seed)
    return replace(
        config, model=replace(config.model, generator_width=4),
        optimiser=replace(config.optimiser, fakes=32, pool=64, critic_steps=block),
        privacy=replace(config.privacy, epsilon=epsilon, records=RECORDS, expected_batch=BATCH, steps=steps,
                        clip_norm=clip, noise_multiplier=noise))


def data(count=RECORDS):
    """Random records; a larger set begins with a smaller one."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(-1, 1, (count, 1, 28, 28)).astype(np.float32))
    return loop.Records(images, torch.eye(CATEGORIES)[torch.arange(count) % CATEGORIES])


def same(one, other):
    """one == other, out of pytest's sight: of what is not equal it would draw a diff, for minutes on a CI machine."""
    return one == other


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


# Record and replay: neighbours --------------------------------------------------------------------------------------

EXTRA = {"random": 1.0, "huge": 1e3, "overflowing": 1e30, "nan": math.nan, "inf": math.inf, "zero": 0.0}


def watched(records, **options):
    return record(planned(steps=3), records, control_flow=True, **options)


@cache
def base():
    return watched(data())


@cache
def neighbours(extra):
    """A run and its replay, twice: with one record more, and with one less. That record is in every other batch."""
    more = data(RECORDS + 1)
    more.images[-1] *= EXTRA[extra]

    def joined(batch, step):
        return np.append(batch, RECORDS) if step % 2 == 0 else batch

    with_it = watched(more, draw=joined)
    return (base(), watched(more, draw=joined, replay=base())), (with_it, watched(data(), replay=with_it))


def law_one_record_moves_a_release_by_at_most_C():
    for extra in EXTRA:
        for seen, replayed in neighbours(extra):
            for step, (one, other) in enumerate(zip(seen.released, replayed.released, strict=True)):
                # Both runs add the same noise, so the difference is that of the sums before it. The slack is float32
                # rounding: 10,000 numbers near sigma C, each off by 6e-8 of itself, are off by 6e-6 sigma C together;
                # a few such roundings follow one another.
                moved = float((flat(one) - flat(other)).norm()) * BATCH
                assert moved <= (step % 2 == 0) * CLIP * (1 + 1e-4), (extra, step)
                # A random record's gradient is longer than C: the bound is reached, or this law would test nothing.
                assert extra != "random" or step % 2 or moved > CLIP * (1 - 1e-4)


def law_one_record_changes_no_public_value_and_no_line_that_runs():
    for extra in EXTRA:
        for seen, replayed in neighbours(extra):
            assert same(seen.values, replayed.values), extra
            assert same(seen.lines, replayed.lines), extra


def law_the_critic_moves_by_its_releases_alone():
    """Whoever knows the releases, but no data, arrives at every published critic."""
    state = new_state(planned(steps=3), torch.device("cpu"))
    critic, optimiser = state.critic, state.critic_optimiser
    for gradients, (weights, _) in zip(base().released, base().published, strict=True):
        for name, parameter in critic.named_parameters():
            parameter.grad = gradients[name].clone()
        optimiser.step()
        critic.project()
        assert all(torch.equal(parameter, weights[name]) for name, parameter in critic.state_dict().items())


def law_the_generator_learns_from_published_critics_alone():
    """Given the same critics, garbage in the place of the data leaves every weight of G and Q as it is."""
    records = data()
    garbage = loop.Records(torch.full_like(records.images, math.nan), records.categories.flip(0))
    replayed = watched(garbage, replay=base())
    for network in ("generator", "posterior", "average"):
        one, other = (getattr(run.state, network).state_dict() for run in (base(), replayed))
        assert all(torch.equal(one[name], other[name]) for name in one), network
    assert len(base().state.history) == 1 and same(base().state.history, replayed.state.history)


# The budget ---------------------------------------------------------------------------------------------------------

def trained(folder, config, watch, **options):
    """loop.train on the CPU, whatever the machine has. watch: called with a patch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        watch(patch)
        records = data()
        return loop.train(config, records.images.numpy(), records.categories.argmax(1).numpy(), folder, **options)


def law_every_step_asks_for_what_was_planned():
    """The budget as it is spent: T samples at rate q, T sums with C, sigma and the divisor q N."""
    values = []
    with tempfile.TemporaryDirectory() as folder:
        trained(Path(folder), planned(), lambda patch: listen(patch, values))
    assert [value for value in values if value[0] == "sample"] == [("sample", RECORDS, BATCH / RECORDS)] * STEPS
    assert [value for value in values if value[0] == "mean"] == [("mean", CLIP, NOISE, BATCH)] * STEPS


class Killed(Exception):
    pass


def kill(step):
    if step == 2 * BLOCK:
        raise Killed


def law_a_resumed_run_releases_what_an_uninterrupted_one_does():
    """Stopped after a block, resumed, killed before the next checkpoint, resumed: the same T releases, no other."""
    def watch_into(run):
        return lambda patch: watch_critic_steps(patch, run)

    whole, parts = Recording(), Recording()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        expected = trained(Path(one), planned(), watch_into(whole))
        trained(Path(other), planned(), watch_into(parts), max_minutes=0)
        with pytest.raises(Killed):
            trained(Path(other), planned(), watch_into(parts), progress=kill)
        state = trained(Path(other), planned(), watch_into(parts))
    releases, distinct = ({flat(gradient).numpy().tobytes() for gradient in run.released} for run in (whole, parts))
    assert len(parts.released) == STEPS + BLOCK, "the killed block was done twice"
    assert same(distinct, releases) and len(releases) == state.step == STEPS
    assert same(state.history, expected.history)
    for name, weights in expected.average.state_dict().items():
        assert torch.equal(state.average.state_dict()[name], weights), name


# Noise: with W = {0} and scores that are read out nowhere every gradient is 0, and a release is noise alone ---------

def noise_run(config, **options):
    silent = replace(config, model=replace(config.model, weight_clip=0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "category", lambda latent, code: torch.zeros(len(code), latent.categories))
        return record(silent, loop.Records(data().images, torch.zeros(RECORDS, CATEGORIES)), **options)


def unit_noise(config):
    """Each step's noise in units of sigma * C / (q N), by parameter."""
    unit = config.privacy.noise_multiplier * config.privacy.clip_norm / BATCH
    return [{name: noise / unit for name, noise in step.items()} for step in noise_run(config).released]


def law_noise_has_the_calibrated_spread_in_every_step_and_parameter():
    steps = unit_noise(planned())
    parameters = [torch.cat([step[name].flatten() for step in steps]) for name in steps[0]]
    assert len(steps) == STEPS and len(parameters) == 6
    for noise in [*map(flat, steps), *parameters]:
        low, high = stats.chi2.interval(1 - RARE, len(noise))  # the sum of squares of independent unit normals
        assert low < float(noise.double().square().sum()) < high
    assert stats.kstest(torch.cat(parameters).numpy(), "norm").pvalue > RARE


def law_noise_differs_between_steps_parameters_seeds_and_epsilons():
    runs = [unit_noise(planned(seed=seed, epsilon=epsilon, noise=noise))
            for seed in (0, 1) for epsilon, noise in ((1.0, 2.5), (10.0, 0.75))]
    assert_unrelated(torch.stack([flat(step) for run in runs for step in run]))
    for one, other in combinations(runs[0][0], 2):
        size = min(runs[0][0][name].numel() for name in (one, other))
        assert_unrelated(torch.stack([torch.cat([step[name].flatten()[:size] for run in runs for step in run])
                                      for name in (one, other)]))


def assert_unrelated(rows):
    """rows (K, n) of unit normals: the mean product of two is 0, give or take 1 / sqrt(n); of a reused one, 1."""
    products = (rows @ rows.T / rows.shape[1])[~torch.eye(len(rows), dtype=torch.bool)]
    assert float(products.abs().max()) < stats.norm.isf(RARE / 2) / math.sqrt(rows.shape[1])


def law_an_empty_batch_gets_its_noise_and_is_charged():
    full, empty = noise_run(planned()), noise_run(planned(), draw=lambda batch, step: batch[:0])
    assert same(empty.values, full.values) and empty.state.step == STEPS
    assert all(torch.equal(flat(one), flat(other)) for one, other in zip(full.released, empty.released, strict=True))
    assert all(flat(step).count_nonzero() for step in empty.released)


# Sampling -----------------------------------------------------------------------------------------------------------

def law_batches_are_poisson():
    """Through training's own batches: binomial sizes, each record its own coin, each step new coins."""
    steps, rate = 1000, BATCH / RECORDS
    entered = np.zeros((steps, RECORDS))
    numbered = loop.Records(torch.arange(float(RECORDS)).view(-1, 1), torch.zeros(RECORDS, CATEGORIES))
    config = planned(steps=steps, block=steps)
    with pytest.MonkeyPatch.context() as patch:
        rows = iter(entered)
        patch.setattr(loop, "critic_step", lambda critic, optimiser, real, *_: np.add.at(
            next(rows), real[0].flatten().long().numpy(), 1))
        loop.train_block(config, new_state(config, torch.device("cpu")), numbered)
    assert entered.max() == 1, "a record enters a batch once"
    bound, sizes = stats.norm.isf(RARE / 2), entered.sum(1)
    variance = RECORDS * rate * (1 - rate)
    assert abs(sizes.mean() - RECORDS * rate) < bound * math.sqrt(variance / steps)
    # The variance of a variance of near-normal sizes is 2 v^2 / n.
    assert abs(sizes.var() / variance - 1) < bound * math.sqrt(2 / steps)
    assert np.all(np.abs(entered.mean(0) - rate) < bound * math.sqrt(rate * (1 - rate) / steps))
    # Two batches share Binomial(N, q^2) records. Neighbours in disjoint pairs, which are independent.
    shared = (entered[::2] * entered[1::2]).sum(1)
    assert abs(shared.mean() - RECORDS * rate**2) < bound * math.sqrt(RECORDS * rate**2 * (1 - rate**2) * 2 / steps)


# Without privacy ----------------------------------------------------------------------------------------------------

def plain_step(critic, optimiser, real, fake, *_):
    """A step of WGAN as anyone would write it, but for the public divisor."""
    optimiser.zero_grad()
    (critic(*fake).mean() - critic(*real).sum() / BATCH).backward()
    optimiser.step()
    critic.project()


def law_without_noise_training_is_plain_wgan():
    """With C = inf, and with a finite C so large that the path that clips changes nothing."""
    free, large = planned(noise=0.0, clip=math.inf), planned(noise=0.0, clip=1e6)
    with pytest.MonkeyPatch.context() as patch:
        stream = loop.stream  # another C is another run with other randomness: here it must be the same
        for module in (loop, training_state):
            patch.setattr(module, "stream", lambda _, *rest: stream(free.hash, *rest))
        ours = record(free, data())
        clipping = record(large, data(), replay=ours)
        patch.setattr(loop, "critic_step", plain_step)
        plain = record(free, data(), replay=ours)
    for other in (clipping, plain):
        for one, another in zip(ours.released, other.released, strict=True):
            # float32 sums in another order: a few 1e-7 of the whole, and the halves cancel in part.
            assert float((flat(one) - flat(another)).norm()) < 1e-5 * float(flat(one).norm())


# The private reader's steps -------------------------------------------------------------------------------------------

INPUTS, SIDE = 12, 8  # of its features; of images small enough to be whitened in no time


def reading(steps=STEPS, noise=NOISE, clip=CLIP):
    settings = ReaderConfig(share=0.5, expected_batch=BATCH, steps=steps, clip_norm=clip, noise_multiplier=noise,
                            rate=0.5, images=60, directions=INPUTS, exponent=0.25, floor=0.01)
    plain = planned()
    return ReadRunConfig(**vars(plain) | {"model": replace(plain.model, image_side=SIDE)}, warm_start=WARM,
                         reader=settings)


def features(count=RECORDS):
    """Random records of features; a larger set begins with a smaller one."""
    rows = np.random.default_rng(1).standard_normal((count, INPUTS), dtype=np.float32)
    return loop.Records(torch.from_numpy(rows), torch.eye(CATEGORIES)[torch.arange(count) % CATEGORIES])


def read(config, records, *, draw=as_drawn, replay=None):
    """Like recording.record: all steps of a reader, from the start, through reader.train_block."""
    run = SimpleNamespace(released=[], published=[], values=[], state=None)
    with pytest.MonkeyPatch.context() as patch:
        listen(patch, run.values, draw, RECORDS)
        patch.setattr(reader, "stream", loop.stream if reader.stream is UNTOUCHED else reader.stream)
        watch_reader_steps(patch, run, replay)
        run.state = reader.about_to_learn(None, Reader(INPUTS, CATEGORIES))
        while run.state.step < config.reader.steps:
            reader.train_block(config, run.state, records)
    return run


UNTOUCHED = reader.stream  # a mutant's own is not listened to


def watch_reader_steps(patch, run, replay=None):
    reader_step = reader.reader_step

    def watched(network, optimiser, *arguments):
        reader_step(network, optimiser, *arguments)
        run.released.append({name: -parameter.grad for name, parameter in network.named_parameters()})
        if replay is not None:
            network.load_state_dict(replay.published[len(run.published)])
        run.published.append(copy.deepcopy(network.state_dict()))

    patch.setattr(reader, "reader_step", watched)


def law_one_record_moves_a_readers_release_by_at_most_C():
    for extra, factor in EXTRA.items():
        more = features(RECORDS + 1)
        more.images[-1] *= factor

        def joined(batch, step):
            return np.append(batch, RECORDS) if step % 2 == 0 else batch

        without = read(reading(), features())
        with_it = read(reading(), more, draw=joined, replay=without)
        assert same(without.values, with_it.values), extra
        for step, (one, other) in enumerate(zip(without.released, with_it.released, strict=True)):
            moved = float((flat(one) - flat(other)).norm()) * BATCH
            # float32 rounding of the sums and of their noise, as above.
            assert moved <= (step % 2 == 0) * CLIP * (1 + 1e-4), (extra, step)
            assert extra != "random" or step % 2 or moved > CLIP * (1 - 1e-4)  # the bound is reached


def law_a_readers_record_contributes_the_same_whoever_shares_its_batch():
    silent, alone = reading(steps=1, noise=0.0), None
    for others in (0, 1, 40, RECORDS - 1):
        found = [read(silent, features(), draw=lambda batch, step, rows=rows: np.array(rows, dtype=np.int64))
                 for rows in ([*range(others), RECORDS - 1], [*range(others)])]
        difference = flat(found[0].released[0]) - flat(found[1].released[0])
        alone = difference if alone is None else alone
        assert float((difference - alone).norm()) < 1e-5 * CLIP  # float32: a hundred summed gradients of norm C


def law_a_reader_moves_by_its_releases_alone():
    run, settings = read(reading(), features()), reading().reader
    network = Reader(INPUTS, CATEGORIES)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0, momentum=reader.MOMENTUM)
    for step, (gradients, weights) in enumerate(zip(run.released, run.published, strict=True)):
        optimiser.param_groups[0]["lr"] = settings.rate / CLIP * (1 - reader.MOMENTUM) * (1 - step / STEPS)
        for name, parameter in network.named_parameters():
            parameter.grad = -gradients[name]
        optimiser.step()
        assert all(torch.equal(parameter, weights[name]) for name, parameter in network.state_dict().items())


def law_every_step_of_a_reader_asks_for_what_was_planned():
    run = read(reading(), features())
    assert [value for value in run.values if value[0] == "sample"] == [("sample", RECORDS, BATCH / RECORDS)] * STEPS
    assert [value for value in run.values if value[0] == "mean"] == [("mean", CLIP, NOISE, BATCH)] * STEPS
    assert run.state.step == run.state.taken == STEPS


def reader_noise(**how):
    """Each step's noise in units of sigma * C / (q N): of records without a category, which have no gradient."""
    nobody = loop.Records(features().images, torch.zeros(RECORDS, CATEGORIES))
    return [{name: gradient / (NOISE * CLIP / BATCH) for name, gradient in step.items()}
            for step in read(reading(steps=50), nobody, **how).released]


def law_a_readers_noise_has_the_declared_spread_in_every_step_and_on_an_empty_batch():
    steps = reader_noise()
    biases = torch.cat([step["logits.bias"] for step in steps])
    for noise in [*map(flat, steps), biases]:
        low, high = stats.chi2.interval(1 - RARE, len(noise))
        assert low < float(noise.double().square().sum()) < high
    assert stats.kstest(torch.cat([flat(step) for step in steps]).numpy(), "norm").pvalue > RARE
    assert_unrelated(torch.stack([flat(step) for step in steps]))
    empty = reader_noise(draw=lambda batch, step: batch[:0])
    assert all(torch.equal(flat(one), flat(other)) for one, other in zip(steps, empty, strict=True))


def law_without_noise_a_reader_is_plain_softmax_regression():
    records, drawn = features(), []
    run = read(reading(noise=0.0, clip=1e6), records, draw=lambda batch, step: drawn.append(batch) or batch)
    network = Reader(INPUTS, CATEGORIES)
    for rows, released, weights in zip(drawn, run.released, run.published, strict=True):
        loss = F.cross_entropy(network.logits(records.images[rows]), records.categories[rows].argmax(1),
                               reduction="sum") / BATCH
        plain = torch.autograd.grad(loss, list(network.parameters()))
        expected = torch.cat([-gradient.flatten() for gradient in plain])
        # float32 sums in another order
        assert float((flat(released) - expected).norm()) < 1e-5 * float(expected.norm())
        network.load_state_dict(weights)


def learnt(folder, config, garbage=False, run=None, **options):
    """reader.train on the CPU, on images of SIDE; run: its releases are kept there."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (RECORDS, 1, SIDE, SIDE)).astype(np.float32)
    if garbage:
        images = np.full_like(images, math.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        if run is not None:
            watch_reader_steps(patch, run)
        torch.manual_seed(0)
        return reader.train(config, Generator(config.latent, config.model), images, np.arange(RECORDS) % CATEGORIES,
                            Path(folder), **options)


def law_what_a_reader_starts_from_is_generated_images_alone():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = [learnt(folder, reading(steps=0), garbage) for folder, garbage in ((one, False), (other, True))]
    for name in ("features", "reader"):
        weights, others = (getattr(state, name).state_dict() for state in found)
        assert all(torch.equal(value, others[key]) for key, value in weights.items()), name


def law_a_resumed_reader_releases_what_an_uninterrupted_one_does():
    config = reading(steps=2 * reader.BLOCK + 3)
    whole, parts = (SimpleNamespace(released=[], published=[]) for _ in range(2))

    def kill_reader(step):
        if step > reader.BLOCK:  # after the second block
            raise Killed

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        expected = learnt(one, config, run=whole)
        learnt(other, config, run=parts, max_minutes=0)
        with pytest.raises(Killed):
            learnt(other, config, run=parts, progress=kill_reader)
        state = learnt(other, config, run=parts)
    releases, distinct = ({flat(gradient).numpy().tobytes() for gradient in run.released} for run in (whole, parts))
    assert len(parts.released) == config.reader.steps + reader.BLOCK, "the killed block was done twice"
    assert same(distinct, releases) and len(releases) == state.step == state.taken == config.reader.steps
    for name, weights in expected.average.state_dict().items():
        assert torch.equal(state.average.state_dict()[name], weights), name


# The laws and the mutants ---------------------------------------------------------------------------------------------

LAWS = {name.removeprefix("law_").replace("_", " "): law for name, law in list(globals().items())
        if name.startswith("law_")}


@cache
def laws_that_catch(mutant):
    """Of the laws of the step that the mutant is of: the critic's, or the reader's."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[mutant](patch)
        forget_recordings()
        caught = [name for name, law in LAWS.items() if ("reader" in name) == (mutant in READERS) and is_broken(law)]
    forget_recordings()  # they are of a library with that mutant
    return caught


def forget_recordings():
    base.cache_clear()
    neighbours.cache_clear()


def is_broken(law):
    try:
        law()
    except (AssertionError, pytest.fail.Exception):  # the latter where a kill that a law expects does not come
        return True
    return False


@pytest.mark.parametrize("law", LAWS)
def test_the_law_holds(law):
    LAWS[law]()


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS)
def test_some_law_catches(mutant, record_property):
    caught = laws_that_catch(mutant)
    record_property("mutant", (mutant, caught))
    assert caught


@pytest.mark.full
def test_every_law_catches_some_mutant():
    """A law that no mutant breaks may be one that nothing breaks."""
    assert {law for mutant in MUTANTS for law in laws_that_catch(mutant)} == set(LAWS)
