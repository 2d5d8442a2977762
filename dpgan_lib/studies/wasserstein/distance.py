"""Wasserstein-1: exact where it can be computed, and as a critic estimates it.

W1(P, Q) = min over couplings of E |x - y|  =  max over 1-Lipschitz f of E_P f(x) - E_Q f(y)  (Kantorovich, Rubinstein).

The critics here are small, in float64 and deterministic, so that a page can train them as it is read.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import ndtr
from torch import Tensor, nn

from dpgan_lib.gan.networks import project_spectral

LIPSCHITZ = ("clip", "spectral", "penalty")  # the ways to keep f_w in W
STRENGTH = {"clip": 0.1, "spectral": 1.0, "penalty": 1.0}  # c, as in profiles; each layer's bound; the weight kappa
LEAK = 0.2


def w1_gaussians(mean: float, std: float, other_mean: float, other_std: float) -> float:
    """Exact W1 of two Gaussians on the line: E |m + s Z|, with m and s the differences of means and of deviations.

    On the line the best coupling joins equal quantiles, and those of a Gaussian are mean + std Z.
    """
    m, s = mean - other_mean, abs(std - other_std)
    if s == 0:
        return abs(m)
    return s * math.sqrt(2 / math.pi) * math.exp(-((m / s) ** 2) / 2) + m * (1 - 2 * float(ndtr(-m / s)))


def w1_clouds(real: np.ndarray, fake: np.ndarray) -> float:
    """Exact W1 of two clouds of n equally weighted points, (n, d) each.

    With equal weights some best coupling is a permutation (Birkhoff), so an assignment solver is exact.
    Raises ValueError for clouds of two sizes.
    """
    if len(real) != len(fake):
        raise ValueError(f"the clouds have {len(real)} and {len(fake)} points and must have equally many: an "
                         "assignment splits no point. Draw equally many, or use scipy.stats.wasserstein_distance_nd.")
    distances = cdist(real, fake)
    return float(distances[linear_sum_assignment(distances)].mean())


def mlp(sizes: Sequence[int], rng: np.random.Generator) -> nn.Sequential:
    """Linear layers of these sizes with leaky ReLUs between, float64; PyTorch's initial weights, drawn from rng."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        layers = [nn.Linear(into, out).double() for into, out in zip(sizes, sizes[1:])]
    between = [part for layer in layers for part in (layer, nn.LeakyReLU(LEAK))]
    return nn.Sequential(*between[:-1])


@torch.no_grad()
def keep_in_w(critic: nn.Sequential, lipschitz: str, strength: float) -> None:
    """Move w to the nearest point of W: every |w_i|, or every layer's largest singular value, at most strength.

    lipschitz: of LIPSCHITZ.  A penalty has no set to go back to; it stands in the loss.
    """
    if lipschitz == "clip":
        for parameter in critic.parameters():
            parameter.clamp_(-strength, strength)
    elif lipschitz == "spectral":
        for layer in critic[::2]:
            project_spectral(layer, strength)


def slopes(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """|grad_x f(x)| at points (B, d): (B,), and differentiable in w."""
    points = points.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return gradient.norm(dim=1)


def penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean of (|grad f| - 1)^2 on the lines between pairs (Gulrajani et al. 2017, Eq. 3).

    real, fake (B, d); mix (B, 1) in [0, 1].  Its points are computed from real data.
    """
    return ((slopes(critic, mix * real + (1 - mix) * fake) - 1) ** 2).mean()


@torch.no_grad()
def gap(critic: nn.Module, real: Tensor, fake: Tensor) -> float:
    """E f(x) - E f(y): what a critic's step climbs."""
    return float(critic(real).mean() - critic(fake).mean())


@torch.no_grad()
def steepest(critic: nn.Module, real: Tensor, fake: Tensor) -> float:
    """The largest |f(x) - f(y)| / |x - y| over all pairs of a real and a fake point.

    For these clouds it is all that the dual asks of f: gap / steepest <= W1, whatever f is.
    """
    return float(((critic(real) - critic(fake).T).abs() / torch.cdist(real, fake)).max())


def ascend(critic: nn.Sequential, real: Tensor, fake: Tensor, *, lipschitz: str, strength: float, steps: int,
           rng: np.random.Generator, rate: float = 3e-3, every: int = 20) -> list[dict]:
    """Train a critic on two whole clouds by Adam, and look at it after every few steps.

    Returns dicts with step, gap, steepest, share (gap / steepest: never above W1) and slope (the median |grad f| at the
    fakes, which is what a generator there would follow).
    """
    keep_in_w(critic, lipschitz, strength)
    optimiser, looks = torch.optim.Adam(critic.parameters(), rate), []
    for step in range(1, steps + 1):
        loss = critic(fake).mean() - critic(real).mean()
        if lipschitz == "penalty":
            mix = torch.from_numpy(rng.random((len(real), 1)))
            loss = loss + strength * penalty(critic, real, fake, mix)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        keep_in_w(critic, lipschitz, strength)
        if step % every == 0:
            looks.append({"step": step} | look(critic, real, fake))
    return looks


def look(critic: nn.Module, real: Tensor, fake: Tensor) -> dict[str, float]:
    """gap, steepest, share and slope of a critic as it is: see ascend."""
    high, steep = gap(critic, real, fake), steepest(critic, real, fake)
    return {"gap": high, "steepest": steep, "share": high / steep, "slope": slopes(critic, fake).median().item()}
