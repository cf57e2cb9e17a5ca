"""A row of numbers from judged comparisons: win rate, length-controlled win rate, their intervals and counts, in alpaca-eval's units and names."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from prefbench.api import Calibration, Items, Judge, Policy, Source
from prefbench.data.json_files import read_objects, stem
from prefbench.errors import PrefbenchError
from prefbench.evaluate import length_control
from prefbench.evaluate.alpaca_eval_annotations import Annotations
from prefbench.evaluate.alpaca_eval_files import Outputs, Tables, read_outputs
from prefbench.evaluate.head_to_head import HeadToHead
from prefbench.evaluate.questions import questions_of
from prefbench.evaluate.stand_ins import quiet_root, stand_ins
from prefbench.report.stats import Estimate, crossed, fitted, question_draws

Row = dict[str, object]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SetFiles:
    """What the files of a question set tell about it: the tables of the length control, and the instructions in their order."""

    tables: Tables | None = None
    order: tuple[str, ...] | None = None


def score_annotations(annotations: Annotations, known: SetFiles) -> Row:
    """The numbers of a model whose answers were judged elsewhere.

    ``avg_length`` is over the whole set where its files say how many questions it has: a question that was not answered counts 0.
    """
    tables, items = known.tables, annotations.items
    size = max(len(items), len(known.order or ()), tables.size if tables else 0)
    names = {"model": annotations.model, "baseline": annotations.baseline, "annotator": annotations.annotator}
    if tables is None:
        reason = "no tables: give --gamed FILE, and --difficulty FILE where that holds no difficulties"
        return {**names, **scored(items, Calibration(), size), "why_no_length_control": reason}
    _tell_what_is_taken_for_granted(annotations, known, size)
    if known.order is not None:
        tables.refuse_other_set(len(known.order), "--references")
    return {**names, **scored(items, Calibration(numbers=tables.numbers(annotations.places(known.order))), size)}


def _tell_what_is_taken_for_granted(annotations: Annotations, known: SetFiles, size: int) -> None:
    """Warn of rows that only their place gives a difficulty, which may be another question's, and of questions that have no row."""
    if known.order is None and None in annotations.rows:
        logger.warning(
            "%s: rows are matched by position with those of the tables, as alpaca-eval does; --references matches them by instruction",
            annotations.model,
        )
    if len(annotations.items) < size:
        logger.warning("%s: %d judgments, and the set has %d questions", annotations.model, len(annotations.items), size)


def score_outputs(path: Path, harness: HeadToHead, judge: Judge, source: Source, calibration: Calibration | None = None) -> Row:
    """The numbers of a file of model outputs, judged as a track's harness judges a policy's answers.

    ``calibration`` is only needed where the source has no reference outputs. Raises PrefbenchError where the file answers none of the questions.
    """
    questions, outputs = questions_of(source, harness.name), read_outputs(path)
    answers = outputs.by_id(questions)
    if not answers:
        hint = "the instructions have to be the same letter by letter"
        raise PrefbenchError(f"{path}: answers none of the {len(questions)} questions of the track's {harness.name}", hint)
    # Published reference outputs are read from the source: no model is needed for them.
    made = harness.calibrate(cast(Policy, None), judge, source) if calibration is None else calibration
    rows = [{"id": q.id, "answer": answers[q.id], "length": len(answers[q.id])} for q in questions if q.id in answers]
    items = harness.judge(rows, judge, source, made)
    names = {"model": _generator(outputs), "annotator": harness.annotator}
    return {**names, **scored(items, made, len(questions)), "n_unanswered": len(questions) - len(rows)}


def _generator(outputs: Outputs) -> str:
    """The model that the rows name, else the file's name."""
    names = {str(row["generator"]) for row in read_objects(outputs.path) if row.get("generator")}
    return ", ".join(sorted(names)) or stem(outputs.path)


def scored(items: Items, calibration: Calibration, questions: int) -> Row:
    """Win rates in percent with their 95 % intervals over questions, and counts; ``questions`` is how many the set has."""
    lengths = [item["length"] for item in items]
    flips = [item["flip"] for item in items if item.get("flip") is not None]
    return {
        **_win_rate(items),
        **_length_control(items, calibration, questions),
        "avg_length": None if None in lengths else int(sum(lengths) / questions),
        "flip_rate": 100 * float(np.mean(flips)) if flips else None,
    }


def _win_rate(items: Items) -> Row:
    """alpaca-eval's own arithmetic: nulls are dropped, 0.5 is a draw."""
    given = [item["preference"] for item in items if item["preference"] is not None]
    counts: Row = {"n_total": len(given), "n_null": len(items) - len(given)}
    if not given:
        return {"win_rate": None, **counts}
    with stand_ins():
        from alpaca_eval.metrics import get_winrate
    with quiet_root():
        found = get_winrate([{"preference": preference + 1.0} for preference in given])
    interval = _interval("win_rate", crossed(np.array([given])))
    numbers = {name: float(found[name]) for name in ("win_rate", "standard_error", "discrete_win_rate")}
    votes = {name: int(found[name]) for name in ("n_wins", "n_wins_base", "n_draws")}
    return {
        "win_rate": numbers["win_rate"],
        **interval,
        **{k: _finite(v) for k, v in numbers.items() if k != "win_rate"},
        **counts,
        **votes,
    }


def _length_control(items: Items, calibration: Calibration, questions: int) -> Row:
    """The length-controlled win rate, or why there is none."""
    measured = all(item[side] is not None for item in items for side in ("length", "baseline_length"))
    reason = length_control.refusal(items, calibration, questions) if measured else "the file holds neither the outputs nor their lengths"
    if reason:
        return {"length_controlled_winrate": None, "why_no_length_control": reason}
    fit = length_control.length_controlled(items, calibration)
    if fit.is_empty:
        return {"length_controlled_winrate": None, "why_no_length_control": length_control.NOTHING_LEFT}
    replicates = fit.resample(question_draws(len(items)))
    estimate = fitted(np.array([fit.value]), replicates[None, :], len(items))
    return {"length_controlled_winrate": 100 * fit.value, **_interval("length_controlled", estimate), "why_no_length_control": None}


def _interval(name: str, estimate: Estimate) -> Row:
    """Percent, kept within 0 and 100."""
    low, high = (100 * min(max(bound, 0.0), 1.0) if math.isfinite(bound) else None for bound in (estimate.low, estimate.high))
    return {f"{name}_low": low, f"{name}_high": high}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
