"""What a check of a board finds: one thing that does not agree, with its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that does not agree: the file (relative to the folder), what of it, what it should be, and what it is."""

    file: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}: expected {self.expected}, found {self.found}"


def differs(file: str, what: str, expected: Any, found: Any) -> list[Problem]:
    """One problem where two values are not equal, else none."""
    return [] if expected == found else [Problem(file, what, f"{expected}", f"{found}")]
