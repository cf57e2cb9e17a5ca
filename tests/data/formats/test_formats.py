"""Which format a row has: each format's example is its own, and no other's."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.data.formats import FORMATS, format_of

USER = {"role": "user", "content": "Why?"}
TURNS = {name: {"from": "gpt", "value": text} for name, text in (("chosen", "So."), ("rejected", "No."))}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("So.", "No."))

EXAMPLES: dict[str, dict[str, Any]] = {
    "standard": {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    "conversational": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "implicit": {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "binarized": {"prompt": "Why?", "chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 9, "score_rejected": 2},
    "instruction": {"instruction": "Why?", "input": "", "chosen": "So.", "rejected": "No."},
    "hh": {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
    "sharegpt": {"conversations": [{"from": "human", "value": "Why?"}], **TURNS},
    "scored": {"prompt": "Why?", "responses": [{"text": "So.", "score": 2}, {"text": "No.", "score": 1}]},
    "labelled": {"prompt": "Why?", "response_a": "So.", "response_b": "No.", "label": "a"},
    "summaries": {"info": {"post": "Why?"}, "summaries": [{"text": "So."}, {"text": "No."}], "choice": 0},
}  # fmt: skip


def test_every_format_has_an_example() -> None:
    assert EXAMPLES.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_has_one_format_and_is_a_pair_of_it(name: str) -> None:
    row = EXAMPLES[name]
    assert [other for other, format_ in FORMATS.items() if format_.matches(row)] == [name]
    assert format_of(row) is FORMATS[name]
    pair = FORMATS[name].parse(row)
    assert (pair.chosen, pair.rejected) == ("So.", "No.")


@pytest.mark.parametrize(
    "row", [{}, {"prompt": "Why?"}, {"messages": [USER, GOOD], "label": True}, {"instruction": "Why?", "output": "So."}]
)
def test_what_has_no_two_answers_has_no_format(row: dict[str, Any]) -> None:
    assert format_of(row) is None
