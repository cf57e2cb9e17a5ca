"""Did you mean: the closest of the known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CLOSE = 0.6
"""Least similarity (difflib's ratio) of a suggestion; names further than NEARLY from the best one are left out."""
NEARLY = 0.1


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"did you mean dpo or ipo?"``, or the empty string when nothing known is close to ``name``."""
    similarity = {other: difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio() for other in sorted(set(known))}
    best = max(similarity.values(), default=0.0)
    if best < CLOSE:
        return ""
    close = [other for other, ratio in similarity.items() if ratio > best - NEARLY]
    return f"did you mean {' or '.join(close)}?"
