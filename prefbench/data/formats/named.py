"""A question as text with a chosen and a rejected answer: UltraFeedback-binarized with its scores, and instruction data."""

from __future__ import annotations

from collections.abc import Mapping

from prefbench.api import Pair
from prefbench.data.formats.base import Format, Row, bad, first_text, messages_of, scores, shared_prompt, user_turn

QUESTIONS = ("instruction", "question")

# ---------------------------------------------------------------- UltraFeedback-binarized


def parse_binarized(row: Row) -> Pair:
    """``prompt`` is text, and ``chosen`` and ``rejected`` are conversations that begin with it; their scores and ``score-gap`` are columns."""
    if not isinstance(row.get("prompt"), str):
        bad("prompt is no text")
    pair = shared_prompt(*(messages_of(name, row.get(name)) for name in ("chosen", "rejected")))
    asked = next((message["content"] for message in pair.prompt if isinstance(message, Mapping) and message["role"] == "user"), "")
    if asked.strip() != row["prompt"].strip():
        bad("chosen does not begin with the prompt")
    return Pair(pair.prompt, pair.chosen, pair.rejected, scores(row))


def _is_binarized(row: Row) -> bool:
    answers = [row.get(name) for name in ("chosen", "rejected")]
    return isinstance(row.get("prompt"), str) and all(isinstance(answer, list) and len(answer) > 1 for answer in answers)


BINARIZED = Format("binarized", _is_binarized, parse_binarized)

# ---------------------------------------------------------------- instructions


def parse_instruction(row: Row) -> Pair:
    """``instruction`` (with an ``input`` below it) or ``question``, a ``system`` message where there is one, and two answers as text."""
    name = first_text(row, QUESTIONS) or bad("no instruction")
    answers = [row[side] if isinstance(row.get(side), str) else bad(f"no {side}") for side in ("chosen", "rejected")]
    question = row[name]
    if isinstance(row.get("input"), str) and row["input"].strip():
        question = f"{question}\n{row['input']}"
    return Pair(user_turn(question, row.get("system")), *answers)


def _is_instruction(row: Row) -> bool:
    answers = [row.get(name) for name in ("chosen", "rejected")]
    return row.get("prompt") is None and first_text(row, QUESTIONS) is not None and all(isinstance(text, str) for text in answers)


INSTRUCTION = Format("instruction", _is_instruction, parse_instruction)
