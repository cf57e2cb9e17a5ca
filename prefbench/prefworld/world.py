"""What a Prefworld task is: two turns of a category, the bodies that answer each turn, and the body's slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

WORLD_VERSION = 3
"""Part of every key: raised whenever a change here would give other texts, rewards or weights."""

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
"""In MT-Bench's order: its questions 81 to 160 are ten of each."""


@dataclass(frozen=True)
class Turn:
    """What the user says, and the bodies that answer it in full.

    A body is plain text with its slots in brackets, ``the [fox] met the [owl]``: the bracketed words are what was asked for, the others the frame.
    """

    text: str
    bodies: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A question of a category and the second turn that needs the first."""

    category: str
    turns: tuple[Turn, Turn]

    @property
    def text(self) -> str:
        """The first turn, by which tasks are told apart and split."""
        return self.turns[0].text

    def facts(self, turns: int) -> dict[str, Any]:
        """What a judge must know of the first ``turns`` turns, JSON-able: the category, and each turn's bodies."""
        return {"category": self.category, "bodies": [list(turn.bodies) for turn in self.turns[:turns]]}


@lru_cache(maxsize=65536)
def parse_body(body: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The words of a body without brackets, and which of them are slots."""
    words = body.split()
    return tuple(word.strip("[]") for word in words), tuple(word.startswith("[") for word in words)
