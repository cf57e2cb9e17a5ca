"""Lists of scored responses: the best against the worst, in the shapes that the lists have."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.data.formats import BadRowError
from prefbench.data.formats.scored import parse

RESPONSES = [{"text": "fair", "score": 0.5}, {"text": "good", "score": 0.9}, {"text": "bad", "score": 0.1}]
ROW = {"prompt": "Why?", "responses": RESPONSES}


def test_the_best_response_is_chosen_over_the_worst_with_their_gap() -> None:
    pair = parse(ROW)
    assert (pair.prompt, pair.chosen, pair.rejected) == (({"role": "user", "content": "Why?"},), "good", "bad")
    assert pair.columns == {"score-gap": pytest.approx(0.8)}


@pytest.mark.parametrize(
    "row",
    [
        {
            "instruction": "Why?",
            "completions": [{"response": r["text"], "overall_score": r["score"], "fine-grained_score": 0} for r in RESPONSES],
        },
        {"prompt": "Why?", "responses": [{"text": r["text"], "p_beats_other": r["score"], "model": "m", "tokens": 3} for r in RESPONSES]},
        {"prompt": "Why?", "responses": [r["text"] for r in RESPONSES], "scores": [r["score"] for r in RESPONSES]},
    ],
    ids=["ultrafeedback", "one-number-named-as-a-score", "parallel-lists"],
)
def test_every_shape_gives_the_same_pair(row: dict[str, Any]) -> None:
    assert parse(row) == parse(ROW)


def test_the_first_rank_is_the_best() -> None:
    pair = parse({"prompt": "Why?", "answers": [{"answer": "bad", "rank": 7}, {"answer": "good", "rank": 1}]})
    assert (pair.chosen, pair.rejected, pair.columns) == ("good", "bad", {"score-gap": 6.0})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "responses": [{**response, "score": 1} for response in RESPONSES]}, "all scores are equal"),
        ({**ROW, "responses": RESPONSES[:1]}, "fewer than two responses"),
        ({**ROW, "responses": [*RESPONSES, {"text": "x", "score": None}]}, "no number in 'score'"),
        ({**ROW, "responses": [*RESPONSES, {"text": "x", "length": 3}]}, "response 4 has no score, or several"),
        ({**ROW, "responses": [*RESPONSES, {"text": "x", "helpful score": 3, "harm score": 1}]}, "response 4 has no score, or several"),
        ({**ROW, "responses": [*RESPONSES, {"score": 3}]}, "response 4 has no text"),
        ({"prompt": "Why?", "responses": ["a", "b"], "scores": [1]}, "2 responses and 1 scores"),
        ({**ROW, "prompt": " "}, "prompt is empty"),
    ],
)
def test_a_list_that_holds_no_pair_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse(row)
