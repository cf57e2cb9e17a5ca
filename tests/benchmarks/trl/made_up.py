"""Results that no process gave."""

from __future__ import annotations

from typing import Any

from benchmarks.trl.rounds import Outcome
from benchmarks.trl.sides import Trained


def trained(**changed: Any) -> Trained:
    """Eight steps of a second each, whose losses moved."""
    steps = [float(step) for step in range(10, 18)]
    settings: dict[str, Any] = {
        "ends": steps,
        "processor_ends": [2 * end for end in steps],
        "losses": [0.6931, 0.70, 0.71, 0.66, 0.69, 0.72, 0.65, 0.60],
        "began": 9.0,
        "peak_bytes": 100 * 2**20,
        "tokens_digest": "same",
        "order": list(range(16)),
        "reference_tokens": 0,
        "versions": {"torch": "2"},
        "device": "cpu",
    }
    return Trained(**{**settings, **changed})


def outcome(started: float = 8.0, **changed: Any) -> Outcome:
    """A process that began two seconds before its first step ended."""
    found = trained(**changed)
    return Outcome(found, started, found.ends[-1] + 1.0)
