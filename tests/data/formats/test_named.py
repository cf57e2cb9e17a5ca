"""UltraFeedback-binarized with its scores, and instruction data with two answers."""

from __future__ import annotations

from typing import Any

import pytest

from prefbench.data.formats import BadRowError
from prefbench.data.formats.named import parse_binarized, parse_instruction


def talk(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


ROW = {"prompt": "Why?", "chosen": talk("Why?", "So."), "rejected": talk("Why?", "No."), "score_chosen": 9.0, "score_rejected": 4.5}


def test_a_binarized_row_is_a_conversation_with_its_scores() -> None:
    pair = parse_binarized(ROW)
    assert (pair.prompt, pair.chosen, pair.rejected) == (({"role": "user", "content": "Why?"},), "So.", "No.")
    assert pair.columns == {"score_chosen": 9.0, "score_rejected": 4.5, "score-gap": 4.5}


def test_other_names_of_the_scores_give_the_same_columns() -> None:
    rated = {name: value for name, value in ROW.items() if "score" not in name} | {"chosen-rating": 9, "rejected-rating": 4.5}
    assert parse_binarized(rated) == parse_binarized(ROW)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"prompt": "Who?"}, "chosen does not begin with the prompt"),
        ({"rejected": talk("Who?", "No.")}, "not the same conversation"),
        ({"rejected": None}, "rejected is missing"),
        ({"score_chosen": "N/A"}, "no number in 'score_chosen'"),
    ],
)
def test_a_binarized_row_that_is_no_pair_says_why(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError, match=reason):
        parse_binarized({**ROW, **changed})


def test_an_instruction_holds_its_input_and_the_system_message_stands_before() -> None:
    pair = parse_instruction({"instruction": "Add.", "input": "1 1", "system": "Be exact.", "chosen": "2", "rejected": "3"})
    assert [message["content"] for message in pair.prompt] == ["Be exact.", "Add.\n1 1"]


def test_a_question_with_an_empty_system_message_is_the_question_alone() -> None:
    pair = parse_instruction({"question": "1+1?", "system": "", "chosen": "2", "rejected": "3"})
    assert pair.prompt == ({"role": "user", "content": "1+1?"},)


def test_an_empty_instruction_is_refused() -> None:
    with pytest.raises(BadRowError, match="prompt is empty"):
        parse_instruction({"instruction": " ", "chosen": "2", "rejected": "3"})
