"""TRL's preference formats: texts as they stand, conversations behind a prompt, and conversations that hold their prompt.

TRL documentation, "Dataset formats and types", type preference.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from prefbench.api import Pair
from prefbench.data.formats.base import Format, Row, answer_of, bad, conversation, messages_of, scores, shared_prompt

ANSWERS = ("chosen", "rejected")


def parse(row: Row) -> Pair:
    """Standard: ``prompt``, ``chosen`` and ``rejected`` are strings. Conversational: all are lists of messages, and each answer is one assistant
    message. Implicit prompt: there is no ``prompt``, and ``chosen`` and ``rejected`` are conversations that differ in their last message.
    The answers' scores are columns, where a row has them.
    """
    missing = [name for name in ANSWERS if row.get(name) is None]
    if missing:
        bad(f"no {' and no '.join(missing)}")
    return dataclasses.replace(_pair(row.get("prompt"), row["chosen"], row["rejected"]), columns=scores(row))


def _pair(prompt: Any, chosen: Any, rejected: Any) -> Pair:
    if isinstance(chosen, str) and isinstance(rejected, str):
        return Pair(_plain_prompt(prompt), chosen, rejected)
    if isinstance(chosen, str) or isinstance(rejected, str):
        bad("chosen and rejected differ in kind: one is text, the other is not")
    left, right = messages_of("chosen", chosen), messages_of("rejected", rejected)
    if prompt is None:
        return shared_prompt(left, right)
    if isinstance(prompt, str):
        bad("prompt is text, but the answers are messages")
    return Pair(conversation(messages_of("prompt", prompt)), answer_of("chosen", left), answer_of("rejected", right))


def _plain_prompt(prompt: Any) -> str:
    if prompt is None:
        bad("no prompt")
    if not isinstance(prompt, str):
        bad("prompt is not text, but the answers are")
    return prompt if prompt.strip() else bad("prompt is empty")


def _answers_are(row: Row, kind: type) -> bool:
    return all(isinstance(row.get(name), kind) for name in ANSWERS)


STANDARD = Format("standard", lambda row: isinstance(row.get("prompt"), str) and _answers_are(row, str), parse)
CONVERSATIONAL = Format(
    "conversational", lambda row: isinstance(row.get("prompt"), list) and _answers_are(row, list) and "conversations" not in row, parse
)
IMPLICIT = Format("implicit", lambda row: row.get("prompt") is None and _answers_are(row, list) and "conversations" not in row, parse)
