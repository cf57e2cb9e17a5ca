"""Pairs of a table: the format that its rows tell, columns by name, and bad rows by number and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefbench.api import content_id
from prefbench.data.preference_files import PairFile, first_pair, read_pairs
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError

STANDARD = {"prompt": "p", "chosen": "a", "rejected": "b"}
INSTRUCTION = {"instruction": "p", "chosen": "a", "rejected": "b"}


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Writes rows, strings as they stand, and gives the table."""

    def write(*rows: Any) -> Table:
        (tmp_path / "pairs.jsonl").write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return Table(str(tmp_path / "pairs.jsonl"))

    return write


def test_the_rows_tell_the_format_and_bad_ones_are_read_as_the_others(table: Any) -> None:
    found = read_pairs(table({"instruction": "p"}, INSTRUCTION, {**INSTRUCTION, "rejected": None}))
    assert (found.format, len(found.pairs), found.rows) == ("instruction", 1, (2,))
    assert found.bad == {1: "no chosen", 3: "no rejected"}


def test_rows_of_two_formats_are_refused_with_the_first_of_each(table: Any) -> None:
    with pytest.raises(PrefbenchError, match=r"rows of several formats: standard \(row 1\), instruction \(row 3\)") as caught:
        read_pairs(table(STANDARD, {**STANDARD, "prompt": "q"}, INSTRUCTION))
    assert "pairs_format" in caught.value.hint


def test_a_named_format_is_what_is_read(table: Any) -> None:
    found = read_pairs(table({**STANDARD, **INSTRUCTION}, INSTRUCTION), format_name="instruction")
    assert [pair.prompt for pair in found.pairs] == [({"role": "user", "content": "p"},)]
    assert found.bad == {2: "the same pair as row 1"}


def test_answers_with_a_label_are_told_to_be_no_pairs(table: Any) -> None:
    with pytest.raises(PrefbenchError, match="row 1 holds one answer and a label, as KTO's data do"):
        read_pairs(table({"prompt": "p", "completion": "a", "label": True}))


def test_rows_of_no_format_are_told_with_their_columns(table: Any) -> None:
    with pytest.raises(PrefbenchError, match="no row has a format that is known; row 1 has left, right"):
        read_pairs(table({"left": "a", "right": "b"}))


def test_columns_are_read_by_name_and_those_of_the_format_come_by_themselves(table: Any) -> None:
    row = {"prompt": "p", "responses": ["a", "b"], "scores": [3, 1], "effort": "2.5", "other": "x"}
    (pair,) = read_pairs(table(row), ["effort", "score-gap"]).pairs
    assert pair.columns == {"score-gap": 2.0, "effort": 2.5}


@pytest.mark.parametrize("value", [None, "much", float("nan"), float("inf"), [1], 10**400])
def test_a_column_without_a_number_is_a_bad_row(table: Any, value: Any) -> None:
    assert read_pairs(table({**STANDARD, "gap": value}), ["gap"]).bad == {1: "no number in 'gap'"}


def test_a_row_without_the_scores_that_the_others_have_is_bad(table: Any) -> None:
    scored = {**STANDARD, "score_chosen": 2, "score_rejected": 1}
    assert read_pairs(table(scored, {**STANDARD, "prompt": "q"})).bad == {
        2: "no score_chosen and no score_rejected and no score-gap, which other rows have"
    }


def test_the_same_question_with_other_answers_is_another_pair(table: Any) -> None:
    found = read_pairs(table(STANDARD, {**STANDARD, "chosen": "c"}, STANDARD, "{"))
    assert (len(found.pairs), found.reasons) == (2, {"the same pair as an earlier row": 1, "not JSON": 1})


def test_pairs_whose_prompt_is_held_out_become_bad_rows(table: Any) -> None:
    found = read_pairs(table(STANDARD, "{", {**STANDARD, "prompt": "q"}))
    apart: PairFile = found.without({content_id("p")}, "its prompt is held out")
    assert ([pair.prompt for pair in apart.pairs], apart.rows) == (["q"], (3,))
    assert apart.bad == {1: "its prompt is held out", 2: "not JSON"}


def test_the_first_pair_is_read_without_the_rows_behind_it(table: Any) -> None:
    pair = first_pair(table("{", {**STANDARD, "gap": 1}, INSTRUCTION), ["gap"], "auto")
    assert pair is not None
    assert (pair.prompt, pair.columns) == ("p", {"gap": 1.0})
    assert first_pair(table("{"), (), "auto") is None
