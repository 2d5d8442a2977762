"""The three sizes of a run: public numbers in one place. A result always names its profile.

smoke: seconds, embedded digits, a check of the plumbing.  laptop: at most 15 minutes on 2 cores.
paper: one GPU, in resumable slices.
"""

import math
from dataclasses import dataclass

from dpgan_lib.config import EvaluationConfig, LatentConfig, ModelConfig, OptimiserConfig


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything of a RunConfig that the reader's parameters do not say. Units as there."""

    latent: LatentConfig
    model: ModelConfig
    optimiser: OptimiserConfig
    evaluation: EvaluationConfig
    expected_batch: int
    steps: int
    clip_norm: float


_LATENT = LatentConfig(z_dim=32, categories=10, continuous=2)
PROFILES = {
    "smoke": Profile(
        latent=_LATENT,
        model=ModelConfig(image_side=28, channels=1, generator_width=16, critic_width=16,
                          conditional=True, weight_clip=0.1, spectral_norm=math.inf),
        optimiser=OptimiserConfig(critic_rate=1e-3, generator_rate=2e-3, info_weight=0.1,
                                  fakes=64, pool=128, clip_fakes=True, critic_steps=2, averaging=0.9),
        evaluation=EvaluationConfig(images=1000, cnn_steps=60), expected_batch=128, steps=120, clip_norm=1.0),
    "laptop": Profile(
        latent=_LATENT,
        model=ModelConfig(image_side=28, channels=1, generator_width=32, critic_width=32,
                          conditional=True, weight_clip=0.1, spectral_norm=math.inf),
        optimiser=OptimiserConfig(critic_rate=1e-3, generator_rate=1e-3, info_weight=0.1,
                                  fakes=128, pool=256, clip_fakes=True, critic_steps=4, averaging=0.99),
        evaluation=EvaluationConfig(images=20_000, cnn_steps=600), expected_batch=256, steps=2_000, clip_norm=1.0),
    "paper": Profile(
        latent=_LATENT,
        model=ModelConfig(image_side=28, channels=1, generator_width=48, critic_width=32,
                          conditional=True, weight_clip=0.1, spectral_norm=math.inf),
        optimiser=OptimiserConfig(critic_rate=1e-4, generator_rate=1e-4, info_weight=0.1,
                                  fakes=512, pool=2048, clip_fakes=True, critic_steps=50, averaging=0.999),
        evaluation=EvaluationConfig(images=60_000, cnn_steps=5_000), expected_batch=512, steps=450_000, clip_norm=1.0),
}
