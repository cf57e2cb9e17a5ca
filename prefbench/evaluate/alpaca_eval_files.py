"""AlpacaEval's own files: a model's outputs, the difficulties of the instructions, and the rows of the gamed baselines."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.api import Question
from prefbench.data.json_files import described, read_objects, read_text
from prefbench.errors import PrefbenchError, shortened

Key = int | str
"""What a file names a question by: its row in AlpacaEval's set, counted from 0, or its instruction."""
GamedRows = dict[str, tuple[float, float | None]]
"""By question id: the baseline's length minus the answer's (characters, in any unit), and the answer's preference over the baseline."""

POSITIONS = ("idx", "index")
"""Names of a field with the row in the set."""


@dataclass(frozen=True)
class Outputs:
    """A file of a model's outputs: the answers, and for each the question that it answers."""

    path: Path
    keys: tuple[Key, ...]
    texts: tuple[str, ...]

    @property
    def instructions(self) -> tuple[str, ...]:
        """The instructions in the file's order; none where it names questions by their row."""
        return tuple(key for key in self.keys if isinstance(key, str))

    def by_id(self, questions: Sequence[Question]) -> dict[str, str]:
        """The answers by question id; a question that the file does not answer is left out.

        Raises PrefbenchError where rows are named that the set does not have: the questions are then a part of it, and the answers other ones.
        """
        if not self.instructions and (last := max(key for key in self.keys if isinstance(key, int))) >= len(questions):
            raise PrefbenchError(
                f"{self.path}: names questions by their row, up to {last}, and there are {len(questions)} questions",
                "ask the whole set, or give outputs whose rows have an `instruction`",
            )
        places = self.places(questions)
        return {places[key]: text for key, text in zip(self.keys, self.texts, strict=True) if key in places}

    def places(self, questions: Sequence[Question]) -> dict[Key, str]:
        """Question ids by instruction, and by row of the set: the rows are this file's, or where it has no instructions the questions'."""
        by_instruction: dict[Key, str] = {question.turns[0]: question.id for question in questions}
        order = self.instructions or tuple(question.turns[0] for question in questions)
        return by_instruction | {row: by_instruction[text] for row, text in enumerate(order) if text in by_instruction}


def read_outputs(path: Path) -> Outputs:
    """alpaca-eval's ``model_outputs``: a JSON list or JSONL, gzipped or not, of ``instruction`` (or the row, ``idx``) and ``output``.

    Raises PrefbenchError for another shape, and for two answers to one question.
    """
    rows = read_objects(path)
    keys = tuple(question_key(row) for row in rows)
    if None in keys or not all(isinstance(row.get("output"), str | None) and "output" in row for row in rows):
        raise PrefbenchError(f"{path}: holds no model outputs, but {described(rows)}", "every row needs `instruction` and `output`")
    if len(set(keys)) < len(keys):
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise PrefbenchError(f"{path}: answers {shortened(twice)} twice", "leave one of the two rows out")
    return Outputs(path, tuple(key for key in keys if key is not None), tuple(row["output"] or "" for row in rows))


def question_key(row: Mapping[str, Any]) -> Key | None:
    """What names the question of a row: its instruction, else its row in the set; None where neither does."""
    if isinstance(row.get("instruction"), str):
        return str(row["instruction"])
    return set_row(row)


def set_row(row: Mapping[str, Any]) -> int | None:
    """The row of the set that a row says it is about."""
    return next((row[name] for name in POSITIONS if isinstance(row.get(name), int)), None)


# ---------------------------------------------------------------- calibration tables


@dataclass(frozen=True)
class Tables:
    """Difficulties (logits), and the gamed baselines' rows by model; both by what the files name a question by."""

    difficulty: Mapping[Key, float]
    gamed: Mapping[str, Mapping[Key, tuple[float, float | None]]]

    @property
    def size(self) -> int:
        """How many questions the difficulties are of."""
        return len(self.difficulty)

    def numbers(self, places: Mapping[Key, str]) -> dict[str, Any]:
        """A calibration's ``difficulty`` and ``gamed``, by question id."""
        gamed = {model: {places[key]: row for key, row in rows.items() if key in places} for model, rows in self.gamed.items()}
        return {"difficulty": {places[key]: value for key, value in self.difficulty.items() if key in places}, "gamed": gamed}

    def refuse_other_set(self, questions: int, whose: str) -> None:
        """Raises PrefbenchError where rows are named by number and the set has another number of them: they would be other questions' rows."""
        numbered = [key for key in self.difficulty if isinstance(key, int)]
        if numbered and len(numbered) != questions:
            raise PrefbenchError(
                f"the difficulties are of {len(numbered)} instructions by row, and {whose} has {questions}",
                "give the reference outputs of the same set in its order, or a table with a column `instruction`",
            )


def read_tables(gamed: Path, difficulty: Path | None) -> Tables:
    """alpaca-eval's ``df_gamed.csv`` and ``instruction_difficulty.csv``; without the second, the first's own ``instruction_difficulty``.

    A row names its question by a column ``instruction``, or by its row of the set (``index``, or the first column where that has no name).
    Preferences are on a scale from 0 to 1, or on that of annotations from 1 to 2. Raises PrefbenchError for another shape.
    """
    rows = _table(gamed, ("model", "std_delta_len"))
    by_model = _gamed(gamed, rows)
    return Tables(_difficulties(difficulty or gamed, rows if difficulty is None else _table(difficulty, ())), by_model)


def _difficulties(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[Key, float]:
    """Of two columns the second is the difficulty, whatever its name."""
    name = list(rows[0])[1] if len(rows[0]) == 2 else "instruction_difficulty"
    if name not in rows[0]:
        raise PrefbenchError(f"{path}: no column {name}", "give alpaca-eval's instruction_difficulty.csv, or a table like it")
    values = {_row_key(path, row): _number(path, row, name) for row in rows}
    return {key: value for key, value in values.items() if not math.isnan(value)}


def _gamed(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, dict[Key, tuple[float, float | None]]]:
    """The rows of each gamed baseline; one without a length is left out."""
    name = next((name for name in ("preference", "preference_imputed") if name in rows[0]), None)
    if name is None:
        raise PrefbenchError(f"{path}: no column preference", "give alpaca-eval's df_gamed.csv, or a table like it")
    preferences = [_number(path, row, name) for row in rows]
    offset = 1.0 if any(value > 1.0 for value in preferences) else 0.0
    by_model: dict[str, dict[Key, tuple[float, float | None]]] = {}
    for row, preference in zip(rows, preferences, strict=True):
        length = _number(path, row, "std_delta_len")
        if not math.isnan(length):
            judged = None if math.isnan(preference) else preference - offset
            by_model.setdefault(row["model"], {})[_row_key(path, row)] = (length, judged)
    return by_model


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing or not rows:
        raise PrefbenchError(f"{path}: no table with {', '.join(missing) or 'rows'}", "give alpaca-eval's own CSV, or one like it")
    return rows


def _row_key(path: Path, row: Mapping[str, str]) -> Key:
    if row.get("instruction"):
        return row["instruction"]
    text = row.get("index", next(iter(row.values())))
    try:
        return int(float(text))
    except ValueError:
        raise PrefbenchError(
            f"{path}: {shortened(text)} is no row number", "a column `index` counts from 0, or `instruction` names it"
        ) from None


def _number(path: Path, row: Mapping[str, str], column: str) -> float:
    """A number, NaN where the cell is empty."""
    try:
        return float(row[column] or "nan")
    except (TypeError, ValueError):
        raise PrefbenchError(f"{path}: {column} is {shortened(row[column])}", "give a number") from None
