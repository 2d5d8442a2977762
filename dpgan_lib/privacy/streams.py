"""Randomness by purpose and step: a counter-based generator (Philox, Salmon et al. 2011).

In a demonstration its key names the run: step t's numbers are a function of (configuration, purpose, t) alone. So a
resumed run needs no saved random state, no two steps share noise, and neither do two runs that differ in any setting:
had two published runs at different epsilon shared their noise, a difference of the two would reveal the gradient. The
configuration holds the seed, and who knows the seed can subtract the noise.

In a release every key is fresh entropy of the operating system, used once and kept nowhere, and the generator is
ChaCha20 (Bernstein 2008), a cipher: whoever computes some of its numbers from others has broken it. What stays open: no
proof covers the rounding of a sampler in floating point (Haney et al. 2022), and a GPU draws its noise by a Philox that
is keyed from here (mechanism).
"""

import hashlib
import secrets

import numpy as np

PURPOSES = ("initial weights", "sampling", "latent", "noise", "evaluation")


def stream(randomness: str | None, purpose: str, step: int = 0) -> np.random.Generator:
    """The random numbers of one purpose at one step.

    randomness: RunConfig.randomness; None for numbers that no other call gives.  purpose: one of PURPOSES.
    step: 0 or more.  Raises ValueError for another purpose or step, which could be another stream's numbers.
    """
    if purpose not in PURPOSES or step < 0:
        raise ValueError(f"no stream has purpose {purpose!r} and step {step}: name one of {PURPOSES}, and a step of 0 "
                         "or more.")
    if randomness is None:
        return _unpredictable()
    key = hashlib.sha256(f"{randomness}/{purpose}".encode()).digest()[:16]
    # Each step owns 2^128 blocks of the counter's 2^256, so that no step can run into the next.
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big"), counter=step << 128))


def _unpredictable() -> np.random.Generator:
    """Numbers that no other call gives and nobody can compute: ChaCha of 20 rounds, under a key of 256 bits."""
    from randomgen import ChaCha  # here, for a demonstration does without the package (see remote)

    return np.random.Generator(ChaCha(key=secrets.randbits(256), rounds=20))
