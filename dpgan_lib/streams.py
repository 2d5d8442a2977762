"""Randomness by purpose and step: a counter-based generator (Philox, Salmon et al. 2011) whose key names the run.

Step t's numbers are a function of (configuration, purpose, t) alone. So a resumed run needs no saved random
state, no two steps share noise, and neither do two runs that differ in any setting: had two published runs at
different epsilon shared their noise, a difference of the two would reveal the gradient. The configuration holds
the seed, which makes a run repeatable and therefore a demonstration: who knows the seed can subtract the noise.
"""

import hashlib

import numpy as np

PURPOSES = ("initial weights", "sampling", "latent", "noise", "evaluation")


def stream(config_hash: str, purpose: str, step: int = 0) -> np.random.Generator:
    """The random numbers of one purpose at one step.

    config_hash: RunConfig.hash.  purpose: one of PURPOSES.  step: 0 or more.
    """
    assert purpose in PURPOSES and step >= 0
    key = hashlib.sha256(f"{config_hash}/{purpose}".encode()).digest()[:16]
    # Each step owns 2^128 blocks of the counter's 2^256, so that no step can run into the next.
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big"), counter=step << 128))
