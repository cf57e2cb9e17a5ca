"""Dialogues in other shapes than TRL's: Anthropic's HH texts, and ShareGPT's turns as LLaMA-Factory has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.api import Message, Pair
from prefbench.data.formats.base import Format, Row, answer_of, bad

# ---------------------------------------------------------------- Anthropic HH (Bai et al. 2022, arXiv 2204.05862)

_TURN = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_hh(row: Row) -> Pair:
    """``chosen`` and ``rejected`` are whole dialogues as text; a blank line and ``Human:`` or ``Assistant:`` start a turn.

    The goal, helpful or harmless, is in no row, so no system message tells it.
    """
    chosen, rejected = _dialogue("chosen", row.get("chosen")), _dialogue("rejected", row.get("rejected"))
    if chosen[:-1] != rejected[:-1]:
        bad("the dialogues differ before their last message")
    if any(not message["content"] for message in chosen[:-1]):
        bad("an empty turn before the answers")
    return Pair(tuple(chosen[:-1]), chosen[-1]["content"], rejected[-1]["content"])


def _dialogue(name: str, text: Any) -> list[Message]:
    if not isinstance(text, str):
        bad(f"no {name}" if text is None else f"{name} is no text")
    before, *parts = _TURN.split(text)
    found: list[Message] = [
        {"role": _HH_ROLES[role], "content": content.strip()} for role, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    if before.strip() or not found:
        bad(f"{name} does not begin with Human:")
    if [message["role"] for message in found] != ["user", "assistant"] * (len(found) // 2):
        bad(f"the turns of {name} do not alternate from Human to Assistant")
    return found


def _is_hh(row: Row) -> bool:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if row.get("prompt") is not None or not isinstance(chosen, str) or not isinstance(rejected, str):
        return False
    return chosen.startswith("\n\nHuman:") and rejected.startswith("\n\nHuman:")


HH = Format("hh", _is_hh, parse_hh)

# ---------------------------------------------------------------- ShareGPT (LLaMA-Factory's preference data)

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def parse_sharegpt(row: Row) -> Pair:
    """``conversations`` of ``{from, value}`` that end with the user's turn, ``chosen`` and ``rejected``, a turn each, and at will ``system``."""
    if row.get("tools"):
        bad("the row has tools, which would be lost")
    system, turns = row.get("system"), row.get("conversations")
    if not isinstance(turns, list) or not turns:
        bad("conversations is no list of turns")
    before = [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []
    prompt = [*before, *(_turn("conversations", turn) for turn in turns)]
    if prompt[-1]["role"] != "user":
        bad("conversations does not end with the user's turn")
    if any(not message["content"].strip() for message in prompt):
        bad("an empty turn before the answers")
    return Pair(tuple(prompt), _answer("chosen", row.get("chosen")), _answer("rejected", row.get("rejected")))


def _answer(name: str, value: Any) -> str:
    if value is None:
        bad(f"no {name}")
    if isinstance(value, str):
        return value
    turns: Sequence[Any] = value if isinstance(value, list) else [value]
    return answer_of(name, [_turn(name, turn) for turn in turns])


def _turn(name: str, turn: Any) -> Message:
    """A turn with ``from`` and ``value``, or with ``role`` and ``content``; tools have no place in a pair of two answers."""
    if not isinstance(turn, Mapping):
        bad(f"{name} holds a {type(turn).__name__} where a turn is due")
    speaker, text = (
        turn.get(key) if turn.get(key) is not None else turn.get(other) for key, other in (("from", "role"), ("value", "content"))
    )
    if not isinstance(speaker, str) or not isinstance(text, str):
        bad(f"{name} has a turn without from and value")
    return {"role": _ROLES.get(speaker) or bad(f"{name} has a turn of {speaker!r}, which no chat template knows"), "content": text}


def _is_sharegpt(row: Row) -> bool:
    return isinstance(row.get("conversations"), list) and row.get("chosen") is not None and row.get("rejected") is not None


SHAREGPT = Format("sharegpt", _is_sharegpt, parse_sharegpt)
