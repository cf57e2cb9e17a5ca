"""Metrics of one cell, from its stored items alone: the same function makes the record and checks the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.api import Calibration, Fitted, Harness
from prefbench.errors import PrefbenchError
from prefbench.evaluate import length_control


@dataclass(frozen=True)
class FittedScore:
    """A metric that is no mean over questions, with the ids of its harness's items in the order that ``Fitted.resample`` counts them."""

    ids: tuple[str, ...]
    fit: Fitted


@dataclass(frozen=True)
class Scores:
    """A cell's metrics before they are summed up: values by question id, fits, each harness's counts, and why a metric was refused."""

    means: Mapping[str, Mapping[str, float]]
    fits: Mapping[str, FittedScore]
    counts: Mapping[str, Mapping[str, int]]
    refused: Mapping[str, str]

    def summary(self) -> dict[str, dict[str, Any]]:
        """``metrics`` (value and n, the number of questions, by name) and ``counts`` (by harness), JSON-able."""
        means = {name: {"value": float(np.mean(list(values.values()))), "n": len(values)} for name, values in self.means.items()}
        fits = {name: {"value": float(score.fit.value), "n": len(score.ids)} for name, score in self.fits.items()}
        return {"metrics": means | fits, "counts": {name: dict(counts) for name, counts in self.counts.items()}}


def items_of(items: Sequence[Mapping[str, Any]], harness: str) -> list[Mapping[str, Any]]:
    """The items of one harness, in their order."""
    return [item for item in items if item["harness"] == harness]


def at(metric: str, label: str) -> str:
    """A metric's name under the label of its harness: ``win_rate@greedy``; its own where there is no label."""
    return f"{metric}@{label}" if label else metric


def measure(harnesses: Mapping[str, Harness], items: Sequence[Mapping[str, Any]], calibrations: Mapping[str, Calibration]) -> Scores:
    """The scores of a cell's items. Raises PrefbenchError (exit code 3) where two harnesses call different metrics by one name."""
    means: dict[str, Mapping[str, float]] = {}
    fits: dict[str, FittedScore] = {}
    counts: dict[str, Mapping[str, int]] = {}
    refused: dict[str, str] = {}
    for name, harness in harnesses.items():
        own, calibration = items_of(items, name), calibrations.get(name, Calibration())
        label = name.removeprefix(harness.name).removeprefix(".")
        values = {at(metric, label): by_id for metric, by_id in harness.values(own).items() if by_id}
        ids = tuple(str(item["id"]) for item in own)
        fitted = {at(metric, label): FittedScore(ids, fit) for metric, fit in harness.fitted(own, calibration).items()}
        clash = sorted({*values, *fitted} & {*means, *fits})
        if clash:
            raise PrefbenchError(f"harness {name} gives a metric that another harness gives too: {', '.join(clash)}", "rename it", 3)
        means, fits = means | values, fits | fitted
        counts[name] = dict(harness.counts(own))
        reason = length_control.refusal(own, calibration) if harness.name == "alpaca_eval" else None
        if reason:
            refused[at("length_controlled_win_rate", label)] = reason
    return Scores(means, fits, counts, refused)


def score(
    harnesses: Mapping[str, Harness], items: Sequence[Mapping[str, Any]], calibrations: Mapping[str, Calibration]
) -> dict[str, dict[str, Any]]:
    """``Scores.summary`` of a cell's items: what its record stores."""
    return measure(harnesses, items, calibrations).summary()
