"""What privacy costs in time and memory: ways to take one critic step, and whole runs, side by side.

Timings are medians in milliseconds over repeats in which the ways take turns, so that a busy moment hits all alike;
each timed step follows an untimed one of its own way.
`dpgan bench` makes a record of them. On a bare machine, with torch, numpy and safetensors alone,

    python -m dpgan_lib.studies.cost.bench measured.json

leaves them in a file for `dpgan bench --measured measured.json` elsewhere; a way whose package is absent is left out.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dpgan_lib.config import ModelConfig, PrivacyConfig, RunConfig, plain
from dpgan_lib.gan import loop, state
from dpgan_lib.gan.networks import Critic, build_networks
from dpgan_lib.gan.state import device, hardware
from dpgan_lib.gan.steps import critic_step
from dpgan_lib.privacy.clipping import clipped_sum
from dpgan_lib.privacy.mechanism import noisy_mean
from dpgan_lib.profiles import PROFILES
from dpgan_lib.records.provenance import MEASURING, measuring_source, provenance
from dpgan_lib.studies.cost.ways import WAYS

LATENT = PROFILES["laptop"].latent
CRITICS = {"MNIST": PROFILES["laptop"].model,
           "CelebA": replace(PROFILES["laptop"].model, image_side=32, channels=3, critic_width=48)}
BATCHES = (128, 256, 512, 2048)
SCALES = {  # one number is varied at a time, the others stay as in the book's MNIST critic at batch 512
    "batch": (64, 128, 256, 512, 1024, 2048, 4096),
    "critic_width": (8, 16, 32, 64, 128),
    "image_side": (16, 28, 40, 64, 96),
}
SECONDS = 12.0  # for the repeats of one critic at one batch
REPEATS = (5, 40)  # at least, at most
ONLY_AT = {  # MNIST's critic at one batch: slow, or compiled anew for each shape, and nothing new elsewhere
    "explicit loop": 128, "plain, compiled": 512, "vmap(grad), compiled": 512}
RUN_STEPS = {"smoke": 120, "laptop": 200, "paper": 100}  # critic steps timed of each profile's run


def privacy(batch: int, is_private: bool) -> PrivacyConfig:
    """The private step as the book takes it, or the same without clipping and noise. batch: its expected size."""
    return PrivacyConfig(epsilon=1.0 if is_private else math.inf, delta=1e-5, records=60_000, expected_batch=batch,
                         steps=1, clip_norm=1.0 if is_private else math.inf,
                         noise_multiplier=1.0 if is_private else 0.0)


def new_critic(model: ModelConfig) -> Critic:
    return build_networks(LATENT, model, np.random.default_rng(0))[1]


def random_half(model: ModelConfig, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random images in [-1, 1] and categories: a step takes the same time on them as on real ones."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (batch, model.channels, model.image_side, model.image_side)).astype(np.float32)
    categories = np.eye(LATENT.categories, dtype=np.float32)[rng.integers(LATENT.categories, size=batch)]
    return torch.from_numpy(images).to(device()), torch.from_numpy(categories).to(device())


def step_of(model: ModelConfig, batch: int, way: str) -> Callable[[], None]:
    """One critic step in one way: real and fake half, optimiser and projection included."""
    critic = new_critic(model).to(device())
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.0, 0.9), fused=True)
    real, fake = random_half(model, batch, 1), random_half(model, batch, 2)
    noise = np.random.Generator(np.random.Philox(3))
    is_private, clip_fakes, make = WAYS[way]
    settings, mean = privacy(batch, is_private), partial(noisy_mean, sum_of=make(critic))

    def step():
        critic_step(critic, optimiser, real, fake, settings, clip_fakes, noise, private_mean=mean)

    return step


def time_steps(model: ModelConfig, batch: int, ways: list[str], seconds: float = SECONDS) -> list[dict]:
    """A row for each way: its median in milliseconds, quartiles, repeats, and its peak memory in bytes."""
    steps = {}
    for way in filter(_is_possible, ways):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Opacus and of the compiler, about themselves
            steps[way] = step_of(model, batch, way)
            steps[way]()
    once = sum(min(_timed(step) for _ in range(3)) for step in steps.values())
    repeats = int(min(max(seconds / once, REPEATS[0]), REPEATS[1]))
    times = {way: [] for way in steps}
    for _, (way, step) in itertools.product(range(repeats), steps.items()):
        step()  # in training a step follows its like; without this it would find the caches as another way left them
        times[way].append(1e3 * _timed(step))
    return [{"way": way, "batch": batch, "milliseconds": statistics.median(values),
             "quartiles": np.percentile(values, [25, 75]).tolist(), "repeats": repeats,
             "peak_bytes": peak_bytes(steps[way])} for way, values in times.items()]


def _is_possible(way: str) -> bool:
    """Whether this machine has what a way needs beyond torch."""
    if "Opacus" in way:
        return find_spec("opacus") is not None
    return "compiled" not in way or torch.cuda.is_available() or shutil.which("g++") is not None


def _timed(step: Callable[[], None]) -> float:
    _synchronise()
    started = time.perf_counter()
    step()
    _synchronise()
    return time.perf_counter() - started


def _synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes(step: Callable[[], None]) -> int:
    """The most memory that tensors hold during a step, beyond what they held before it."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    held = peak = 0
    for event in sorted(_allocations(profiled), key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _allocations(profiled):
    return [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]


@contextmanager
def _without_stderr():
    """The profiler's C++ reports its own beginning and end there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def steps_table(progress: Callable[[str], object] = lambda text: None) -> list[dict]:
    """Every way at every batch, for both critics."""
    rows = []
    for (name, model), batch in itertools.product(CRITICS.items(), BATCHES):
        progress(f"{name} critic, batch {batch}")
        ways = [way for way in WAYS if way not in ONLY_AT or (name, batch) == ("MNIST", ONLY_AT[way])]
        rows += [{"critic": name} | row for row in time_steps(model, batch, ways)]
    return rows


def scaling_table(progress: Callable[[str], object] = lambda text: None) -> list[dict]:
    """The plain step and ours as batch, width and image side grow, each alone."""
    rows = []
    for factor, values in SCALES.items():
        for value in values:
            progress(f"scaling, {factor} {value}")
            model = CRITICS["MNIST"] if factor == "batch" else replace(CRITICS["MNIST"], **{factor: value})
            critic = new_critic(model)
            for row in time_steps(model, value if factor == "batch" else 512, ["plain", "ours, both halves"], 3.0):
                rows.append({"factor": factor, "value": value,
                             "parameters": sum(parameter.numel() for parameter in critic.parameters())} | row)
    return rows


def run_config(profile_name: str, is_private: bool) -> RunConfig:
    """A run of a profile, on random images; its noise is of the usual size, for no guarantee is claimed here."""
    chosen = PROFILES[profile_name]
    return RunConfig(dataset="random", profile=profile_name, seed=0, latent=chosen.latent, model=chosen.model,
                     optimiser=chosen.optimiser, evaluation=chosen.evaluation,
                     privacy=replace(privacy(chosen.expected_batch, is_private), steps=RUN_STEPS[profile_name]))


def runs_table(progress: Callable[[str], object] = lambda text: None) -> list[dict]:
    """Seconds of a whole run, private and not, for the same critic steps: all of the loop but the evaluation."""
    rows = []
    for name in PROFILES:
        progress(f"whole runs, {name} profile")
        runs = {is_private: _Run(run_config(name, is_private)) for is_private in (False, True)}
        while any(run.is_running for run in runs.values()):
            for run in runs.values():
                run.block()
        rows += [{"profile": name, "is_private": is_private, "steps": RUN_STEPS[name], "seconds": run.seconds}
                 for is_private, run in runs.items()]
    return rows


class _Run:
    """A run that advances by blocks, so that two can take turns."""

    def __init__(self, config: RunConfig):
        images, labels = random_half(config.model, config.privacy.records, 4)
        self.config, self.records = config, loop.Records(images, labels)
        self.state = state.new_state(config, device())
        self.seconds = 0.0
        loop.train_block(config, self.state, self.records)  # to warm up
        self.state.step = 0

    @property
    def is_running(self) -> bool:
        return self.state.step < self.config.privacy.steps

    def block(self) -> None:
        if self.is_running:
            self.seconds += _timed(lambda: loop.train_block(self.config, self.state, self.records))


def hot_loop(progress: Callable[[str], object] = lambda text: None, top: int = 12) -> list[dict]:
    """Where a block of the laptop profile spends its time: the operators by their own share of it."""
    progress("profile of the hot loop")
    run = _Run(run_config("laptop", True))
    with _without_stderr(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(5):
            run.block()
    averages = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in averages)
    return [{"operator": event.key, "share": event.self_cpu_time_total / total, "calls": event.count}
            for event in averages[:top]]


def device_check() -> dict:
    """Largest relative difference of clipped sums between this device and a CPU; empty on a CPU."""
    if not torch.cuda.is_available():
        return {}
    differences = {}
    for name, model in CRITICS.items():
        critic = new_critic(model)
        half = random_half(model, 512, 5)
        there = clipped_sum(critic.to(device()), half, 1.0)
        here = clipped_sum(critic.cpu(), tuple(tensor.cpu() for tensor in half), 1.0)
        scale = max(float(gradient.abs().max()) for gradient in here.values())
        differences[name] = max(float((there[key].cpu() - here[key]).abs().max()) for key in here) / scale
    return differences


def tables(progress: Callable[[str], object] = lambda text: None) -> dict:
    """All tables. Takes about five minutes on two cores.  progress: told what comes next."""
    loop.keep_freed_memory()
    return {"steps": steps_table(progress), "runs": runs_table(progress), "scaling": scaling_table(progress),
            "hot_loop": hot_loop(progress), "device_check": device_check()}


def measured(measure: Callable[..., dict] = tables, progress: Callable[[str], object] = lambda text: None) -> dict:
    """What is measured, with what defines it and where it was measured.  measure: progress -> metrics."""
    started, origin = time.monotonic(), provenance(sources())
    return {"config": config(), "metrics": measure(progress), "provenance": origin | {"trained_on": hardware()},
            "seconds": round(time.monotonic() - started, 1)}


def sources() -> dict:
    """What a record of the benchmark depends on. Read from files, so that a bare machine can tell."""
    return {MEASURING: measuring_source("cost", "benchmark")}


def config() -> dict:
    """What is measured, as plain JSON types."""
    return {"critics": {name: plain(asdict(model)) for name, model in CRITICS.items()}, "batches": list(BATCHES),
            "ways": list(WAYS), "run_steps": RUN_STEPS,
            "scales": {name: list(values) for name, values in SCALES.items()},
            "threads": torch.get_num_threads()}


def main() -> None:
    """Measure what privacy costs on this machine."""
    parser = argparse.ArgumentParser(prog="python -m dpgan_lib.studies.cost.bench", description=main.__doc__)
    parser.add_argument("file", type=Path, help="where the timings go, as JSON")
    target = parser.parse_args().file
    target.write_text(json.dumps(measured(progress=lambda text: print(text, flush=True)), indent=1))


if __name__ == "__main__":
    main()
