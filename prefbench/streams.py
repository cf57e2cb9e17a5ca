"""Named streams of random numbers: who shares a name shares the draws, and nobody else's draws move them."""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str) -> int:
    """A 63-bit seed that depends on ``seed`` and on every name, the same on every machine."""
    digest = hashlib.sha256("/".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for ``names`` under ``seed``, for example ``stream(0, "data")``."""
    return np.random.default_rng(stream_seed(seed, *names))
