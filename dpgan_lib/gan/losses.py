"""What two kinds of GAN descend on, and where they differ. Scores (B,) of real and of generated images -> a scalar."""

from torch import Tensor
from torch.nn import functional as F


def js_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), with D the logistic function of the score."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def js_generator_loss(fake: Tensor) -> Tensor:
    """-E log D(G(z)): Goodfellow's own repair of log(1 - D), whose gradient vanishes where D is sure."""
    return F.softplus(-fake).mean()


def wasserstein_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-(E f(x) - E f(G(z)))."""
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """-E f(G(z))."""
    return -fake.mean()
