"""The rules that make two results comparable: as a track file states them, and as records have them resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS = ("methods", "schedulers", "grid", "trivial")
"""Tables that say which rows a track runs. A board may get further ones; that of a row which is there shows in its cells."""

UNRULED = ("description", "seeds")
"""Keys of [track] that change nobody's result."""

OWN = ("learning_rate", "dtype")
"""Training settings that a method or a machine has of its own."""


def rules(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a track's tables that may not change without a new version."""
    head = {key: value for key, value in tables["track"].items() if key not in UNRULED}
    return {**{name: table for name, table in tables.items() if name not in ROWS}, "track": head}


def shared_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What every cell of a board has in common, with defaults filled in: pairs and models, budget, harnesses, judge.

    The budget is missing where nothing was trained.
    """
    train, answer, judge = (record["include"][stage] for stage in ("train", "answer", "judge"))
    settings = {
        "core_numerics_version": train.get("core_numerics_version"),
        "source": train.get("source"),
        "harness": {name: found["options"] for name, found in answer.get("harnesses", {}).items()},
        "judge": {key: value for key, value in (judge.get("judge") or {}).items() if key != "origin"},
    }
    if "train" in train:
        settings["train"] = {key: value for key, value in train["train"].items() if key not in OWN}
    return settings
