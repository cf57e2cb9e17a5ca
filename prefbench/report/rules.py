"""The rules that make two results comparable: as a track file states them, as records have them resolved, and whether folders share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.config import Named
from prefbench.errors import PrefbenchError
from prefbench.plan import differences
from prefbench.report.evidence import read_tables
from prefbench.store.folder import Folder

ROWS = ("methods", "schedulers", "grid", "trivial")
"""Tables that say which rows a track runs: a folder may have further ones, and other hyper-parameters, under the same rules."""

UNRULED = ("description", "seeds")
"""Keys of [track] that change nobody's result: seeds are paired where both folders have them."""

OWN = ("learning_rate", "dtype")
"""Training settings that a method or a machine has of its own."""

SHOWN = 4
"""Differing rules that a message names."""


def rules(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a track's tables that may not change without a new version; harnesses by name and label."""
    kept = {name: table for name, table in tables.items() if name not in ROWS}
    head = {key: value for key, value in tables["track"].items() if key not in UNRULED}
    return {**kept, "track": head, "harness": {harness_key(table): table for table in tables.get("harness", [])}}


def harness_key(table: Mapping[str, Any]) -> str:
    """What tells a [[harness]] table from the track's others."""
    return Named(table.get("name", ""), label=table.get("label", "")).key


def shared_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What every cell of a board has in common, with defaults filled in: pairs and models, budget, harnesses, judge.

    The budget is missing where nothing was trained.
    """
    train, answer, judge = (record["include"][stage] for stage in ("train", "answer", "judge"))
    settings = {
        "core_numerics_version": train.get("core_numerics_version"),
        "source": train.get("source"),
        "model": train.get("loading"),
        "harness": {name: found["options"] for name, found in answer.get("harnesses", {}).items()},
        "judge": {key: value for key, value in (judge.get("judge") or {}).items() if key != "origin"},
    }
    if "train" in train:
        settings["lora"] = train.get("lora")
        settings["train"] = {key: value for key, value in train["train"].items() if key not in OWN}
    return settings


# ---------------------------------------------------------------- folders against each other


def refuse_other_rules(folders: Sequence[Path]) -> None:
    """Raises PrefbenchError naming the rules in which a folder differs from the first: another track or version, a track file that was
    edited without a new version, other data behind the same file."""
    first, *others = [Folder(folder) for folder in folders]
    for other in others:
        found = differing_rules(first, other)
        if found:
            more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise PrefbenchError(
                f"{first.root} and {other.root} follow different rules: {'; '.join(found[:SHOWN])}{more}",
                "results compare within one track and version: run the methods of one folder under the track of the other",
            )


def differing_rules(first: Folder, second: Folder) -> list[str]:
    """``track.version: 1 -> 2``, a line for each rule that differs, name and version first."""
    lines = differences(_rules_of(first), _rules_of(second))
    return sorted(lines, key=lambda line: not line.startswith(("track.name:", "track.version:")))


def _rules_of(folder: Folder) -> dict[str, Any]:
    """A folder's rules. The source is what it said of its data when a cell ran: where files lie is no rule."""
    tables = read_tables(folder)
    return {**rules(tables), "source": _recorded_source(folder) or tables.get("source")}


def _recorded_source(folder: Folder) -> Mapping[str, Any] | None:
    trains = (record["include"]["train"] for record in folder.records().values())
    return next((train["source"] for train in trains if "source" in train), None)
