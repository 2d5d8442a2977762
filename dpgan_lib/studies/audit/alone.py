"""The mechanism alone, on canaries with gradients of the auditor's choice and no data: independent trials, counted."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.config import PrivacyConfig
from dpgan_lib.privacy import audit, mechanism

LENGTH = 10.0  # of a canary's gradient before it is clipped, in units of C: a dropped clip then shows
TEST_LEVEL = 0.05  # of one test against a trade-off curve


class Coordinates(nn.Module):
    """Scores w . x: a record's gradient is the record itself, so records along the axes are orthogonal canaries."""

    def __init__(self, count: int):
        super().__init__()
        self.scores = nn.Linear(count, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x).squeeze(1)


def isolated(privacy: PrivacyConfig, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """T steps of the mechanism on canaries alone. Each is an independent trial, with noise of its own.

    Returns the scores, in units of the noise that is claimed, and which canaries were in, (trials,) each.
    """
    model, included, heard = Coordinates(trials), rng.random(trials) < 0.5, np.zeros(trials)
    records = LENGTH * privacy.clip_norm * torch.eye(trials)[included]
    for _ in range(privacy.steps):
        batch = torch.from_numpy(mechanism.poisson_sample(len(records), privacy.sampling_rate, rng))
        released = mechanism.noisy_mean(
            model, (records[batch],), clip_norm=privacy.clip_norm, noise_multiplier=privacy.noise_multiplier,
            expected_batch=privacy.expected_batch, rng=rng)
        heard += privacy.expected_batch * released["scores.weight"].squeeze(0).double().numpy()
    return heard / (privacy.noise_multiplier * privacy.clip_norm * np.sqrt(privacy.steps)), included


def counted(privacy: PrivacyConfig, tests: int, trials: int, rng: np.random.Generator) -> dict[str, dict]:
    """Tests of the mechanism against its own trade-off curve, that refute it, at TEST_LEVEL each.

    trials: of each test.  Returns, for the mechanism as claimed ("correct") and with its noise halved ("halved"), how
    many of how many tests refuted the claim.
    """
    claimed, threshold = audit.curve(privacy), audit.shift(privacy) / 2
    halved = replace(privacy, noise_multiplier=privacy.noise_multiplier / 2)

    def refuted(actual):
        scores, included = isolated(actual, trials, rng)
        in_claimed_units = scores * actual.noise_multiplier / privacy.noise_multiplier
        return audit.is_refuted(in_claimed_units, included, threshold=threshold, claimed=claimed, level=TEST_LEVEL)

    return {name: {"refuted": sum(refuted(actual) for _ in range(tests)), "tests": tests}
            for name, actual in {"correct": privacy, "halved": halved}.items()}
