"""Rows of MT-Bench scores: FastChat's averages and win rates, by turn and category, with intervals clustered by question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prefbench.api import Items
from prefbench.evaluate.mt_bench.averages import averages, by_question, flip_of, score_of, win_of
from prefbench.evaluate.mt_bench.files import SINGLE
from prefbench.evaluate.mt_bench.judgments import Judged
from prefbench.report.layout import CATEGORIES, METRICS
from prefbench.report.stats import crossed

FIRST_QUESTION, QUESTIONS_PER_CATEGORY = 81, 10
"""MT-Bench numbers its 80 questions from 81, ten of a category after the other."""


def published_category(id_: str) -> str:
    """The category of a question by its number in MT-Bench's own set; nothing for another id."""
    place = (int(id_) - FIRST_QUESTION) // QUESTIONS_PER_CATEGORY if id_.isdecimal() else -1
    return CATEGORIES[place] if 0 <= place < len(CATEGORIES) else ""


def score_rows(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """A row per model and judge, the best first; what has no verdict comes last."""
    rows = [_single_row(found) if found.grading == SINGLE else _pair_row(found) for found in judged]
    key = "mt_bench" if rows and "mt_bench" in rows[0] else "win_rate_adjusted"
    return sorted(rows, key=lambda row: -np.inf if row[key] is None else row[key], reverse=True)


def _single_row(found: Judged) -> dict[str, Any]:
    """FastChat's table, and what it does not show. Scores are 1 to 10."""
    interval = _interval("mt_bench", by_question(found.items, score_of))
    head = {"model": found.model, "judge": found.judge, "mt_bench": interval.pop("value"), **interval}
    return {**head, **_parts(found.items, score_of), **_counts(found, score_of)}


def _pair_row(found: Judged) -> dict[str, Any]:
    """Wins, ties and losses are numbers of turns, rates are shares in [0, 1]; orders that disagree are a tie."""
    outcomes = [outcome for outcome in map(win_of, found.items) if outcome is not None]
    tally = Counter(outcomes)
    win, tie, loss = tally[1.0], tally[0.5], tally[0.0]
    flips = [flip for flip in map(flip_of, found.items) if flip is not None]
    interval = _interval("mt_bench_win_rate", by_question(found.items, win_of))
    return {
        "model": found.model,
        "against": list(found.against),
        "judge": found.judge,
        "win": win,
        "tie": tie,
        "loss": loss,
        "win_rate": win / len(outcomes) if outcomes else None,
        "win_rate_adjusted": interval.pop("value"),
        **interval,
        "flip_rate": sum(flips) / len(flips) if flips else None,
        **_parts(found.items, win_of),
        **_counts(found, win_of),
    }


def _interval(metric: str, values: Mapping[str, float]) -> dict[str, float | None]:
    """The mean, and its standard error and 95 % interval over questions; nothing where there is nothing to tell them by."""
    if not values:
        return dict.fromkeys(("value", "low", "high", "standard_error"))
    estimate = next(known for known in METRICS if known.name == metric).clip(crossed(np.array([list(values.values())])))
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "standard_error": estimate.se}
    return {name: None if np.isnan(number) else number for name, number in numbers.items()}


def _parts(items: Items, value: Callable[[Mapping[str, Any]], float | None]) -> dict[str, float]:
    """The average of each turn and of each category, in MT-Bench's order."""
    means = {metric: float(np.mean(list(values.values()))) for metric, values in averages(items, "", value).items()}
    turns = {f"turn_{turn}": means[f"_turn_{turn}"] for turn in (1, 2) if f"_turn_{turn}" in means}
    categories = {metric.strip("[]"): mean for metric, mean in means.items() if metric.startswith("[")}
    ordered = [name for name in CATEGORIES if name in categories] + [name for name in categories if name not in CATEGORIES]
    return turns | {name: categories[name] for name in ordered}


def _counts(found: Judged, value: Callable[[Mapping[str, Any]], float | None]) -> dict[str, int]:
    """``n`` turns with a verdict, and those that are missing or not as they should be."""
    rated = sum(value(item) is not None for item in found.items)
    return {"n": rated, "unparsed": len(found.items) - rated, "doubtful": found.doubtful, "repeated": found.repeated}
