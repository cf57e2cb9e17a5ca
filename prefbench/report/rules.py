"""Whether folders follow the same rules: what differs between their tracks, named by its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.errors import PrefbenchError
from prefbench.plan import differences
from prefbench.report.evidence import read_tables
from prefbench.store.folder import Folder

NO_RULES = ("methods", "schedulers", "grid", "trivial")
"""Tables that say which rows are run: a folder may have more of them, and other hyper-parameters, under the same rules."""

NO_RULES_OF_TRACK = ("description", "seeds")
"""Keys of [track] that say nothing about a row that was run: seeds are paired where both folders have them."""

SHOWN = 4
"""Differing rules that the message names."""


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
    lines = differences(_rules(first), _rules(second))
    return sorted(lines, key=lambda line: not line.startswith(("track.name:", "track.version:")))


def _rules(folder: Folder) -> dict[str, Any]:
    """The tables of the track file that are rules. The source is what it said of its data when a cell ran: where files lie is no rule."""
    tables = read_tables(folder)
    rules = {name: table for name, table in tables.items() if name not in NO_RULES}
    rules["track"] = {key: value for key, value in tables["track"].items() if key not in NO_RULES_OF_TRACK}
    rules["harness"] = {table.get("name"): table for table in tables.get("harness", [])}
    rules["source"] = _recorded_source(folder) or tables.get("source")
    return rules


def _recorded_source(folder: Folder) -> Mapping[str, Any] | None:
    trains = (record["include"]["train"] for record in folder.records().values())
    return next((train["source"] for train in trains if "source" in train), None)
