"""One line of ``prefbench doctor``: what was looked at, whether it will do, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prefbench.errors import PrefbenchError

State = Literal["ok", "unknown", "missing", "wrong"]
FAILING = ("missing", "wrong")
"""The states that the exit code tells."""


@dataclass(frozen=True)
class Finding:
    """``unknown`` is what cannot be told yet; ``missing`` what the user has to bring; ``wrong`` what would fail although it is there."""

    check: str
    state: State
    finding: str


def looked_at(check: str, look: Callable[[], str]) -> Finding:
    """What ``look`` found; where it raises anything at all, that is what is wrong."""
    try:
        return Finding(check, "ok", look())
    except Exception as error:
        return Finding(check, "wrong", in_words(error))


def in_words(error: Exception) -> str:
    """An error with its hint."""
    hint = error.hint if isinstance(error, PrefbenchError) else ""
    return f"{error}" + (f" ({hint})" if hint else "")
