"""The training of an InfoGAN: so many updates of critic and Q, a generator step after every few, and checkpoints.

Without privacy: batches are drawn with replacement. Runs with torch, numpy and safetensors alone (see remote).
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dpgan_lib.config import InfoGANRunConfig
from dpgan_lib.gan.infogan import InfoGAN, InfoGANGenerator, InfoGANPosterior, critic_step, generator_step, initial
from dpgan_lib.gan.latent import sample_latent
from dpgan_lib.gan.loop import CHECKPOINT_SECONDS, keep_freed_memory
from dpgan_lib.gan.state import CHECKPOINT, device, hardware, read_tensors
from dpgan_lib.privacy.streams import stream

BETAS = (0.5, 0.999)  # of both Adams (Radford et al. 2016)
HEADER = "state"


@dataclass
class InfoGANState:
    """Everything that changes during training. step: critic steps done; history: (step, L_I in nats) pairs.

    average: the generator that is released: the last one, for InfoGAN averages none.  hardware: what trained it, in
    words.  start: it begins with untrained networks.
    """

    gan: InfoGAN
    average: InfoGANGenerator
    posterior: InfoGANPosterior
    critic_optimiser: torch.optim.Optimizer
    generator_optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)
    hardware: str = ""
    start: None = None


def train(config: InfoGANRunConfig, images: np.ndarray, labels: np.ndarray, folder: Path, *, people: None = None,
          max_minutes: float | None = None, progress: Callable[[int], None] = lambda step: None) -> InfoGANState:
    """Train from folder's checkpoint, or from the start, until all steps are done or the time is up.

    Arguments as of loop.train; labels are not read.  Raises ValueError for a configuration that asks for privacy.
    """
    if config.privacy.is_private or config.is_release:
        raise ValueError(f"epsilon={config.privacy.epsilon:g} must be inf here: an InfoGAN trains without privacy.")
    keep_freed_memory()
    real = torch.from_numpy(images).to(device())
    state = load_checkpoint(config, folder, device()) or new_state(config, device())
    started = saved = time.monotonic()
    before = state.seconds
    while state.step < config.privacy.steps:
        train_block(config, state, real)
        now = time.monotonic()
        state.seconds = before + now - started
        out_of_time = max_minutes is not None and now - started > 60 * max_minutes
        if out_of_time or now - saved > CHECKPOINT_SECONDS or state.step == config.privacy.steps:
            save_checkpoint(config, state, folder)
            saved = now
        progress(state.step)
        if out_of_time:
            break
    return state


def train_block(config: InfoGANRunConfig, state: InfoGANState, real: Tensor) -> None:
    """critic_steps steps of critic and Q, or as many as are left; then one of the generator, on the last's fakes."""
    settings = config.infogan
    set_rates(config, state)
    for _ in range(min(config.optimiser.critic_steps, config.privacy.steps - state.step)):
        rng = stream(config.randomness, "latent", state.step)
        z, code = (part.to(real.device) for part in sample_latent(config.latent, config.optimiser.fakes, rng))
        drawn = stream(config.randomness, "sampling", state.step).integers(len(real), size=config.optimiser.fakes)
        fake = state.gan.generator(z, code)
        batch = real[torch.from_numpy(drawn).to(real.device)]
        weight = settings.continuous_weight if state.step >= settings.continuous_after else 0.0
        bound, pull = critic_step(config, state.gan, state.critic_optimiser, batch, fake, code, weight, rng)
        state.step += 1
    generator_step(config, state.gan, state.generator_optimiser, fake, pull)
    if not torch.isfinite(bound):
        raise RuntimeError(f"the run diverged at critic step {state.step}: L_I is {bound.item()}. Lower its rates.")
    state.history.append((state.step, round(bound.item(), 4)))


def set_rates(config: InfoGANRunConfig, state: InfoGANState) -> None:
    """The rates of the next block: as planned, and towards the end on a line to 0."""
    steps, settings = config.privacy.steps, config.optimiser
    left = min(1.0, (steps - state.step) / (config.infogan.falling * steps))
    state.critic_optimiser.param_groups[0]["lr"] = settings.critic_rate * left
    state.generator_optimiser.param_groups[0]["lr"] = settings.generator_rate * left


def new_state(config: InfoGANRunConfig, place: torch.device) -> InfoGANState:
    """Initial networks and optimisers."""
    gan = initial(config, stream(config.randomness, "initial weights")).to(place)
    settings = config.optimiser
    both = nn.ModuleList([gan.critic, gan.posterior])  # whose parameters() has shared features once
    return InfoGANState(gan, gan.generator, gan.posterior, adam(both, settings.critic_rate),
                        adam(gan.generator, settings.generator_rate), hardware=hardware())


def adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    """InfoGAN's Adam for a network's parameters, each once."""
    return torch.optim.Adam(network.parameters(), rate, betas=BETAS, fused=True)


# Checkpoints

def save_checkpoint(config: InfoGANRunConfig, state: InfoGANState, folder: Path) -> None:
    """Write networks, optimisers, step and history as one safetensors file, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"config_hash": config.hash, "step": state.step, "seconds": state.seconds, "history": state.history,
              "hardware": state.hardware}
    temporary = folder / f"{CHECKPOINT}.{os.getpid()}.part"
    save_file({name: value.contiguous() for name, value in tensors(state)}, temporary, {HEADER: json.dumps(header)})
    os.replace(temporary, folder / CHECKPOINT)


def load_checkpoint(config: InfoGANRunConfig, folder: Path, place: torch.device) -> InfoGANState | None:
    """The state saved in folder, None if there is none.

    Raises ValueError if another configuration wrote it, or if it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    header, saved = read_tensors(path, HEADER, config)
    state = new_state(config, place)
    for optimiser in (state.critic_optimiser, state.generator_optimiser):
        _prepare(optimiser)
    with torch.no_grad():
        for name, value in tensors(state):
            value.copy_(saved[name])
    state.step, state.seconds, state.hardware = header["step"], header["seconds"], header["hardware"]
    state.history = [tuple(point) for point in header["history"]]
    return state


def tensors(state: InfoGANState) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a state by name, shared ones once."""
    yield from state.gan.named_parameters()
    yield from state.gan.named_buffers()
    for name, optimiser in (("critic", state.critic_optimiser), ("generator", state.generator_optimiser)):
        for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
            for key, value in optimiser.state[parameter].items():
                yield f"{name}_optimiser/{index}/{key}", value


def _prepare(optimiser: torch.optim.Optimizer) -> None:
    """Give an Adam the state that it has after its first step, all zero."""
    for parameter in optimiser.param_groups[0]["params"]:
        optimiser.state[parameter] = {"step": torch.zeros((), device=parameter.device),
                                      "exp_avg": torch.zeros_like(parameter),
                                      "exp_avg_sq": torch.zeros_like(parameter)}
