"""Where the seconds of cells went: the clocks of their records, by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.report.keys import condition_of

PROFILE = ("columns", "select", "data", "forward", "backward", "optimiser", "answer", "judge", "other")
"""The clocks of a profile, in the order of a cell's life; ``other`` is the rest, of which writing files is most."""
STEP = ("train", "forward", "backward", "optimiser")
"""Clocks that run while a policy is trained on pairs: the first alone unless a run is profiled."""


def train_seconds(clocks: Mapping[str, float]) -> float:
    """Seconds of training steps, their scoring for a scheduler apart."""
    return sum(clocks.get(name, 0.0) for name in STEP)


def profile_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each method, scheduler and condition: mean seconds of a cell by clock, of the cells that were trained under a profile."""
    profiled = [record for record in records if "optimiser" in record["clocks"]]
    labels = dict.fromkeys(_labels(record) for record in profiled)
    rows = []
    for method, scheduler, condition in labels:
        own = [record["clocks"] for record in profiled if _labels(record) == (method, scheduler, condition)]
        means = {name: sum(_seconds(clocks, name) for clocks in own) / len(own) for name in PROFILE}
        total = sum(means.values())
        named: dict[str, Any] = {"method": method, "scheduler": scheduler, **({"condition": condition} if condition else {})}
        rows.append({**named, "cells": len(own), "seconds": round(total, 2), **_rounded(means)})
    return rows


def _labels(record: Mapping[str, Any]) -> tuple[str, str, str]:
    return record["method"]["label"], record["scheduler"]["label"], condition_of(record)


def _seconds(clocks: Mapping[str, float], name: str) -> float:
    if name == "other":
        return sum(seconds for clock, seconds in clocks.items() if clock not in PROFILE)
    return clocks.get(name, 0.0)


def _rounded(means: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 2) for name, seconds in means.items()}
