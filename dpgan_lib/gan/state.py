"""What changes while a run trains: networks, optimisers, the step; written to disk and read back, atomically."""

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dpgan_lib.config import RunConfig
from dpgan_lib.gan.latent import category, make_code, sample_latent
from dpgan_lib.gan.networks import Critic, Generator, Posterior, build_networks
from dpgan_lib.privacy.clipping import check_separable
from dpgan_lib.privacy.streams import stream

CHECKPOINT = "checkpoint.safetensors"
Scores = Callable[[Tensor, Tensor], Tensor]  # f_w: images (B, ...), one-hot categories (B, K) -> (B,)


@dataclass(frozen=True)
class Start:
    """What a run may begin with instead of untrained networks. It was paid for, if it knows anything of the data.

    shares: (K,) of the categories among the fakes, for a critic of pairs (x, y) would tell other shares from the data's
    by y alone.  witness: a pool of fakes (images, one-hot categories) -> a fixed part of f_w. The critic that is
    trained is what is added to it, and starts at 0: a fresh random one would undo what the generator has learnt.
    """

    generator: nn.Module
    posterior: nn.Module
    shares: Tensor
    witness: Callable[[Tensor, Tensor], Scores]


@dataclass
class State:
    """Everything that changes during training. step: critic steps done; history: (step, L_I in nats) pairs.

    taken: of the steps done, those that the weights have seen: all, but for what a release lost to a crash.

    average: the running mean of the generator, which is what a run releases.  hardware: what trained it, in words.
    """

    generator: Generator
    critic: Critic
    posterior: Posterior
    average: Generator
    critic_optimiser: torch.optim.Optimizer
    generator_optimiser: torch.optim.Optimizer
    step: int = 0
    taken: int = 0
    seconds: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)
    hardware: str = ""
    start: Start | None = None


def new_state(config: RunConfig, device: torch.device, start: Start | None = None) -> State:
    """Initial networks and optimisers. Raises ValueError for a critic whose gradients cannot be made private."""
    generator, critic, posterior = build_networks(config.latent, config.model,
                                                  stream(config.randomness, "initial weights"))
    if start:
        generator, posterior = copy.deepcopy((start.generator, start.posterior))  # type: ignore[assignment]  # networks in their place
        start_at_zero(critic)
    generator, critic, posterior = (network.to(device) for network in (generator, critic, posterior))  # type: ignore[assignment]  # each stays what it is
    z, code = draw_latent(config, 2, 0, device)
    check_separable(critic, generator(z, code).detach(), category(config.latent, code))
    settings = config.optimiser
    return State(
        generator, critic, posterior, copy.deepcopy(generator).requires_grad_(False),
        _adam(critic.parameters(), settings.critic_rate),
        _adam([*generator.parameters(), *posterior.parameters()], settings.generator_rate),
        hardware=hardware(), start=start)


def start_at_zero(critic: Critic) -> None:
    """Let a critic score everything 0 and still learn."""
    nn.init.zeros_(critic.scores.weight)
    nn.init.zeros_(critic.scores.bias)


def _adam(parameters, rate):
    return torch.optim.Adam(parameters, rate, betas=(0.0, 0.9), fused=True)


def draw_latent(config: RunConfig, count: int, step: int, device: torch.device,
                start: Start | None = None) -> tuple[Tensor, Tensor]:
    """z (count, z_dim) and code (count, code_dim) of that step, in the shares of the start if there is one."""
    rng = stream(config.randomness, "latent", step)
    z, code = sample_latent(config.latent, count, rng)
    if start:
        labels = torch.from_numpy(rng.choice(config.latent.categories, count, p=start.shares.cpu().numpy()))
        code = make_code(config.latent, labels, code[:, config.latent.categories :])
    return z.to(device), code.to(device)


def device() -> torch.device:
    """What trains here: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def hardware() -> str:
    """The device that trains, in words."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def save_checkpoint(config: RunConfig, state: State, folder: Path) -> None:
    """Write weights, optimiser state, step and history as one safetensors file, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"config_hash": config.hash, "step": state.step, "taken": state.taken, "seconds": state.seconds,
              "history": state.history, "hardware": state.hardware}
    temporary = folder / f"{CHECKPOINT}.{os.getpid()}.part"
    save_file(_tensors(state), temporary, {"state": json.dumps(header)})
    os.replace(temporary, folder / CHECKPOINT)


def load_checkpoint(config: RunConfig, folder: Path, device: torch.device, start: Start | None = None) -> State | None:
    """The state saved in folder, None if there is none.

    Raises ValueError if another configuration wrote it, or if it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    header, tensors = read_tensors(path, "state", config)
    state = new_state(config, device, start)
    for name, network in _networks(state).items():
        network.load_state_dict({key: tensors[f"{name}/{key}"] for key in network.state_dict()})
    for name, optimiser in _optimisers(state).items():
        _restore_optimiser(optimiser, {key: value for key, value in tensors.items() if key.startswith(f"{name}/")})
    state.step, state.taken = header["step"], header["taken"]
    state.seconds, state.hardware = header["seconds"], header["hardware"]
    state.history = [tuple(point) for point in header["history"]]
    return state


def read_tensors(path: Path, name: str, config: RunConfig) -> tuple[dict, dict[str, Tensor]]:
    """The header of that name in a file of tensors, and the tensors.

    Raises ValueError for a file that is damaged, or that was written for another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()[name])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        is_ours = header["config_hash"] == config.hash
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is cut, or no checkpoint ({error}): delete it to begin anew. What a release "
                         "has charged stays charged.") from error
    if not is_ours:
        raise ValueError(f"{path} belongs to another configuration: a resumed run keeps its settings. "
                         "Restore them, or delete the file to begin anew.")
    return header, tensors


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
