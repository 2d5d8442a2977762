"""An auditor who watches a run as it trains, and stops when it is not the mechanism that was claimed.

The auditor chose the whole training set: a few canaries, and no data. The run's noise is so small that each noisy sum
shows which canaries were drawn, and what is left of it is the noise itself. So everything that the accountant takes for
granted can be looked at, in every step: batches of binomial sizes, each gradient clipped to C, normal noise of the
claimed spread in every parameter and new in every step, weights that follow from the releases alone, and no more than T
releases. A fault of the code is there at any noise; here it shows early.

The training is stopped after a block, resumed, killed before its next checkpoint, and resumed again.

Each look has a probability below LEVEL of refuting a correct run, over all its steps together: of step t's test it is
LEVEL / t (t + 1), and the batches' sizes are a bet whose wins are a martingale, so they exceed 1 / LEVEL as rarely
(Ville's inequality).
"""

import copy
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.loop import train_block as claimed_block
from dpgan_lib.gan.state import State, new_state
from dpgan_lib.profiles import PROFILES
from dpgan_lib.studies.audit import canaries
from dpgan_lib.studies.audit.mutants import MUTANTS, Patch, patches, wrap

LEVEL = 1e-4  # of each kind of look
LOUD_ONES, SOFT_ONES = 7, 2  # canaries whose gradients are longer than C, and shorter; one more has none that is finite
RECORDS, EXPECTED = 10, 2  # N, q N: one batch in ten is empty
STEPS, BLOCK = 201, 2  # T, which is no multiple of the steps between two checkpoints
CLIP, NOISE = 10.0, 0.02  # C, sigma
SMOOTHING = 2.0  # batches that the bet on sizes begins with, of the claimed law


def configuration(seed: int, noise: float = NOISE) -> RunConfig:
    """The watched run. Its epsilon is of no interest, and large."""
    profile = PROFILES["smoke"]
    privacy = PrivacyConfig(epsilon=1 / noise, delta=1e-5, records=RECORDS, expected_batch=EXPECTED, steps=STEPS,
                            clip_norm=CLIP, noise_multiplier=noise)
    return RunConfig(dataset="canaries", profile="smoke", seed=seed, latent=profile.latent, privacy=privacy,
                     model=replace(profile.model, generator_width=4), evaluation=profile.evaluation,
                     optimiser=replace(profile.optimiser, fakes=16, pool=32, critic_steps=BLOCK))


def training_set(config: RunConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, channels, side, side) and labels (N,): loud canaries, soft ones, and one of infinite pixels."""
    shape = (config.model.channels, config.model.image_side, config.model.image_side)
    loud, _ = canaries.chosen(LOUD_ONES, shape, config.latent.categories, rng)
    soft = rng.uniform(-1, 1, (SOFT_ONES, *shape)).astype(np.float32)
    infinite = np.full((1, *shape), np.inf, dtype=np.float32)
    return np.concatenate([loud, soft, infinite]), np.arange(RECORDS) % config.latent.categories


class Refuted(Exception):
    """What the auditor saw, in words."""


@dataclass
class Auditor:
    """Looks at every step of a run. Raises Refuted at the first thing that a correct run hardly ever does.

    noises: flat, of the steps so far and of other runs.  releases: of the steps by the weights that they began with.
    """

    config: RunConfig
    rows: tuple[Tensor, Tensor]
    noises: list[np.ndarray] = field(default_factory=list)
    releases: dict[bytes, bytes] = field(default_factory=dict)
    wins: float = 0.0  # log
    sizes: Counter = field(default_factory=Counter)

    @property
    def looked_at(self) -> int:
        return len(self.releases)

    def look(self, critic: torch.nn.Module, released: dict[str, Tensor]) -> None:
        """critic: before the step.  released: the noisy mean."""
        weights, numbers = (_bytes(each) for each in (critic.state_dict(), released))
        if weights in self.releases:  # a step that a crash undid
            self._refute(self.releases[weights] != numbers, "two releases of one step")
            return
        self.releases[weights] = numbers
        self._refute(self.looked_at > self.config.privacy.steps, "more releases than planned")
        sums = {name: each * self.config.privacy.expected_batch for name, each in released.items()}
        self._refute(not all(each.isfinite().all() for each in sums.values()), "a sum that is not finite")
        drawn, noise = self._decode(critic, sums)
        self._look_at_noise(noise)
        self._bet_on_size(int(drawn.sum()))

    def _refute(self, condition: bool, what: str) -> None:
        if condition:
            raise Refuted(what)

    def _test(self, p_value: float, tests: int, what: str) -> None:
        """One of several tests of this step, that share the level."""
        self._refute(p_value * tests < LEVEL / (self.looked_at * (self.looked_at + 1)), what)

    def _decode(self, critic, sums) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Which records were drawn, and the noise in units of sigma C, by parameter.

        A sum is least-squares fitted by the clipped gradients; the coefficients are 0 or 1, give or take the noise.
        """
        privacy, flat = self.config.privacy, _flat(sums)
        gradients = [_flat(each) for each in clipped_gradients(critic, self.rows, privacy.clip_norm)]
        matrix = np.stack([each for each in gradients if np.isfinite(each).all()])
        inverse = np.linalg.inv(matrix @ matrix.T)
        found = inverse @ (matrix @ flat)
        drawn = np.clip(np.round(found), 0, 1)
        spread = privacy.noise_multiplier * privacy.clip_norm * np.sqrt(np.diag(inverse))
        worst = float(np.max(np.abs(found - drawn) / spread))
        self._test(2 * stats.norm.sf(worst), len(drawn), "a record that adds more or less than its clipped gradient")
        noise = (flat - drawn @ matrix) / (privacy.noise_multiplier * privacy.clip_norm)
        parts = np.split(noise, np.cumsum([each.numel() for each in sums.values()])[:-1])
        return drawn, dict(zip(sums, parts))

    def _look_at_noise(self, parts: dict[str, np.ndarray]) -> None:
        for name, part in parts.items():
            below = stats.chi2.cdf(part @ part, len(part))
            self._test(2 * min(below, 1 - below), len(parts), "noise of another spread")
        noise = np.concatenate(list(parts.values()))
        self._test(stats.kstest(noise, "norm").pvalue, 1, "noise that is not normal")
        pairs = list(combinations(parts.values(), 2))
        for one, other in pairs:
            self._test(_p_of_product(one, other), len(pairs), "noise shared between parameters")
        for earlier in self.noises:
            self._test(_p_of_product(noise, earlier), len(self.noises), "noise used before")
        self.noises.append(noise)

    def _bet_on_size(self, size: int) -> None:
        """A gambler bets on each batch's size, at the odds of the claimed law, by how often it came so far."""
        known = RECORDS - 1  # without the record that adds nothing
        fair = stats.binom.pmf(size, known, self.config.privacy.sampling_rate)
        betted = (self.sizes[size] + SMOOTHING * fair) / (self.sizes.total() + SMOOTHING)
        self.wins += math.log(betted / fair)
        self.sizes[size] += 1
        self._refute(self.wins > -math.log(LEVEL), "batches of other sizes")


def clipped_gradients(critic, rows: tuple[Tensor, Tensor], clip_norm: float) -> Iterator[dict[str, Tensor]]:
    """Each record's gradient, scaled to length clip_norm at most, one after another: by no formula of the library."""
    parameters = dict(critic.named_parameters())
    for image, category in zip(*rows):
        found = torch.autograd.grad(critic(image[None], category[None]).sum(), list(parameters.values()))
        length = math.sqrt(sum(float(each.double().square().sum()) for each in found))
        scale = min(1.0, clip_norm / length) if length else 1.0
        yield {name: each.double() * scale for name, each in zip(parameters, found)}


def _p_of_product(one: np.ndarray, other: np.ndarray) -> float:
    """Of two flat noises, as far as both go: independent ones have a mean product of 0, give or take 1 / sqrt(n)."""
    size = min(len(one), len(other))
    norm = np.linalg.norm(one[:size]) * np.linalg.norm(other[:size])
    return float(2 * stats.norm.sf(abs(one[:size] @ other[:size]) / norm * math.sqrt(size))) if norm else 1.0


def _flat(tensors: dict[str, Tensor]) -> np.ndarray:
    return torch.cat([each.detach().double().flatten() for each in tensors.values()]).numpy()


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    return b"".join(each.contiguous().numpy().tobytes() for each in tensors.values())


def listen(patch: Patch, auditor: Auditor) -> None:
    """Have the auditor look at every critic step of the library, and at what comes of each block."""
    of_block: list[dict[str, Tensor]] = []

    def step(critic_step, *arguments):
        def private_mean(model, inputs, **public):
            released = steps.noisy_mean(model, inputs, **public)
            of_block.append({name: each.clone() for name, each in released.items()})
            auditor.look(model, released)
            return released

        critic_step(*arguments, private_mean)

    def block(train_block, config, state, records):
        before = copy.deepcopy(state)
        of_block.clear()
        train_block(config, state, records)
        if not _follows(config, before, state, of_block, records):
            raise Refuted("weights that do not follow from the releases")

    wrap(patch, loop, "critic_step", step)
    wrap(patch, loop, "train_block", block)


def _follows(config: RunConfig, before: State, after: State, releases: list[dict[str, Tensor]],
             records: loop.Records) -> bool:
    """Whether a block's releases, and no data, lead from one state to the next."""
    nothing, left = loop.Records(records.images[:0], records.categories[:0]), iter(releases)

    def replayed(*arguments):
        steps.critic_step(*arguments, lambda *_, **__: next(left))

    try:
        claimed_block(config, before, nothing, replayed)
    except StopIteration:  # a step without a release
        return False
    networks = ("critic", "generator", "posterior", "average")
    return all(_bytes(getattr(before, name).state_dict()) == _bytes(getattr(after, name).state_dict())
               for name in networks)


class _Killed(Exception):
    pass


def _kill(step: int) -> None:
    if step == 2 * BLOCK:
        raise _Killed


def watched(mutant: str | None, seed: int) -> dict:
    """Watch the library, or a mutant of it, until it is refuted or has trained T steps.

    Returns step, the one that refuted it, and seen, what was seen, in words; both None for a run that was not refuted.
    Before its first step the auditor has seen one block of another run, with twice the noise and another claim.
    """
    with patches() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        config = configuration(seed)
        images, labels = training_set(config, np.random.default_rng(seed))
        if mutant:
            MUTANTS[mutant](patch)
        auditor = Auditor(config, _rows(config, images, labels))
        try:
            auditor.noises += _first_noises(configuration(seed, 2 * NOISE), images, labels)
            listen(patch, auditor)
            loop.train(config, images, labels, Path(folder), max_minutes=0)
            try:
                loop.train(config, images, labels, Path(folder), progress=_kill)
            except _Killed:
                pass
            loop.train(config, images, labels, Path(folder))
        except Refuted as refutation:
            return {"step": auditor.looked_at, "seen": str(refutation)}
    return {"step": None, "seen": None}


def _rows(config, images, labels):
    records = loop.on_device(config, images, labels)
    return records.images, records.categories


def _first_noises(config, images, labels) -> list[np.ndarray]:
    """The noise of a run's first step, as its auditor decodes it."""
    auditor = Auditor(config, _rows(config, images, labels))
    with patches() as patch:
        listen(patch, auditor)
        try:
            loop.train_block(config, new_state(config, torch.device("cpu")), loop.on_device(config, images, labels))
        except Refuted:
            pass  # of the run that is watched it will be seen again
    return auditor.noises[:1]
