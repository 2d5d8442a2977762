"""Laws of the private mechanism, held through the whole training path; and mutants, each of which breaks some law.

A law is a plain function that raises AssertionError. The library as it is passes them all; a library with the noise
halved, the clip dropped, the batches shuffled and so on does not. The end of a run prints what caught what.
"""

import math
import tempfile
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import Recording, listen, record, watch_critic_steps
from sample_record import run_config
from scipy import stats

from dpgan_lib.gan import loop
from dpgan_lib.gan import state as training_state
from dpgan_lib.gan.state import new_state
from dpgan_lib.studies.audit.mutants import MUTANTS

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


# The laws and the mutants ---------------------------------------------------------------------------------------------

LAWS = {name.removeprefix("law_").replace("_", " "): law for name, law in list(globals().items())
        if name.startswith("law_")}


@cache
def laws_that_catch(mutant):
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[mutant](patch)
        forget_recordings()
        caught = [name for name, law in LAWS.items() if is_broken(law)]
    forget_recordings()  # they are of a library with that mutant
    return caught


def forget_recordings():
    base.cache_clear()
    neighbours.cache_clear()


def is_broken(law):
    try:
        law()
    except AssertionError:
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
