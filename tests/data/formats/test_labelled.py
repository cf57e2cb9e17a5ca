"""A prompt, two texts and a label in its spellings; and OpenAI's comparisons of summaries."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.data.formats import BadRowError
from prefbench.data.formats.labelled import parse, parse_summaries

TEXTS = {"prompt": "Why?", "response_a": "first", "response_b": "second"}


@pytest.mark.parametrize(
    ("row", "chosen"),
    [
        ({**TEXTS, "label": "a"}, "first"),
        ({**TEXTS, "label": "B"}, "second"),
        ({**TEXTS, "preference": "response_b"}, "second"),
        ({**TEXTS, "winner": "model_a"}, "first"),
        ({"prompt": "Why?", "response_0": "first", "response_1": "second", "better_response_id": 1}, "second"),
        ({"input": "Why?", "output_1": "first", "output_2": "second", "label": 1}, "first"),
        ({"instruction": "Why?", "output_1": "first", "output_2": "second", "preference": 2.0}, "second"),
        ({"instruction": "Why?", "output_1": "first", "output_2": "second", "preference": "2"}, "second"),
    ],
)
def test_the_label_names_the_better_text(row: dict[str, Any], chosen: str) -> None:
    pair = parse(row)
    assert pair.prompt == ({"role": "user", "content": "Why?"},)
    assert (pair.chosen, pair.rejected) == (("first", "second") if chosen == "first" else ("second", "first"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"label": "tie"}, "a tie"),
        ({"label": 1}, "label 1 names neither response_a nor response_b"),  # the second of 0 and 1, the first of 1 and 2, or: a is better
        ({"label": True}, "label True names neither"),
        ({"label": None}, "no label"),
        ({"label": "a", "winner": "b"}, "several labels: label, winner"),
        ({"label": "a", "prompt": ""}, "prompt is empty"),
    ],
)
def test_a_label_that_leaves_a_doubt_makes_no_pair(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse({**TEXTS, **changed})


INFO = {"subreddit": "cats", "title": "My cat", "post": "She sleeps."}
SUMMARIES = {"info": INFO, "summaries": [{"text": " A cat."}, {"text": " Cat sleeps."}], "choice": 1}


def test_a_comparison_of_summaries_is_plain_text_that_asks_for_the_summary() -> None:
    pair = parse_summaries(SUMMARIES)
    assert pair.prompt == "SUBREDDIT: r/cats\n\nTITLE: My cat\n\nPOST: She sleeps.\n\nTL;DR:"
    assert (pair.chosen, pair.rejected) == (" Cat sleeps.", " A cat.")


def test_summaries_as_an_object_of_lists_are_the_same() -> None:
    assert parse_summaries({**SUMMARIES, "summaries": {"text": [" A cat.", " Cat sleeps."], "policy": ["x", "y"]}}) == parse_summaries(
        SUMMARIES
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"info": {"article": "News."}}, "no post in info"),
        ({"summaries": [{"text": "one"}]}, "no two summaries"),
        ({"choice": 2}, "choice 2 is neither 0 nor 1"),
    ],
)
def test_a_comparison_without_post_summaries_or_choice_is_no_pair(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse_summaries({**SUMMARIES, **changed})
