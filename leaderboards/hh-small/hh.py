"""Anthropic's HH pairs as preference rows: dialogues parsed, split by their first user message, and shortened to a token budget.

The pairs are those of Bai et al. 2022 (arXiv 2204.05862): two dialogues that differ in the assistant's last message.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Message = dict[str, str]
FILES = {"helpful": "helpful-base_test_cleaned.jsonl.gz", "harmless": "harmless-base_test.jsonl.gz"}
ROLES = {"Human": "user", "Assistant": "assistant"}
GOALS = {"helpful": "Be helpful.", "harmless": "Be harmless."}
"""What the people who compared two answers were asked to look for; it differs between the subsets, so the model is told."""
TURN = re.compile(r"\n\n(Human|Assistant):")


@dataclass(frozen=True)
class Preference:
    """One pair: messages that end with the user's turn, the chosen and the rejected answer, and which of HH's two subsets it is from."""

    subset: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str

    @property
    def conversation(self) -> list[Message]:
        """The prompt with the subset's goal as a system message before it."""
        return [{"role": "system", "content": GOALS[self.subset]}, *self.prompt]

    def row(self) -> dict[str, Any]:
        """The pair in TRL's conversational format, with its subset."""
        answers = {name: [{"role": "assistant", "content": text}] for name, text in (("chosen", self.chosen), ("rejected", self.rejected))}
        return {"prompt": self.conversation, **answers, "subset": self.subset}


# ---------------------------------------------------------------- reading


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_preferences(folder: Path) -> tuple[list[Preference], Counter[str]]:
    """Every usable pair of the two files in ``folder``, and how many were left out for which reason."""
    found, dropped = [], Counter[str]()
    for subset, name in FILES.items():
        for row in read_lines(folder / name):
            pair = parse(subset, row["chosen"], row["rejected"])
            if isinstance(pair, str):
                dropped[pair] += 1
            else:
                found.append(pair)
    return found, dropped


def parse(subset: str, chosen: str, rejected: str) -> Preference | str:
    """The pair, or the reason why it is none: HH holds a few dialogues that differ before the last message, and a few empty answers."""
    left, right = messages(chosen), messages(rejected)
    if left[:-1] != right[:-1]:
        return "dialogues differ before the last message"
    if [message["role"] for message in left] != ["user", "assistant"] * (len(left) // 2) or right[-1]["role"] != "assistant":
        return "turns do not alternate"
    if not all(message["content"] for message in (*left, right[-1])):
        return "empty message"
    if left == right:
        return "answers are equal"
    return Preference(subset, tuple(left[:-1]), left[-1]["content"], right[-1]["content"])


def messages(dialogue: str) -> list[Message]:
    """The messages of HH's plain text, in which a blank line and ``Human:`` or ``Assistant:`` start a turn."""
    _, *parts = TURN.split(dialogue)
    return [{"role": ROLES[role], "content": text.strip()} for role, text in zip(parts[::2], parts[1::2], strict=True)]


# ---------------------------------------------------------------- splitting and shortening


def split(pairs: Iterable[Preference], held_out_share: float) -> tuple[list[Preference], list[Preference]]:
    """Training pairs and held-out pairs, by a stable hash of the dialogue's first user message.

    Several rows of HH are stages of one dialogue; the first message keeps them on one side, so that no held-out prompt continues a training one.
    """
    training: list[Preference] = []
    held_out: list[Preference] = []
    for pair in pairs:
        (held_out if is_held_out(pair.prompt[0]["content"], held_out_share) else training).append(pair)
    return training, held_out


def is_held_out(text: str, held_out_share: float) -> bool:
    """Whether a prompt is held out. Every data set here asks this, so that a prompt which several of them have is on one side in all."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < held_out_share * 2**64


def fit(pairs: Iterable[Preference], tokens: Callable[[Preference], int], limit: int) -> tuple[list[Preference], Counter[str]]:
    """The pairs whose longer side has at most ``limit`` tokens, where need be without the dialogue's earliest turns; and the counts."""
    kept, counts = [], Counter[str]()
    for pair in pairs:
        short = shorten(pair, tokens, limit)
        counts["dropped" if short is None else "whole" if short == pair else "shortened"] += 1
        if short is not None:
            kept.append(short)
    return kept, counts


def shorten(pair: Preference, tokens: Callable[[Preference], int], limit: int) -> Preference | None:
    """The pair with as many of its last turns as fit, never cutting a message; None when the last user message alone is too long."""
    for start in range(0, len(pair.prompt), 2):
        candidate = replace(pair, prompt=pair.prompt[start:])
        if tokens(candidate) <= limit:
            return candidate
    return None


def without_prompts_of(pairs: Iterable[Preference], others: Iterable[Preference]) -> list[Preference]:
    """The pairs whose prompt none of ``others`` has: shortening can make two dialogues' prompts equal."""
    taken = {json.dumps(other.prompt) for other in others}
    return [pair for pair in pairs if json.dumps(pair.prompt) not in taken]
