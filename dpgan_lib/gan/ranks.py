"""One run on several processes, each with the whole state and the whole data, started by torchrun.

What takes the time in a private step is the sum of clipped gradients, and a sum can be shared out. A batch is drawn
once: every process draws it from the same stream, and sums over its own rows. The parts are added up, noise is added to
the whole, and the first process's noisy mean is handed to all. So a record enters a sum once, and there is one release
of it, with noise of the spread that was calibrated and the public divisor. The mechanism and its accounting are of one
process, and the weights are the same but for the order in which float32 was added. Everything else, each process
does alike; what comes before the critic's first step, too.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, distributed, nn

from dpgan_lib.config import InfoGANRunConfig, RunConfig
from dpgan_lib.gan.steps import critic_step
from dpgan_lib.privacy.clipping import clipped_sum
from dpgan_lib.privacy.mechanism import noisy_mean


def count() -> int:
    """How many processes torchrun has started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process speaks for all of them."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined() -> Iterator[dict]:
    """Within, the processes know each other. Gives what loop.train is to be told, nothing for a single process."""
    if count() == 1:
        yield {}
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield {"step_of_critic": partial(critic_step, private_mean=shared_mean), "clock": shared_clock}
    finally:
        distributed.destroy_process_group()


def check(config: RunConfig) -> None:
    """Raises ValueError, in one line, for a run that several processes cannot train."""
    if count() > 1 and config.is_release:
        raise ValueError("a release is trained by one process: several would have to draw the same numbers, and what "
                         "they would need for that must lie nowhere. Start it without torchrun.")
    if count() > 1 and isinstance(config, InfoGANRunConfig):
        raise ValueError("this run has no sum of clipped gradients to share out. Start it without torchrun.")


def shared_mean(model: nn.Module, inputs: tuple[Tensor, ...], **public) -> dict[str, Tensor]:
    """As mechanism.noisy_mean, of the whole batch: the first process's, so that there is one release of it."""
    means = noisy_mean(model, inputs, sum_of=shared_sum, **public)
    return _together(means, lambda flat: distributed.broadcast(flat, 0))


def shared_sum(model: nn.Module, inputs: tuple[Tensor, ...], clip_norm: float) -> dict[str, Tensor]:
    """As clipping.clipped_sum, of the whole batch on every process; each has summed over every count()-th row."""
    rows = slice(distributed.get_rank(), None, distributed.get_world_size())
    return _together(clipped_sum(model, tuple(each[rows] for each in inputs), clip_norm), distributed.all_reduce)


def _together(tensors: dict[str, Tensor], talk: Callable[[Tensor], object]) -> dict[str, Tensor]:
    """The tensors after one exchange of all their numbers, which changes them in place."""
    flat = torch.cat([each.flatten() for each in tensors.values()])
    talk(flat)
    parts = flat.split([each.numel() for each in tensors.values()])
    return {name: part.view_as(like) for (name, like), part in zip(tensors.items(), parts)}


def shared_clock() -> float:
    """The first process's seconds, as of time.monotonic: so all stop, and store, behind the same step."""
    place = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = torch.tensor([time.monotonic()], dtype=torch.float64, device=place)
    distributed.broadcast(seconds, 0)
    return seconds.item()
