"""The loop: T critic steps, a generator step after every few, a checkpoint now and then.

Runs with torch, numpy and safetensors alone (see remote).
"""

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dpgan_lib.config import RunConfig
from dpgan_lib.gan.latent import category
from dpgan_lib.gan.state import Scores, Start, State, device, draw_latent, load_checkpoint, new_state, save_checkpoint
from dpgan_lib.gan.steps import critic_step, generator_step, update_average
from dpgan_lib.privacy.ledger import charge, charged
from dpgan_lib.privacy.mechanism import poisson_sample
from dpgan_lib.privacy.streams import stream

CHECKPOINT_SECONDS = 30  # a killed run repeats, or a release loses, at most this much
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's settings, from its malloc.h


@dataclass(frozen=True)
class Records:
    """The training set on the device that trains: images (n, channels, side, side), one-hot categories (n, K).

    people: where the unit of privacy is a person, the rows of each person's images. Else a record is an image, n = N.
    """

    images: Tensor
    categories: Tensor
    people: tuple[np.ndarray, ...] | None = None

    def sample(self, rate: float, rng: np.random.Generator) -> np.ndarray:
        """The rows of a Poisson batch. Of a person, one image at random: so many images weigh no more than one."""
        if self.people is None:
            return poisson_sample(len(self.images), rate, rng)
        drawn = poisson_sample(len(self.people), rate, rng)
        return np.array([rng.choice(self.people[person]) for person in drawn], dtype=np.int64)


def train(config: RunConfig, images: np.ndarray, labels: np.ndarray, folder: Path, *, start: Start | None = None,
          people: np.ndarray | None = None, max_minutes: float | None = None,
          progress: Callable[[int], None] = lambda step: None, step_of_critic: Callable | None = None,
          clock: Callable[[], float] = time.monotonic) -> State:
    """Train from folder's checkpoint, or from the start, until T critic steps are done or the time is up.

    images (n, channels, side, side) float32 in [-1, 1], labels (n,) integers.  people (n,): whom each image shows,
    where the unit of privacy is a person; else it is an image.
    start: what to begin with; a run that goes on needs the same again.  progress: told the number of steps done.
    step_of_critic: as of train_block.  clock: seconds; of several processes, the same for all (see ranks).
    Returns the state; it is complete when state.step == T.
    T is part of the calibration. A demonstration repeats a step after a crash with the same batch and the same noise:
    one release, not two. A release has fresh noise, so a step that a crash undid stays charged and is not taken again:
    then state.taken, the steps that the weights have seen, ends below T.
    """
    keep_freed_memory()
    records = on_device(config, images, labels, people)
    state = load_checkpoint(config, folder, device(), start) or new_state(config, device(), start)
    if config.is_release:
        state.step = max(state.step, charged(folder))
    block = train_block if step_of_critic is None else partial(train_block, step_of_critic=step_of_critic)
    started = saved = clock()
    before = state.seconds
    while state.step < config.privacy.steps:
        if config.is_release:  # for one block, before it is computed: what a crash undoes stays charged
            charge(folder, min(state.step + config.optimiser.critic_steps, config.privacy.steps))
        block(config, state, records)
        now = clock()
        state.seconds = before + now - started
        out_of_time = max_minutes is not None and now - started > 60 * max_minutes
        if out_of_time or now - saved > CHECKPOINT_SECONDS or state.step == config.privacy.steps:
            save_checkpoint(config, state, folder)
            saved = now
        progress(state.step)
        if out_of_time:
            break
    return state


def on_device(config: RunConfig, images: np.ndarray, labels: np.ndarray, people: np.ndarray | None = None) -> Records:
    """The training set where it is trained on. A label that is no category counts as none: its record scores 0.

    Raises ValueError unless a demonstration has the declared number of records. A release does not look: the number is
    private, and the guarantee holds for any.
    """
    of_each = None if people is None else _rows_of_each(people)
    found = len(images) if of_each is None else len(of_each)
    if labels.shape != (len(images),):
        raise ValueError("there must be one label for each image, in a row: one-hot labels need an argmax.")
    if found != config.privacy.records and not config.is_release:
        raise ValueError(f"{len(images)} images and {len(labels)} labels" + (people is not None) * f" of {found} people"
                         + f" do not match the declared N = {config.privacy.records}: the noise was calibrated for "
                         "that N; plan the run anew.")
    categories = torch.from_numpy(labels[:, None] == np.arange(config.latent.categories)).float()
    return Records(torch.from_numpy(images).to(device()), categories.to(device()), of_each)


def _rows_of_each(people: np.ndarray) -> tuple[np.ndarray, ...]:
    order = np.argsort(people, kind="stable")
    return tuple(np.split(order, np.flatnonzero(np.diff(people[order])) + 1)) if len(order) else ()


def train_block(config: RunConfig, state: State, records: Records, step_of_critic: Callable | None = None) -> None:
    """critic_steps critic steps on one pool of fakes, for G stands still; then one generator step.

    The last block of a run may be shorter, and then has no generator step. A checkpoint lies between two blocks.
    step_of_critic: another function with critic_step's arguments and guarantee, for those who look at a run.
    """
    settings, first = config.optimiser, state.step
    steps = range(first, min(first + settings.critic_steps, config.privacy.steps))
    fakes = _pool(config, state, first)
    for step, batch in zip(steps, _batches(config, steps, records)):
        rows = slice(start := (step - first) * settings.fakes % settings.pool, start + settings.fakes)
        (step_of_critic or critic_step)(
            state.critic, state.critic_optimiser, (records.images[batch], records.categories[batch]),
            (fakes[0][rows], fakes[1][rows]), config.privacy, settings.clip_fakes,
            stream(config.randomness, "noise", step))
    state.step, state.taken = steps.stop, state.taken + len(steps)
    if len(steps) == settings.critic_steps:
        z, code = draw_latent(config, settings.fakes, 2 * first + 1, records.images.device, state.start)
        bound = generator_step(state.generator, state.posterior, _scores(state, fakes), state.generator_optimiser,
                               z, code, config.latent, settings)
        update_average(state.average, state.generator, settings.averaging)
        state.history.append((state.step, _finite(bound, state.step)))


def _scores(state, fakes) -> Scores:
    """All of f_w, which the generator meets. The critic's steps need no more than the part that is trained."""
    if state.start is None:
        return state.critic
    witness = state.start.witness(*fakes)
    return lambda images, categories: witness(images, categories) + state.critic(images, categories)


def _pool(config, state, first):
    place = next(state.generator.parameters()).device
    z, code = draw_latent(config, config.optimiser.pool, 2 * first, place, state.start)
    with torch.no_grad():
        return state.generator(z, code), category(config.latent, code)


def _batches(config, steps, records) -> tuple[Tensor, ...]:
    """The Poisson batches of a block as rows. They depend on no image, so they are drawn ahead and moved at once."""
    drawn = [torch.from_numpy(records.sample(config.privacy.sampling_rate, stream(config.randomness, "sampling", step)))
             for step in steps]
    return torch.cat(drawn).to(records.images.device, non_blocking=True).split([len(batch) for batch in drawn])


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a step frees: it gives large blocks back to the kernel, and the next step faults
    every page of them in again.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # not in musl
            libc.mallopt(MMAP_THRESHOLD, 2**25)
            libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def _finite(bound: Tensor, step: int) -> float:
    if not torch.isfinite(bound):
        raise RuntimeError(f"the generator diverged at critic step {step}: L_I is {bound.item()}. "
                           "Lower the learning rates or the weight clip; the privacy spent stays spent.")
    return round(bound.item(), 4)
