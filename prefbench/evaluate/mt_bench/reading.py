"""What a judge's words say: a rating, or which of two answers it prefers; FastChat's patterns, and nothing where they contradict each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

LOWEST, HIGHEST = 1, 10
RATINGS = tuple(str(rating) for rating in range(LOWEST, HIGHEST + 1))
"""What a judge may put between double brackets when it grades one answer; it may also write a fraction."""
LETTERS = ("A", "B", "C")
"""The same when it compares two: the first answer, the second, or a tie."""

_RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_BACKUP = re.compile(r"\[(\d+\.?\d*)\]")
"""FastChat reads single brackets where there are no double ones."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """What was read, None where nothing was; ``ambiguous`` where the text says two different things."""

    value: Value | None
    ambiguous: bool = False


def read_rating(text: str) -> Reading[float]:
    """The rating of a verdict, 1 to 10.

    FastChat takes the first match. An answer that contains a rating and a judge that quotes it would make that one the verdict, so that a
    text with two different ratings has none here. A rating off the scale is none either.
    """
    found = {_number(digits) for digits in _RATING.findall(text) or _BACKUP.findall(text)}
    if len(found) > 1:
        return Reading(None, ambiguous=True)
    return Reading(next((rating for rating in found if LOWEST <= rating <= HIGHEST), None))


def read_letter(text: str) -> Reading[str]:
    """The letter of a comparison's verdict; FastChat takes [[A]] before [[B]] before [[C]] where there are several, and here that is none."""
    found = [letter for letter in LETTERS if f"[[{letter}]]" in text]
    if len(found) > 1:
        return Reading(None, ambiguous=True)
    return Reading(found[0] if found else None)


def _number(digits: str) -> float:
    """An int where no point is written, as FastChat stores it."""
    return float(digits) if "." in digits else int(digits)


# ---------------------------------------------------------------- both orders of a comparison

WIN, TIE, LOSS = "win", "tie", "loss"
SHOWN_FIRST = {"A": WIN, "B": LOSS, "C": TIE}
"""What a letter means for the answer that is shown first."""
SHOWN_SECOND = {"A": LOSS, "B": WIN, "C": TIE}

Verdicts = Sequence[str | None]
"""The verdict of each order, in the words of the graded answer; None where none was read."""


def preference(verdicts: Verdicts) -> float | None:
    """1 for a win in both orders, 0 for a loss in both, else 0.5: FastChat's rule, that orders which disagree are a tie. None without both."""
    if None in verdicts:
        return None
    outcomes = set(verdicts)
    return 1.0 if outcomes == {WIN} else 0.0 if outcomes == {LOSS} else 0.5


def flipped(verdicts: Verdicts) -> float | None:
    """1.0 where the two orders have different verdicts, 0.0 where they have one, None without both."""
    return None if None in verdicts else float(len(set(verdicts)) > 1)
