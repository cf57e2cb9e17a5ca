"""The rules that make two results comparable: as a track file states them, as records have them resolved, and whether folders share them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api import Harness
from prefbench.config import Named
from prefbench.errors import PrefbenchError
from prefbench.plan import differences
from prefbench.registry.options import option_fields
from prefbench.report.evidence import read_tables
from prefbench.report.keys import condition_of
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


def shared_settings(record: Mapping[str, Any], harnesses: Mapping[str, Harness]) -> dict[str, Any]:
    """What every cell of a board has in common, with defaults filled in: pairs and models, budget, harnesses, their questions and files, judge.

    The budget is missing where nothing was trained. ``harnesses`` are the track's, by name and label.
    """
    train, answer = (record["include"][stage] for stage in ("train", "answer"))
    settings = {
        "core_numerics_version": train.get("core_numerics_version"),
        _source_of(record): train.get("source"),
        "model": train.get("loading"),
        "harness": {name: _defaults(harnesses.get(name)) | found["options"] for name, found in answer.get("harnesses", {}).items()},
        **_asked(record),
        "answers": answer.get("answers"),
    }
    if "train" in train:
        settings["lora"] = train.get("lora")
        settings["train"] = {key: value for key, value in train["train"].items() if key not in OWN}
    return settings


def _defaults(harness: Harness | None) -> dict[str, Any]:
    """An option is added with a default that changes nothing, so that a record from before has that value without naming it."""
    if harness is None:
        return {}
    fields = option_fields(type(harness))
    return {name: fields[name].default for name in harness.identity_options() if fields[name].default is not dataclasses.MISSING}


def _asked(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the policies and the judge are asked, and who the judge is: no address, no budget, no place of a file."""
    answer, judge = (record["include"][stage] for stage in ("answer", "judge"))
    return {
        "questions": answer.get("questions") or {},
        "files": judge.get("files") or {},
        "judge": {key: value for key, value in (judge.get("judge") or {}).items() if key != "origin"},
    }


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


def differing_rules(first: Folder, second: Folder, recorded: bool = True) -> list[str]:
    """``track.version: 1 -> 2``, a line for each rule that differs, name and version first.

    Source and judge are what they said of themselves when a cell ran, where both folders have cells: where files lie, and what a judge may
    cost, are no rules; other questions behind the same file name are. Without ``recorded`` only the track files are compared.
    """
    known = [_recorded(folder) if recorded else {} for folder in (first, second)]
    if all(known):  # of a condition that one folder has no cell of, nothing is known there
        known = [{key: own[key] for key in own if key in known[0].keys() & known[1].keys()} for own in known]
    ours, theirs = (rules(read_tables(folder)) | (own if all(known) else {}) for folder, own in zip((first, second), known, strict=True))
    return sorted(differences(ours, theirs), key=lambda line: not line.startswith(("track.name:", "track.version:")))


def _recorded(folder: Folder) -> dict[str, Any]:
    """The rules that a folder's cells recorded, with the source under each condition; none where there is no cell yet."""
    found = [record for record in folder.records().values() if "source" in record["include"]["train"]]
    sources = {_source_of(record): record["include"]["train"]["source"] for record in reversed(found)}
    return {**sources, **_asked(found[0])} if found else {}


def _source_of(record: Mapping[str, Any]) -> str:
    """What the pairs of a record are called: ``source``, ``source under noise-20``."""
    condition = condition_of(record)
    return f"source under {condition}" if condition else "source"
