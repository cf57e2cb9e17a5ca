"""Judgments that were made elsewhere: FastChat's ``model_judgment`` files, single and pairwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefbench.api import Calibration, Items, Judge, Source
from prefbench.data.json_files import read_objects
from prefbench.errors import PrefbenchError
from prefbench.evaluate.mt_bench.files import PAIRWISE, SINGLE, answers_to, model_answers
from prefbench.evaluate.mt_bench.harness import MtBench
from prefbench.evaluate.mt_bench.reading import LOSS, TIE, WIN, read_letter, read_rating
from prefbench.evaluate.questions import questions_of

NO_RATING = -1
"""FastChat's score of a reply without a rating."""

ANSWERS = "answers"
_KINDS = {"score": SINGLE, "g1_winner": PAIRWISE, "choices": ANSWERS}
"""What a file holds, by a key of its rows."""

_AS_MODEL_1 = {"model_1": WIN, "model_2": LOSS, "tie": TIE, "error": None}
_AS_MODEL_2 = {"model_1": LOSS, "model_2": WIN, "tie": TIE, "error": None}

Row = Mapping[str, Any]
Category = Callable[[str], str]


@dataclass(frozen=True)
class Judged:
    """A model's turns as one judge judged them: items like the harness's, by single grading or beside others.

    ``doubtful`` counts turns on which the judge's words say several things, or give a rating off the scale: FastChat's files hold the first of
    them, and the harness none. ``repeated`` counts rows that a later one of the same model, judge, question and turn replaced.
    """

    grading: str
    model: str
    judge: str
    items: Items
    against: Sequence[str] = ()
    doubtful: int = 0
    repeated: int = 0


def kind_of(paths: Sequence[Path]) -> str:
    """``single``, ``pairwise`` or ``answers``, by the first row of each file. Raises PrefbenchError for files of several kinds, or of none."""
    kinds = {path: next((kind for key, kind in _KINDS.items() if key in read_objects(path)[0]), None) for path in paths}
    for path, kind in kinds.items():
        if kind is None:
            hint = "give FastChat's model_judgment files (score, or g1_winner and g2_winner), or model_answer files with --track"
            raise PrefbenchError(f"{path}: neither judgments nor answers of MT-Bench", hint)
    if len(set(kinds.values())) > 1:
        raise PrefbenchError(f"the files are of several kinds: {', '.join(map(str, kinds.values()))}", "score one kind at a time")
    return str(kinds[paths[0]])


def read_judgments(paths: Sequence[Path], category: Category, baseline: str = "") -> list[Judged]:
    """Who was judged by whom, in order of first appearance; a row that is repeated counts once, as its last version has it.

    With a ``baseline`` only what was compared with it counts. Raises PrefbenchError for a row that lacks a field or has another value than
    FastChat writes, and for a baseline that nobody was compared with.
    """
    read = {SINGLE: _read_single, PAIRWISE: _read_pair}[kind_of(paths)]
    found: dict[tuple[str, str], _Collected] = {}
    for entry in (entry for path in paths for entry in _entries(path, read)):
        if not baseline or entry.opponent == baseline:
            found.setdefault((entry.model, entry.judge), _Collected()).add(entry)
    if not found:
        raise PrefbenchError(f"nobody was compared with {baseline!r}", "name a model as the pairwise judgments do")
    return [collected.judged(model, judge, category) for (model, judge), collected in found.items()]


def judged_answers(paths: Sequence[Path], harness: MtBench, judge: Judge, source: Source, calibration: Calibration) -> list[Judged]:
    """The answers of FastChat's ``model_answer`` files, judged as the harness judges its own.

    Raises PrefbenchError for a model without a whole answer to each question.
    """
    questions = questions_of(source, harness.name)
    models: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in paths:
        for model, answers in model_answers(path).items():
            models.setdefault(model, {}).update(answers)
    complete = {model: answers_to(questions, answers, model) for model, answers in models.items()}
    found = []
    for model, answers in complete.items():
        rows = [{"id": id_, "answers": list(turns)} for id_, turns in answers.items()]
        items = harness.judge(rows, judge, source, calibration)
        doubtful = sum(item.get("ambiguous", False) for item in items)
        found.append(Judged(harness.grading, model, str(judge.options().get("model", judge.name)), items, doubtful=doubtful))
    return found


@dataclass(frozen=True)
class _Entry:
    """One row as one of its models sees it; ``verdict`` is the part of the item that the row decides."""

    grading: str
    model: str
    judge: str
    question: str
    turn: int
    verdict: Mapping[str, Any]
    doubtful: bool
    opponent: str = ""


@dataclass
class _Collected:
    """The entries of a model and a judge, the last of each question, turn and opponent."""

    entries: dict[tuple[str, int, str], _Entry] = field(default_factory=dict)
    rows: int = 0

    def add(self, entry: _Entry) -> None:
        self.entries[entry.question, entry.turn, entry.opponent] = entry
        self.rows += 1

    def judged(self, model: str, judge: str, category: Category) -> Judged:
        entries = list(self.entries.values())
        items = [{"question": e.question, "turn": e.turn, "category": category(e.question), **e.verdict} for e in entries]
        against = tuple(dict.fromkeys(e.opponent for e in entries if e.opponent))
        doubtful = sum(entry.doubtful for entry in entries)
        return Judged(entries[0].grading, model, judge, items, against, doubtful, self.rows - len(entries))


# ---------------------------------------------------------------- rows


def _entries(path: Path, read: Callable[[Row], Iterable[_Entry]]) -> Iterator[_Entry]:
    for number, row in enumerate(read_objects(path), start=1):
        try:
            yield from list(read(row))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            message = f"{path}: row {number} is no judgment: {type(error).__name__}: {error}"
            raise PrefbenchError(message, "give FastChat's model_judgment files; -1 or error stands where there is no verdict") from None


def _read_single(row: Row) -> Iterable[_Entry]:
    score = row["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ValueError(f"score is {score!r}")
    rated = score != NO_RATING
    doubtful = rated and read_rating(row["judgment"]).value is None if "judgment" in row else False
    yield _Entry(SINGLE, row["model"], _judge(row), str(row["question_id"]), _turn(row), {"score": score if rated else None}, doubtful)


def _read_pair(row: Row) -> Iterable[_Entry]:
    """Both models' sides. A pair that was made of two single gradings has no letters to doubt."""
    winners = (row["g1_winner"], row["g2_winner"])
    texts = [] if "m1_score" in row else [row[key] for key in ("g1_judgment", "g2_judgment") if key in row]
    doubtful = "error" not in winners and any(read_letter(text).value is None for text in texts)
    for own, other, meaning in (("model_1", "model_2", _AS_MODEL_1), ("model_2", "model_1", _AS_MODEL_2)):
        verdict = {"verdicts": [meaning[winner] for winner in winners]}
        yield _Entry(PAIRWISE, row[own], _judge(row), str(row["question_id"]), _turn(row), verdict, doubtful, row[other])


def _judge(row: Row) -> str:
    """The judge's name, which FastChat writes beside that of its prompt."""
    judge = row["judge"]
    return judge if isinstance(judge, str) else str(judge[0])


def _turn(row: Row) -> int:
    """FastChat's first files have no turn: they judged the first one."""
    turn = row.get("turn", 1)
    if turn not in (1, 2):
        raise ValueError(f"turn is {turn!r}")
    return int(turn)
