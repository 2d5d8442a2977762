"""What a release asks of a privacy budget: the Renyi divergence of its steps, as budget counts it. Never imports torch.
"""

from pathlib import Path

from dpgan_lib.privacy import budget
from dpgan_lib.privacy.accounting import renyi_divergence

RELATIVE_ERROR = 1e-9  # of a divergence, at most; renyi_divergence promises 1e-11 at whole orders


def costs(*, noise_multiplier: float, sampling_rate: float) -> dict[int, int]:
    """Of one Poisson-sampled Gaussian step at every order of budget.ORDERS, in 1e-12 nats, rounded up.

    Arguments, errors and source as of accounting.renyi_divergence.
    """
    divergence = renyi_divergence(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, orders=budget.ORDERS)
    return {order: budget.units(each, RELATIVE_ERROR) for order, each in zip(budget.ORDERS, divergence.tolist())}


def verify(path: Path, head: str | None = None) -> budget.Budget:
    """As budget.read, and derives again what each release's step costs: an edited noise or cost does not agree."""
    found = budget.read(path, head)
    for release in found.releases.values():
        cost = costs(noise_multiplier=release.noise_multiplier, sampling_rate=release.sampling_rate)[release.order]
        if abs(cost - release.cost) > 1:  # the last bit of a logarithm may differ between machines
            raise ValueError(f"{path}: a step of release {release.name} costs {cost}e-12 nats, and {release.cost}e-12 "
                             "is written down: the file was edited. Take the whole budget for spent.")
    return found
