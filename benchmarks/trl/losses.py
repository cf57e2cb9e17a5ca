"""Whether two sides train the same thing: the losses of their first steps, compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.trl.sides import Trained

COMPARED = 8
"""Steps, from the first."""
TOLERANCE = 1e-5
"""Relative. TRL sums the log-probs of an answer in float32, which costs about a millionth."""

MOVED = 1e-4
"""Relative: by as much at least the losses must have left their first value, or any two trainers agree."""


@dataclass(frozen=True)
class Agreement:
    """The largest relative difference of two sides' losses, over how many steps, and by how much prefbench's own losses moved meanwhile."""

    difference: float
    steps: int
    moved: float
    same_tokens: bool = True
    tolerance: float = TOLERANCE

    @property
    def refusal(self) -> str:
        """Why no ratio may be told; empty where it may."""
        if not self.same_tokens:
            return "the two sides trained on different tokens"
        if not self.difference <= self.tolerance:  # not a number is no agreement either
            return f"losses differ by {self.difference:.1e}"
        if self.steps > 1 and self.moved < MOVED:
            return f"losses hardly moved ({self.moved:.1e}), and so show nothing"
        return ""

    def ratio(self, theirs: float, ours: float) -> str:
        """How many times as much theirs is, or why that may not be told."""
        return f"refused: {self.refusal}" if self.refusal else f"{theirs / ours:.2f}x"


def agreement(ours: Sequence[float], theirs: Sequence[float], tolerance: float = TOLERANCE) -> Agreement:
    """Of one training on each side."""
    pairs = list(zip(ours, theirs, strict=True))[:COMPARED]
    difference = worst(abs(a - b) / abs(a) for a, b in pairs)
    return Agreement(difference, len(pairs), moved=worst(abs(a - ours[0]) / abs(ours[0]) for a, _ in pairs), tolerance=tolerance)


def worst(numbers: Iterable[float]) -> float:
    """The largest; not a number where one of them is none."""
    found = list(numbers)
    return max(found) if all(number == number for number in found) else float("nan")


def of_trainings(pairs: Iterable[tuple[Trained, Trained]], tolerance: float = TOLERANCE) -> Agreement:
    """The worst of several trainings of prefbench's and of TRL's."""
    return worst_of(
        dataclasses.replace(agreement(ours.losses, theirs.losses, tolerance), same_tokens=ours.tokens_digest == theirs.tokens_digest)
        for ours, theirs in pairs
    )


def worst_of(agreements: Iterable[Agreement]) -> Agreement:
    """The one that is refused, where there is one, else the one that differs most."""
    return max(agreements, key=lambda agreed: (bool(agreed.refusal), agreed.difference))
