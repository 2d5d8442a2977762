"""The loop: T critic steps, a generator step after every few, a checkpoint now and then.

Runs with torch, numpy and safetensors alone. On a bare machine, where the noise was calibrated before:

    python -m dpgan_lib.training FOLDER --max-minutes 9

reads FOLDER/run.json (a RunConfig) and FOLDER/data.npz (images, labels) and leaves FOLDER/checkpoint.safetensors.
"""

import argparse
import copy
import ctypes
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dpgan_lib.budget import charge, charged
from dpgan_lib.clipping import check_separable
from dpgan_lib.config import RunConfig
from dpgan_lib.latent import category, sample_latent
from dpgan_lib.mechanism import poisson_sample
from dpgan_lib.networks import Critic, Generator, Posterior, build_networks
from dpgan_lib.steps import critic_step, generator_step, update_average
from dpgan_lib.streams import stream

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 30  # a killed run repeats, or a release loses, at most this much
CHARGED_AHEAD = 20  # blocks that a release is charged for at a time
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's settings, from its malloc.h


@dataclass(frozen=True)
class Records:
    """The training set on the device that trains: images (N, channels, side, side), one-hot categories (N, K)."""

    images: Tensor
    categories: Tensor


@dataclass
class State:
    """Everything that changes during training. step: critic steps done; history: (step, L_I in nats) pairs.

    average: the running mean of the generator, which is what a run releases.  hardware: what trained it, in words.
    """

    generator: Generator
    critic: Critic
    posterior: Posterior
    average: Generator
    critic_optimiser: torch.optim.Optimizer
    generator_optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)
    hardware: str = ""


def new_state(config: RunConfig, device: torch.device) -> State:
    """Initial networks and optimisers. Raises ValueError for a critic whose gradients cannot be made private."""
    networks = build_networks(config.latent, config.model, stream(config.randomness, "initial weights"))
    generator, critic, posterior = (network.to(device) for network in networks)
    z, code = _latent(config, 2, 0, device)
    check_separable(critic, generator(z, code).detach(), category(config.latent, code))
    settings = config.optimiser
    return State(
        generator, critic, posterior, copy.deepcopy(generator).requires_grad_(False),
        _adam(critic.parameters(), settings.critic_rate),
        _adam([*generator.parameters(), *posterior.parameters()], settings.generator_rate),
        hardware=hardware())


def _adam(parameters, rate):
    return torch.optim.Adam(parameters, rate, betas=(0.0, 0.9), fused=True)


def train(config: RunConfig, images: np.ndarray, labels: np.ndarray, folder: Path, *, max_minutes: float | None = None,
          progress: Callable[[int], None] = lambda step: None) -> State:
    """Train from folder's checkpoint, or from the start, until T critic steps are done or the time is up.

    images (N, channels, side, side) float32 in [-1, 1], labels (N,) integers.
    progress: told the number of steps done.  Returns the state; it is complete when state.step == T.
    T is part of the calibration. A demonstration repeats a step after a crash with the same batch and the same noise:
    one release, not two. A release has fresh noise, so a step that a crash undid stays charged and is not taken again.
    """
    keep_freed_memory()
    records = on_device(config, images, labels)
    state = load_checkpoint(config, folder, device()) or new_state(config, device())
    if config.is_release:
        state.step = max(state.step, charged(folder))
    started = saved = time.monotonic()
    before = state.seconds
    while state.step < config.privacy.steps:
        _charge(config, state, folder)
        train_block(config, state, records)
        now = time.monotonic()
        state.seconds = before + now - started
        out_of_time = max_minutes is not None and now - started > 60 * max_minutes
        if out_of_time or now - saved > CHECKPOINT_SECONDS or state.step == config.privacy.steps:
            save_checkpoint(config, state, folder)
            saved = now
            if config.is_release:
                charge(folder, state.step)  # what was charged ahead and not begun is free again
        progress(state.step)
        if out_of_time:
            break
    return state


def _charge(config, state, folder):
    """Charge a release for the next blocks before the first of them is computed."""
    if config.is_release and state.step >= charged(folder):
        charge(folder, min(state.step + CHARGED_AHEAD * config.optimiser.critic_steps, config.privacy.steps))


def device() -> torch.device:
    """What trains here: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(config: RunConfig, images: np.ndarray, labels: np.ndarray) -> Records:
    """The training set where it is trained on. A label that is no category counts as none: its record scores 0.

    Raises ValueError unless a demonstration has the declared number of records. A release does not look: the number is
    private, and the guarantee holds for any.
    """
    if len(labels) != len(images) or (len(images) != config.privacy.records and not config.is_release):
        raise ValueError(f"{len(images)} images and {len(labels)} labels do not match the declared "
                         f"N = {config.privacy.records}: the noise was calibrated for that N; plan the run anew.")
    categories = torch.from_numpy(labels[:, None] == np.arange(config.latent.categories)).float()
    return Records(torch.from_numpy(images).to(device()), categories.to(device()))


def train_block(config: RunConfig, state: State, records: Records) -> None:
    """critic_steps critic steps on one pool of fakes, for G stands still; then one generator step.

    The last block of a run may be shorter, and then has no generator step. A checkpoint lies between two blocks.
    """
    settings, first = config.optimiser, state.step
    steps = range(first, min(first + settings.critic_steps, config.privacy.steps))
    fakes = _pool(config, state, first)
    for step, batch in zip(steps, _batches(config, steps, records.images)):
        rows = slice(start := (step - first) * settings.fakes % settings.pool, start + settings.fakes)
        critic_step(state.critic, state.critic_optimiser, (records.images[batch], records.categories[batch]),
                    (fakes[0][rows], fakes[1][rows]), config.privacy, settings.clip_fakes,
                    stream(config.randomness, "noise", step))
    state.step = steps.stop
    if len(steps) == settings.critic_steps:
        z, code = _latent(config, settings.fakes, 2 * first + 1, records.images.device)
        bound = generator_step(state.generator, state.posterior, state.critic, state.generator_optimiser,
                               z, code, config.latent, settings)
        update_average(state.average, state.generator, settings.averaging)
        state.history.append((state.step, _finite(bound, state.step)))


def _pool(config, state, first):
    z, code = _latent(config, config.optimiser.pool, 2 * first, next(state.generator.parameters()).device)
    with torch.no_grad():
        return state.generator(z, code), category(config.latent, code)


def _batches(config, steps, images) -> tuple[Tensor, ...]:
    """The Poisson batches of a block as indices. They depend on no data, so they are drawn ahead and moved at once."""
    drawn = [torch.from_numpy(poisson_sample(len(images), config.privacy.sampling_rate,
                                             stream(config.randomness, "sampling", step))) for step in steps]
    return torch.cat(drawn).to(images.device, non_blocking=True).split([len(batch) for batch in drawn])


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a step frees: it gives large blocks back to the kernel, and the next step faults
    every page of them in again.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # not in musl
            libc.mallopt(MMAP_THRESHOLD, 2**25)
            libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def _latent(config, count, step, device):
    z, code = sample_latent(config.latent, count, stream(config.randomness, "latent", step))
    return z.to(device), code.to(device)


def _finite(bound: Tensor, step: int) -> float:
    if not torch.isfinite(bound):
        raise RuntimeError(f"the generator diverged at critic step {step}: L_I is {bound.item()}. "
                           "Lower the learning rates or the weight clip; the privacy spent stays spent.")
    return round(bound.item(), 4)


def save_checkpoint(config: RunConfig, state: State, folder: Path) -> None:
    """Write weights, optimiser state, step and history as one safetensors file, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"config_hash": config.hash, "step": state.step, "seconds": state.seconds, "history": state.history,
              "hardware": state.hardware}
    temporary = folder / f"{CHECKPOINT}.{os.getpid()}.part"
    save_file(_tensors(state), temporary, {"state": json.dumps(header)})
    os.replace(temporary, folder / CHECKPOINT)


def load_checkpoint(config: RunConfig, folder: Path, device: torch.device) -> State | None:
    """The state saved in folder, None if there is none. Raises ValueError if another configuration wrote it."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if header["config_hash"] != config.hash:
        raise ValueError(f"{path} belongs to another configuration: a resumed run keeps its settings. "
                         "Restore them, or delete the checkpoint to start anew.")
    state = new_state(config, device)
    for name, network in _networks(state).items():
        network.load_state_dict({key: tensors[f"{name}/{key}"] for key in network.state_dict()})
    for name, optimiser in _optimisers(state).items():
        _restore_optimiser(optimiser, {key: value for key, value in tensors.items() if key.startswith(f"{name}/")})
    state.step, state.seconds, state.hardware = header["step"], header["seconds"], header["hardware"]
    state.history = [tuple(point) for point in header["history"]]
    return state


def _networks(state: State) -> dict[str, nn.Module]:
    return {"generator": state.generator, "critic": state.critic, "posterior": state.posterior,
            "average": state.average}


def _optimisers(state: State) -> dict[str, torch.optim.Optimizer]:
    return {"critic_optimiser": state.critic_optimiser, "generator_optimiser": state.generator_optimiser}


def _tensors(state: State) -> dict[str, Tensor]:
    tensors = {f"{name}/{key}": value.contiguous() for name, network in _networks(state).items()
               for key, value in network.state_dict().items()}
    for name, optimiser in _optimisers(state).items():
        for index, values in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{key}": value for key, value in values.items()}
    return tensors


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        _, index, key = path.split("/")
        values.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": values, "param_groups": optimiser.state_dict()["param_groups"]})


def hardware() -> str:
    """The device that trains, in words."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def main() -> None:
    """Train a run whose configuration and data were laid out in a folder."""
    parser = argparse.ArgumentParser(prog="python -m dpgan_lib.training", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds run.json and data.npz; the checkpoint is written here")
    parser.add_argument("--max-minutes", type=float, help="stop after this long; the next call resumes")
    arguments = parser.parse_args()
    config = RunConfig.from_dict(json.loads((arguments.folder / "run.json").read_text()))
    with np.load(arguments.folder / "data.npz", allow_pickle=False) as data:
        images, labels = data["images"].astype(np.float32) / 127.5 - 1, data["labels"].astype(np.int64)
    state = train(config, images, labels, arguments.folder, max_minutes=arguments.max_minutes)
    print(f"{state.step} of {config.privacy.steps} critic steps, {state.seconds:.0f} s on {hardware()}")


if __name__ == "__main__":
    main()
