"""MT-Bench's averages: over all rated turns, over each turn and over each category, as values of questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefbench.api import Items
from prefbench.evaluate.mt_bench.reading import flipped, preference

Value = Callable[[Mapping[str, Any]], float | None]


def score_of(item: Mapping[str, Any]) -> float | None:
    """The rating of a graded turn."""
    score: float | None = item["score"]
    return score


def win_of(item: Mapping[str, Any]) -> float | None:
    """The outcome of a compared turn, in [0, 1]."""
    return preference(item["verdicts"])


def flip_of(item: Mapping[str, Any]) -> float | None:
    """Whether the order decided a compared turn."""
    return flipped(item["verdicts"])


def averages(items: Items, name: str, value: Value) -> dict[str, dict[str, float]]:
    """``name``, ``name_turn_1``, ``name_turn_2`` and ``name[category]``, each by question; those without a value are left out."""
    subsets = {name: items}
    for turn in (1, 2):
        subsets[f"{name}_turn_{turn}"] = [item for item in items if item["turn"] == turn]
    for category in dict.fromkeys(item["category"] for item in items if item["category"]):
        subsets[f"{name}[{category}]"] = [item for item in items if item["category"] == category]
    found = {metric: by_question(subset, value) for metric, subset in subsets.items()}
    return {metric: values for metric, values in found.items() if values}


def by_question(items: Items, value: Value = score_of) -> dict[str, float]:
    """A value per question, such that their mean is MT-Bench's average: the mean over all rated turns, not over questions.

    With every turn rated it is the mean of the question's values. Where some have none the average is a ratio of sums, and a question
    gets the ratio's linearisation, R + (Q / N) (sum of its values - R * its rated turns), for Q questions, N rated turns and average R:
    the mean is still R, and the variance between questions is that of the ratio, with a question's two turns kept together.
    """
    rated: dict[str, list[float]] = {}
    for item in items:
        own = value(item)
        if own is not None:
            rated.setdefault(item["question"], []).append(own)
    turns = sum(map(len, rated.values()))
    average = sum(map(sum, rated.values())) / max(turns, 1)
    return {id_: average + len(rated) / turns * (sum(own) - average * len(own)) for id_, own in rated.items()}
