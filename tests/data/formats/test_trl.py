"""TRL's preference formats: texts, conversations, implicit prompts, and every row of them that is no pair."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.api import Pair
from prefbench.data.formats import BadRowError, checked
from prefbench.data.formats.trl import parse


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


TALK = {"prompt": [user("hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]}


def pair_of(row: dict[str, Any]) -> Pair:
    return checked(parse(row))


def test_standard_rows_stay_text() -> None:
    assert pair_of({"prompt": "p", "chosen": "good", "rejected": "bad"}) == Pair("p", "good", "bad")


def test_conversations_give_the_prompt_as_messages_and_the_answers_as_text() -> None:
    prompt = [user("hi"), assistant("hello"), user("how?")]
    pair = pair_of({"prompt": prompt, "chosen": [assistant("so")], "rejected": [assistant("no")]})
    assert (pair.prompt, pair.chosen, pair.rejected) == (tuple(prompt), "so", "no")


def test_an_implicit_prompt_is_what_the_conversations_share() -> None:
    shared = [user("hi"), assistant("hello"), user("how?")]
    explicit = pair_of({"prompt": shared, "chosen": [assistant("so")], "rejected": [assistant("no")]})
    assert pair_of({"chosen": [*shared, assistant("so")], "rejected": [*shared, assistant("no")]}) == explicit


def test_scores_of_both_answers_and_their_gap_are_columns() -> None:
    assert pair_of({**TALK, "score_chosen": 8, "score_rejected": 5.5}).columns == {
        "score_chosen": 8.0,
        "score_rejected": 5.5,
        "score-gap": 2.5,
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "rejected": "b"}, "no chosen"),
        ({"prompt": "p"}, "no chosen and no rejected"),
        ({"chosen": "a", "rejected": "b"}, "no prompt"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "prompt is empty"),
        ({"prompt": "p", "chosen": " \n", "rejected": "b"}, "chosen is empty"),
        ({**TALK, "rejected": [assistant("")]}, "rejected is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "chosen equals rejected"),
        ({"chosen": [user("hi"), assistant("a")], "rejected": [user("hi"), assistant("a")]}, "chosen equals rejected"),
        ({"chosen": [user("hi"), assistant("a")], "rejected": [user("ho"), assistant("b")]}, "not the same conversation"),
        ({"chosen": [assistant("a")], "rejected": [assistant("b")]}, "prompt is empty"),
        ({**TALK, "prompt": "hi"}, "prompt is text"),
        ({"prompt": [user("hi")], "chosen": "a", "rejected": "b"}, "prompt is not text"),
        ({**TALK, "rejected": "b"}, "differ in kind"),
        ({**TALK, "chosen": [user("a")]}, "not one assistant message"),
        ({**TALK, "chosen": [assistant("a"), assistant("c")]}, "not one assistant message"),
        ({**TALK, "chosen": [{"role": "assistant"}]}, "without role and content"),
        ({**TALK, "chosen": [{**assistant("a"), "tool_calls": [1]}]}, "tool_calls"),
        ({**TALK, "chosen": 3}, "neither text nor a list"),
        ({**TALK, "score_chosen": "high", "score_rejected": 1}, "no number in 'score_chosen'"),
    ],
)
def test_a_row_that_is_no_pair_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        pair_of(row)
