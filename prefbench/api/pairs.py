"""What is trained on and asked: pairs with their numbers, and evaluation questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Message = Mapping[str, str]
"""One chat message: ``{"role": ..., "content": ...}``."""
Prompt = str | tuple[Message, ...]
"""A conversation, rendered with the model's chat template; or plain text, used as it stands."""


@dataclass(frozen=True)
class Pair:
    """One preference: a prompt, the answer that was chosen and the one that was rejected.

    ``columns`` are numbers known with the data, such as an annotator's score gap; ``gold_margin``, where a source knows the truth, is the true
    reward of the chosen answer minus that of the rejected one, and ``flipped`` is 1.0 where the label was corrupted on purpose.
    """

    prompt: Prompt
    chosen: str
    rejected: str
    columns: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """16 hexadecimal digits that depend on the three texts only."""
        return content_id(self.prompt, self.chosen, self.rejected)


@dataclass(frozen=True)
class Question:
    """One evaluation question of one or more user turns. ``facts`` is for the source and its judge alone; nothing else reads it."""

    id: str
    turns: tuple[str, ...]
    category: str = ""
    references: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def content_id(*parts: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of the parts' JSON."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]
