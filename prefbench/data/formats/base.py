"""What every format of preference rows is made of: its name, whether a row has its shape, and the pair that such a row holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from prefbench.api import Message, Pair

Row = Mapping[str, Any]
"""One row of a file, by column."""

SCORES = (("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating"), ("chosen_score", "rejected_score"))
"""Names under which the scores of the chosen and of the rejected answer are found."""


class BadRowError(ValueError):
    """A row is no preference pair; the message says why."""


@dataclass(frozen=True)
class Format:
    """A shape in which people keep pairs. ``matches`` looks at names and kinds only; ``parse`` raises BadRowError for a row that holds no pair."""

    name: str
    matches: Callable[[Row], bool]
    parse: Callable[[Row], Pair]


def bad(reason: str) -> NoReturn:
    """Raise BadRowError."""
    raise BadRowError(reason)


def checked(pair: Pair) -> Pair:
    """The pair. Raises BadRowError where an answer is empty, or the two are one."""
    for name, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if not answer.strip():
            bad(f"{name} is empty")
    return pair if pair.chosen != pair.rejected else bad("chosen equals rejected")


def number(row: Row, name: str) -> float:
    """A finite number, which CSV has as text. Raises BadRowError where there is none."""
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        bad(f"no number in {name!r}")
    return value if math.isfinite(value) else bad(f"no number in {name!r}")


def scores(row: Row) -> dict[str, float]:
    """Both answers' scores and the gap between them, where a row has scores. Raises BadRowError for a score that is no number."""
    names = next((names for names in SCORES if all(row.get(name) is not None for name in names)), ())
    if not names:
        return {}
    chosen, rejected = (number(row, name) for name in names)
    return {"score_chosen": chosen, "score_rejected": rejected, "score-gap": chosen - rejected}


def first_text(row: Row, names: Sequence[str]) -> str | None:
    """The first of some columns that holds text, by name."""
    return next((name for name in names if isinstance(row.get(name), str)), None)


def user_turn(text: str, system: str | None = None) -> tuple[Message, ...]:
    """A conversation of one question, with a system message before it where there is one. Raises BadRowError for an empty question."""
    if not text.strip():
        bad("prompt is empty")
    before = ({"role": "system", "content": system},) if system and system.strip() else ()
    return (*before, {"role": "user", "content": text})


def conversation(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages as a prompt. Raises BadRowError when they say nothing."""
    return tuple(messages) if any(message["content"].strip() for message in messages) else bad("prompt is empty")


def messages_of(name: str, value: Any) -> list[Message]:
    """Messages with a role and a text. A further key that holds anything, such as a tool call, would be lost: it makes the row bad."""
    if value is None:
        bad(f"{name} is missing")
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        bad(f"{name} is neither text nor a list of messages")
    for message in value:
        if not all(isinstance(message.get(key), str) for key in ("role", "content")):
            bad(f"{name} has a message without role and content")
        if other := sorted(key for key, held in message.items() if key not in ("role", "content") and held is not None):
            bad(f"{name} has a message with {', '.join(other)}, which would be lost")
    return [{"role": message["role"], "content": message["content"]} for message in value]


def answer_of(name: str, messages: Sequence[Message]) -> str:
    """The text of the only message, the assistant's. Raises BadRowError for anything else."""
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        bad(f"{name} is not one assistant message")
    return messages[0]["content"]


def shared_prompt(chosen: Sequence[Message], rejected: Sequence[Message]) -> Pair:
    """The pair of two conversations that differ in their last message. Raises BadRowError for any other two."""
    if chosen == rejected:
        bad("chosen equals rejected")
    if not chosen or not rejected or chosen[:-1] != rejected[:-1]:
        bad("chosen and rejected are not the same conversation up to their last message")
    return Pair(conversation(chosen[:-1]), answer_of("chosen", chosen[-1:]), answer_of("rejected", rejected[-1:]))
