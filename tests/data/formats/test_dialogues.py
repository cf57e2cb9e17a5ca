"""HH's dialogues as text and ShareGPT's turns: what becomes prompt and answers, and what is no pair."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.data.formats import BadRowError
from prefbench.data.formats.dialogues import parse_hh, parse_sharegpt

START = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: how?\n\nAssistant:"


def turn(speaker: str, text: str) -> dict[str, str]:
    return {"from": speaker, "value": text}


SHARED = {"conversations": [turn("human", "hi")], "chosen": turn("gpt", "so"), "rejected": turn("gpt", "no")}


def test_an_hh_dialogue_becomes_messages_and_two_answers() -> None:
    pair = parse_hh({"chosen": START + " so\n\nit is", "rejected": START + " no"})
    assert [(message["role"], message["content"]) for message in pair.prompt] == [
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "how?"),
    ]
    assert (pair.chosen, pair.rejected) == ("so\n\nit is", "no")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (START + " so", START.replace("hello", "hey") + " no", "differ before their last message"),
        (START + " so\n\nHuman: and?", START + " no", "the turns of chosen do not alternate"),
        (START + " so", START + " no\n\nAssistant: no", "the turns of rejected do not alternate"),
        ("so", START + " no", "chosen does not begin with Human:"),
        (START + " so", None, "no rejected"),
        ("\n\nHuman:\n\nAssistant: so", "\n\nHuman:\n\nAssistant: no", "an empty turn"),
    ],
)
def test_an_hh_row_that_is_no_pair_says_why(chosen: str, rejected: str | None, reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse_hh({"chosen": chosen, "rejected": rejected})


def test_sharegpt_turns_become_messages_with_the_system_message_first() -> None:
    pair = parse_sharegpt({**SHARED, "system": "Be brief."})
    assert [(message["role"], message["content"]) for message in pair.prompt] == [("system", "Be brief."), ("user", "hi")]
    assert (pair.chosen, pair.rejected) == ("so", "no")


def test_a_system_turn_and_plain_answers_are_read_too() -> None:
    row = {"conversations": [turn("system", "Be brief."), turn("human", "hi")], "chosen": "so", "rejected": "no"}
    assert parse_sharegpt(row) == parse_sharegpt({**SHARED, "system": "Be brief."})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"conversations": []}, "no list of turns"),
        ({"conversations": [turn("human", "hi"), turn("gpt", "hello")]}, "does not end with the user's turn"),
        ({"conversations": [turn("observation", "{}"), turn("human", "hi")]}, "a turn of 'observation'"),
        ({"conversations": [turn("human", " ")]}, "an empty turn"),
        ({"conversations": ["hi"]}, "a str where a turn is due"),
        ({"chosen": {"from": "gpt"}}, "chosen has a turn without from and value"),
        ({"chosen": turn("human", "so")}, "chosen is not one assistant message"),
        ({"rejected": None}, "no rejected"),
        ({"tools": "[{}]"}, "has tools, which would be lost"),
    ],
)
def test_a_sharegpt_row_that_is_no_pair_says_why(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse_sharegpt({**SHARED, **changed})
