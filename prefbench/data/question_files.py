"""Evaluation questions from files in the two harnesses' own formats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api import Question, content_id
from prefbench.data.json_files import read_objects
from prefbench.errors import PrefbenchError


def alpaca_eval_questions(path: Path) -> list[Question]:
    """AlpacaEval's evaluation set: a JSON list, or JSONL, of ``instruction`` and optional ``dataset``; the id depends on the instruction alone."""
    rows = _rows(path)
    _require(path, rows, {"instruction": str})
    questions = [Question(content_id(row["instruction"]), (row["instruction"],), row.get("dataset") or "") for row in rows]
    return _distinct(path, questions)


def mt_bench_questions(path: Path, references: Path | None) -> list[Question]:
    """MT-Bench's ``question.jsonl``, with the answers of a ``reference_answer`` file where one is given, else each row's own ``reference``.

    The ids are MT-Bench's. Which categories need references is the harness's business.
    """
    rows = _rows(path)
    _require(path, rows, {"question_id": int | str, "category": str, "turns": list})
    for number, row in enumerate(rows, start=1):
        for name in ("turns", "reference"):
            _texts(path, number, name, row.get(name) or [])
    answers = _reference_answers(references) if references else {str(row["question_id"]): row.get("reference") or () for row in rows}
    questions = []
    for row in rows:
        id_ = str(row["question_id"])
        questions.append(Question(id_, tuple(row["turns"]), row["category"], tuple(answers.get(id_, ()))))
    return _distinct(path, questions)


def _reference_answers(path: Path) -> dict[str, Sequence[str]]:
    rows = _rows(path)
    _require(path, rows, {"question_id": int | str, "choices": list})
    first = [row["choices"][0] for row in rows]
    turns = [choice.get("turns") if isinstance(choice, dict) else None for choice in first]
    answers = [_texts(path, number, "choices[0].turns", value) for number, value in enumerate(turns, start=1)]
    return {str(row["question_id"]): answer for row, answer in zip(rows, answers, strict=True)}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The file's objects. Raises PrefbenchError for half a character, which JSON can hold and no id can be made of."""
    rows = read_objects(path, "questions")
    try:
        json.dumps(rows, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise PrefbenchError(f"{path}: not JSON: {error}", "give a JSON list, or one JSON object per line") from None
    return rows


def _require(path: Path, rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Any]) -> None:
    for number, row in enumerate(rows, start=1):
        wrong = [name for name, kind in kinds.items() if not isinstance(row.get(name), kind) or row[name] in ("", [])]  # 0 is an id
        if wrong:
            hint = f"every row needs {', '.join(kinds)}, as in the harness's own file"
            raise PrefbenchError(f"{path}: question {number} has no usable {' and no usable '.join(wrong)}", hint)


def _texts(path: Path, number: int, name: str, value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    raise PrefbenchError(f"{path}: question {number}: {name} is no list of texts", "a text per turn, as in the harness's own file")


def _distinct(path: Path, questions: list[Question]) -> list[Question]:
    """The questions; PrefbenchError when two share an id, because judged items are stored by it."""
    seen: set[str] = set()
    for number, question in enumerate(questions, start=1):
        if question.id in seen:
            raise PrefbenchError(f"{path}: question {number} repeats an earlier one (id {question.id})", "leave the second one out")
        seen.add(question.id)
    return questions
