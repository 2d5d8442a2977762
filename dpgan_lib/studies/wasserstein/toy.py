"""A private GAN in the plane. The data's law is known, so how far its generator is from the data is, too: W1, exactly.

One record is one point. Per-example gradients are those of torch.func, vmap(grad), as short as the formula; the book's
own way, dpgan_lib.clipping, is faster and has no rule for a penalty.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dpgan_lib.config import PrivacyConfig
from dpgan_lib.privacy.mechanism import poisson_sample
from dpgan_lib.privacy.streams import stream
from dpgan_lib.studies.wasserstein.distance import keep_in_w, mlp, slopes, w1_clouds

MODES, SPREAD = 8, 0.1  # Gaussians on the unit circle, and the standard deviation of each
CRITIC = (2, 32, 32, 1)
GENERATOR = (2, 32, 32, 2)
BALANCES = ("real alone", "both halves", "the pair")
LOOKS, COUNTED = 10, 3  # looks at the generator during a run; the last ones, whose mean W1 is the run's outcome


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """One way to keep f_w in W, at one epsilon and seed; a run for each of several ratios.

    ratios: critic steps for each generator step.  rate: Adam's, of both networks.  fakes: points in a step.
    judged: points of the generator and of the law between which W1 is computed.
    """

    measurement: str = "toy"
    dataset: str = "ring"
    profile: str
    seed: int
    lipschitz: str
    strength: float
    ratios: tuple[int, ...]
    rate: float
    fakes: int
    judged: int
    privacy: PrivacyConfig

    def stream(self, ratio: int, purpose: str, step: int = 0) -> np.random.Generator:
        """Runs that differ in any setting, the ratio included, share no random numbers."""
        return stream(f"{self!r}/{ratio}", purpose, step)


@dataclass
class Game:
    """Both players, and their optimisers."""

    critic: nn.Sequential
    generator: nn.Sequential
    critic_optimiser: torch.optim.Optimizer
    generator_optimiser: torch.optim.Optimizer


def ring(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) points of the data's law: eight Gaussians, evenly on the unit circle."""
    angle = rng.integers(MODES, size=count) * (2 * math.pi / MODES)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) + SPREAD * rng.standard_normal((count, 2))


# Per-example losses. score: a point (2,) -> f_w of it, a scalar
def real_loss(score: Callable, x: Tensor) -> Tensor:
    return -score(x)


def fake_loss(score: Callable, y: Tensor) -> Tensor:
    return score(y)


def pair_loss(score: Callable, x: Tensor, y: Tensor) -> Tensor:
    return score(y) - score(x)


def penalised_loss(score: Callable, x: Tensor, y: Tensor, mix: Tensor, weight: float) -> Tensor:
    """The real half and its gradient penalty: all that x touches is inside, so that clipping bounds all of it."""
    slope = grad(score)(mix * x + (1 - mix) * y).norm()
    return -score(x) + weight * (slope - 1) ** 2


def example_gradients(critic: nn.Module, loss: Callable, *rows: Tensor) -> Tensor:
    """(B, P): for each row, the gradient in w of its loss, flat.  rows: tensors (B, ...), of which loss takes a row."""
    weights = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    if len(rows[0]) == 0:  # a Poisson batch may be empty, and vmap refuses it
        return torch.zeros(0, sum(weight.numel() for weight in weights.values()), dtype=rows[0].dtype)

    def of_row(weights, *row):
        return loss(lambda point: functional_call(critic, weights, (point,)).squeeze(-1), *row)

    gradients = vmap(grad(of_row), in_dims=(None, *(0 for _ in rows)))(weights, *rows)
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)


def clip(gradients: Tensor, clip_norm: float) -> Tensor:
    """Rows (B, P) scaled to L2 norm at most clip_norm."""
    return gradients * (clip_norm / gradients.norm(dim=1, keepdim=True)).clamp(max=1)


def balanced(critic: nn.Module, real: Tensor, fake: Tensor, clip_norm: float, balance: str) -> Tensor:
    """(P,): the noiseless gradient of E f(y) - E f(x), clipped in one of the BALANCES.  real, fake (B, 2)."""
    if balance == "the pair":
        return clip(example_gradients(critic, pair_loss, real, fake), clip_norm).mean(0)
    fakes = example_gradients(critic, fake_loss, fake)
    if balance == "both halves":
        fakes = clip(fakes, clip_norm)
    return clip(example_gradients(critic, real_loss, real), clip_norm).mean(0) + fakes.mean(0)


# The game

def measure(config: ToyConfig, points: np.ndarray, progress: Callable[[], object] = lambda: None) -> dict:
    """A run for each ratio. points: (N, 2), the private data.  Returns runs, and floor: W1 of two draws of the law."""
    rng = config.stream(0, "evaluation")
    floor = w1_clouds(ring(config.judged, rng), ring(config.judged, rng))
    runs = []
    for ratio in config.ratios:
        runs.append({"ratio": ratio} | play(config, torch.from_numpy(points), ratio))
        progress()
    return {"runs": runs, "floor": floor}


def play(config: ToyConfig, points: Tensor, ratio: int) -> dict:
    """T critic steps, a generator step after every `ratio` of them, and what came of it.

    Returns looks, [step, W1] pairs; w1, the mean of the last; and of the final critic slope, the largest |grad f| on
    fresh points, and gradient_norm, the median length of a real point's gradient in w. The law is public, so all of
    these are computed without the data.
    """
    game, privacy, looks = new_game(config, ratio), config.privacy, []
    for step in range(privacy.steps):
        batch = poisson_sample(privacy.records, privacy.sampling_rate, config.stream(ratio, "sampling", step))
        latent = config.stream(ratio, "latent", step)
        critic_step(config, game, points[batch], latent, config.stream(ratio, "noise", step))
        if (step + 1) % ratio == 0:
            generator_step(config, game, latent)
        if (step + 1) % (privacy.steps // LOOKS) == 0:
            looks.append([step + 1, distance(config, game.generator, config.stream(ratio, "evaluation", step + 1))])
    return {"looks": looks, "w1": float(np.mean([value for _, value in looks[-COUNTED:]]))} | last_look(config, game)


def new_game(config: ToyConfig, ratio: int) -> Game:
    rng = config.stream(ratio, "initial weights")
    critic, generator = mlp(CRITIC, rng), mlp(GENERATOR, rng)
    keep_in_w(critic, config.lipschitz, config.strength)
    optimisers = [torch.optim.Adam(network.parameters(), config.rate, betas=(0.0, 0.9))
                  for network in (critic, generator)]
    return Game(critic, generator, *optimisers)


def critic_step(config: ToyConfig, game: Game, real: Tensor, latent: np.random.Generator,
                noise: np.random.Generator) -> None:
    """One private step of w, back onto W. real: a Poisson batch, of any size.  Both halves are clipped."""
    privacy = config.privacy
    total = clip(real_gradients(config, game, real, latent), privacy.clip_norm).sum(0)
    if privacy.noise_multiplier > 0:
        scale = privacy.noise_multiplier * privacy.clip_norm
        total = total + scale * torch.from_numpy(noise.standard_normal(len(total)))
    fakes = example_gradients(game.critic, fake_loss, generated(game.generator, config.fakes, latent))
    gradient = total / privacy.expected_batch + clip(fakes, privacy.clip_norm).mean(0)
    parameters = list(game.critic.parameters())
    for parameter, part in zip(parameters, gradient.split([each.numel() for each in parameters])):
        parameter.grad = part.view_as(parameter)
    game.critic_optimiser.step()
    keep_in_w(game.critic, config.lipschitz, config.strength)


def real_gradients(config: ToyConfig, game: Game, real: Tensor, latent: np.random.Generator) -> Tensor:
    """(B, P), the penalty included where there is one: each real point has a fake partner of its own."""
    if config.lipschitz != "penalty":
        return example_gradients(game.critic, real_loss, real)
    partners, mix = generated(game.generator, len(real), latent), torch.from_numpy(latent.random((len(real), 1)))
    return example_gradients(game.critic, partial(penalised_loss, weight=config.strength), real, partners, mix)


def generator_step(config: ToyConfig, game: Game, latent: np.random.Generator) -> None:
    """No data in the signature: post-processing."""
    z = torch.from_numpy(latent.standard_normal((config.fakes, GENERATOR[0])))
    parameters = list(game.generator.parameters())
    loss = -game.critic(game.generator(z)).mean()
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        parameter.grad = gradient
    game.generator_optimiser.step()


@torch.no_grad()
def generated(generator: nn.Module, count: int, rng: np.random.Generator) -> Tensor:
    """(count, 2) points G(z)."""
    return generator(torch.from_numpy(rng.standard_normal((count, GENERATOR[0]))))


def distance(config: ToyConfig, generator: nn.Module, rng: np.random.Generator) -> float:
    """Exact W1 between points of the generator and as many fresh ones of the law."""
    return w1_clouds(ring(config.judged, rng), generated(generator, config.judged, rng).numpy())


def last_look(config: ToyConfig, game: Game) -> dict[str, float]:
    rng = config.stream(0, "evaluation")
    fresh = torch.from_numpy(ring(config.judged, rng))
    norms = real_gradients(config, game, fresh, rng).norm(dim=1)
    return {"slope": slopes(game.critic, fresh).max().item(), "gradient_norm": norms.median().item()}
