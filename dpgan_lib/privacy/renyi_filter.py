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


def mechanism(part: str, *, noise_multiplier: float, sampling_rate: float, steps: int) -> budget.Mechanism:
    """What a budget reserves for so many such steps. part: as of budget.Mechanism."""
    return budget.Mechanism(part=part, noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, steps=steps,
                            costs=costs(noise_multiplier=noise_multiplier, sampling_rate=sampling_rate))


def verify(path: Path, head: str | None = None) -> budget.Budget:
    """As budget.read, and derives again what each release's steps cost: an edited noise or cost does not agree."""
    found = budget.read(path, head)
    for release in found.releases.values():
        for each in release.mechanisms:
            derived = costs(noise_multiplier=each.noise_multiplier, sampling_rate=each.sampling_rate)[release.order]
            written = each.costs[release.order]
            if abs(derived - written) > 1:  # the last bit of a logarithm may differ between machines
                raise ValueError(f"{path}: a step of the {each.part} of release {release.name} costs {derived}e-12 "
                                 f"nats, and {written}e-12 is written down: the file was edited. Take the whole budget "
                                 "for spent.")
    return found
