"""A training run under watch, and its replay: the same randomness and the same published critics, other data.

That is how a privacy proof compares neighbours: step by step, given what was published so far. So a replay starts each
critic step from the recorded critic, whatever its own last step made of it.
"""

import copy
import sys
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import dpgan_lib
from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.state import State, new_state

LIBRARY = str(Path(dpgan_lib.__file__).parent)


@dataclass
class Recording:
    """What a run did. values: public arguments and noise of the mechanism.  lines: of the library, as they ran."""

    released: list[dict[str, Tensor]] = field(default_factory=list)  # each critic step's gradient, by parameter
    published: list[tuple[dict, dict]] = field(default_factory=list)  # each critic step's weights and optimiser state
    values: list[tuple] = field(default_factory=list)
    lines: list[tuple[str, int]] = field(default_factory=list)
    state: State | None = None


def as_drawn(batch: np.ndarray, step: int) -> np.ndarray:
    return batch


def record(config: RunConfig, records: loop.Records, *, draw: Callable = as_drawn,
           replay: Recording | None = None, control_flow: bool = False) -> Recording:
    """Train on the CPU through loop.train_block, from the start to T.

    draw: (indices that Poisson sampling drew, step) -> indices of that step's batch.  control_flow: log lines, slowly.
    A run that breaks off breaks a law: whether it does would tell of the data.
    """
    run = Recording()
    with pytest.MonkeyPatch.context() as patch:
        listen(patch, run.values, draw, config.privacy.records)
        watch_critic_steps(patch, run, replay)
        run.state = new_state(config, torch.device("cpu"))
        try:
            with _lines(run.lines) if control_flow else nullcontext():
                while run.state.step < config.privacy.steps:
                    loop.train_block(config, run.state, records)
        except RuntimeError as error:
            raise AssertionError("the run broke off") from error
    return run


def watch_critic_steps(patch: pytest.MonkeyPatch, run: Recording, replay: Recording | None = None) -> None:
    """Keep what each critic step releases; in a replay, put the recorded critic in its place afterwards."""
    critic_step = loop.critic_step

    def watched(critic, optimiser, *arguments):
        critic_step(critic, optimiser, *arguments)
        run.released.append({name: parameter.grad.clone() for name, parameter in critic.named_parameters()})
        if replay is not None:
            weights, moments = replay.published[len(run.published)]
            critic.load_state_dict(weights)
            optimiser.load_state_dict(copy.deepcopy(moments))
        run.published.append((copy.deepcopy(critic.state_dict()), copy.deepcopy(optimiser.state_dict())))

    patch.setattr(loop, "critic_step", watched)


def listen(patch: pytest.MonkeyPatch, values: list[tuple], draw: Callable = as_drawn,
           common: int | None = None) -> None:
    """Log what the mechanism is asked for and the noise it draws. Never the batch: its size is secret.

    common: draw batches from this many records, those that neighbours share; draw decides of the one more.
    """
    sample, stream, noisy_mean, clipped_sum = (loop.poisson_sample, loop.stream, steps.noisy_mean,
                                               steps.clipped_sum)
    drawn = []

    def heard_sample(records, rate, rng):
        values.append(("sample", common or records, rate))
        drawn.append(None)
        return draw(sample(common or records, rate, rng), len(drawn) - 1)

    def heard_stream(config_hash, purpose, step=0):
        values.append(("stream", purpose, step))
        rng = stream(config_hash, purpose, step)
        return HeardNoise(rng.bit_generator, values) if purpose == "noise" else rng

    def heard_mean(model, inputs, **public):
        values.append(("mean", *(public[name] for name in ("clip_norm", "noise_multiplier", "expected_batch"))))
        return noisy_mean(model, inputs, **public)

    def heard_fakes(model, fakes, clip_norm):
        values.append(("fakes", len(fakes[0]), clip_norm))
        return clipped_sum(model, fakes, clip_norm)

    patch.setattr(loop, "poisson_sample", heard_sample)
    patch.setattr(loop, "stream", heard_stream)
    patch.setattr(steps, "noisy_mean", heard_mean)
    patch.setattr(steps, "clipped_sum", heard_fakes)


class HeardNoise(np.random.Generator):
    """A generator that logs the normal numbers it gives."""

    def __init__(self, bit_generator, log):
        super().__init__(bit_generator)
        self.log = log

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        numbers = super().standard_normal(size, dtype, out)
        self.log.append(("noise", size, numbers.tobytes()))
        return numbers


@contextmanager
def _lines(log: list):
    """Log every line of the library that runs."""

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            log.append((Path(frame.f_code.co_filename).stem, frame.f_lineno))
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)
