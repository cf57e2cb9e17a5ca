"""Judgments made elsewhere: alpaca-eval's annotations files as judged items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api import Judge, JudgeReply, JudgeRequest, Question
from prefbench.data.json_files import described, read_objects, stem
from prefbench.errors import PrefbenchError
from prefbench.evaluate.alpaca_eval_files import Key, question_key, set_row
from prefbench.evaluate.annotators import load_annotator
from prefbench.evaluate.pairwise import Comparison, preferences

RAW = ("preference_raw_completion", "raw_completion")
"""Names under which alpaca-eval's versions keep a judge's reply."""
EXPECTED = (
    "annotations have `preference` (1 to 2, 0 or 1.5 for a draw, null) or the judge's `raw_completion`, with `output_1` of the baseline and "
    "`output_2` of the model"
)


@dataclass(frozen=True)
class Annotations:
    """The judgments of one model's answers: items as the harness stores them, and what each calls its question."""

    model: str
    baseline: str
    annotator: str
    items: tuple[Mapping[str, Any], ...]
    keys: tuple[Key, ...]
    rows: tuple[int | None, ...]
    """The row of the set that each says it is about."""

    def places(self, order: Sequence[str] | None) -> dict[Key, str]:
        """Item ids by instruction, and by row of the set: its row in ``order`` (instructions), else the row that it names, else its own."""
        rows = None if order is None else {text: row for row, text in enumerate(order)}
        places: dict[Key, str] = {}
        for own, (key, named, item) in enumerate(zip(self.keys, self.rows, self.items, strict=True)):
            places[key] = item["id"]
            row = (own if named is None else named) if rows is None else rows.get(str(key))
            if isinstance(key, str) and row is not None:
                places[row] = item["id"]
        return places


@dataclass
class StoredReplies(Judge):
    """Gives the replies that another judge gave, by question id."""

    name: ClassVar[str] = "stored replies"
    by_id: Mapping[str, JudgeReply]

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """The replies as they were stored."""
        return [self.by_id[request.question.id] for request in requests]


def read_annotations(path: Path, annotator: str = "") -> list[Annotations]:
    """The annotations of a JSON list or JSONL, gzipped or not, a part per model.

    Rows with a ``preference`` are taken at their word; where no row has one, the stored replies are read again, with the parser of ``annotator`` or
    else of the one that the rows name. Raises PrefbenchError for another shape.
    """
    rows = read_objects(path)
    if "output" in rows[0] and "output_2" not in rows[0]:
        raise PrefbenchError(f"{path}: holds model outputs and no judgments", "give --track TRACK to have them judged as that track says")
    stored = any("preference" in row for row in rows)
    if not stored and not any(name in row for name in RAW for row in rows):
        raise PrefbenchError(f"{path}: holds no annotations, but {described(rows)}", EXPECTED)
    parts: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, row in enumerate(rows):
        parts.setdefault(str(row.get("generator_2") or ""), []).append((number, row))
    return [_annotations(path, model, [row for _, row in part], annotator, stored) for model, part in parts.items()]


def _annotations(path: Path, model: str, rows: Sequence[Mapping[str, Any]], annotator: str, stored: bool) -> Annotations:
    judges = {str(row.get("annotator") or "") for row in rows}
    name = annotator or (judges.pop() if len(judges) == 1 else "")
    judged = [_share(path, row.get("preference")) for row in rows] if stored else _parsed(path, rows, name)
    items = [
        {"id": str(number), "preference": preference, "length": _length(row, 2), "baseline_length": _length(row, 1)}
        for number, (row, preference) in enumerate(zip(rows, judged, strict=True))
    ]
    keys = [question_key(row) for row in rows]
    named = tuple(number if key is None else key for number, key in enumerate(keys))
    baseline = str(rows[0].get("generator_1") or "")
    return Annotations(model or stem(path), baseline, name, tuple(items), named, tuple(map(set_row, rows)))


def _share(path: Path, preference: Any) -> float | None:
    """A stored preference in [0, 1], None for null. Raises PrefbenchError for what is neither."""
    if preference is None or preference != preference:
        return None
    if isinstance(preference, bool) or not isinstance(preference, int | float) or not (preference == 0 or 1 <= preference <= 2):
        raise PrefbenchError(f"{path}: a preference is {preference!r}", EXPECTED)
    return 0.5 if preference == 0 else preference - 1.0


def _parsed(path: Path, rows: Sequence[Mapping[str, Any]], annotator: str) -> list[float | None]:
    """Preferences from the judge's stored replies, in the order that alpaca-eval drew for each instruction."""
    if not annotator:
        raise PrefbenchError(
            f"{path}: holds raw completions, and does not say whose", "give --annotator NAME, by which they are to be read"
        )
    texts = ("instruction", "output_1", "output_2")
    if not all(isinstance(row.get(name), str) for row in rows for name in texts):
        raise PrefbenchError(f"{path}: raw completions are read with {', '.join(texts)}, and a row lacks one", EXPECTED)
    replies = {str(number): _reply(next((row[name] for name in RAW if name in row), None)) for number, row in enumerate(rows)}
    asked = [Comparison(Question(str(number), (row["instruction"],)), row["output_1"], row["output_2"]) for number, row in enumerate(rows)]
    return preferences(asked, StoredReplies(replies), load_annotator(annotator))


def _reply(raw: Any) -> JudgeReply:
    """A stored reply: a text, or the choice that an OpenAI-compatible server gave."""
    if not isinstance(raw, dict):
        return JudgeReply(raw if isinstance(raw, str) else "")
    text = raw.get("text")
    return JudgeReply(text if isinstance(text, str) else "", _first_log_probs(raw), raw={"choices": [raw]})


def _first_log_probs(choice: Mapping[str, Any]) -> dict[str, float] | None:
    try:
        return {entry["token"]: entry["logprob"] for entry in choice["logprobs"]["content"][0]["top_logprobs"]}
    except (KeyError, IndexError, TypeError):
        return None


def _length(row: Mapping[str, Any], side: int) -> int | None:
    """Characters of one side's output; None where the row holds neither the text nor its length."""
    text = row.get(f"output_{side}")
    length = len(text) if isinstance(text, str) else row.get(f"len_{side}")
    return length if isinstance(length, int) else None
