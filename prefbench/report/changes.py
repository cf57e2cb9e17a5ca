"""What changed on a board since a revision of its repository, and what of it must not be."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from prefbench.config import UNTRAINED
from prefbench.errors import DamagedError, PrefbenchError
from prefbench.plan import FINISHED, differences
from prefbench.report.evidence import read_tables
from prefbench.report.keys import Key
from prefbench.report.outcome import Record, changes, outcome, stated_reason
from prefbench.report.rules import rules
from prefbench.store.folder import Folder
from prefbench.store.migrate import present
from prefbench.store.revision import Revision, revision

NO_REASON = "no reason is stated: bring the result with `prefbench board add RUN --reason TEXT`"
NO_VERSION = "the rules changed and the version did not rise"
REMOVED = "a record is not removed within a version of the track"
FORGOTTEN = "reasons that were stated earlier are gone"


@dataclass(frozen=True)
class State:
    """A board at one time: the tables of its track (none where there is no board), its records by cell, and the rank of each row."""

    track: Mapping[str, Any]
    records: Mapping[str, Record]
    ranks: Mapping[str, int]


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was: added, removed, changed or moved. ``refused`` says why it must not be; empty where it may."""

    change: str
    name: str
    what: str
    before: Any = None
    after: Any = None
    reason: str = ""
    refused: str = ""


def changes_since(root: Path, ref: str) -> list[Change]:
    """What changed in a board folder, which need not be there any more. Raises PrefbenchError where there was no board either."""
    before, after = state_at(revision(root, ref)), state_now(Folder(root))
    if not before.records and not after.records:
        raise PrefbenchError(f"{root} holds no records, neither now nor at {ref}", "name a board folder")
    return compare(before, after)


# ---------------------------------------------------------------- reading


def state_now(folder: Folder) -> State:
    """A board as it lies in the working tree. Raises DamagedError naming a record that is none."""
    table = folder.root / "board.csv"
    return State(
        track=read_tables(folder) if folder.track.exists() else {},
        records=folder.records(),
        ranks=_ranks(table.read_text(encoding="utf-8", errors="replace")) if table.exists() else {},
    )


def state_at(then: Revision) -> State:
    """A board as it was; a record or a track that was damaged then counts as not there, so that it can be mended."""
    names = then.names()
    files = {str(name): then.read(name) for name in names if str(name) in ("track.toml", "board.csv") or name.parts[0] == "records"}
    records = {PurePosixPath(name).stem: _record(files[name], f"{then.ref}:{name}") for name in files if name.endswith(".json")}
    return State(
        track=_tables(files.get("track.toml", b"")),
        records={cell: record for cell, record in records.items() if record is not None},
        ranks=_ranks(files.get("board.csv", b"").decode(errors="replace")),
    )


def _record(data: bytes, name: str) -> Record | None:
    try:
        return present(json.loads(data), Path(name))
    except (DamagedError, ValueError):
        return None


def _tables(data: bytes) -> dict[str, Any]:
    try:
        tables = tomllib.loads(data.decode())
    except ValueError:
        return {}
    return tables if {"name", "version"} <= tables.get("track", {}).keys() else {}


def _ranks(text: str) -> dict[str, int]:
    rows = csv.DictReader(io.StringIO(text))
    return {_label(row): rank for rank, row in enumerate(rows, start=1)}


def _label(row: Mapping[str, str]) -> str:
    return Key(row["method"], row.get("scheduler", UNTRAINED), row.get("condition", "")).label


# ---------------------------------------------------------------- comparing


def compare(before: State, after: State) -> list[Change]:
    """Every change, the track's first. Under a new version of the track, whose results do not compare with the old ones, all are allowed."""
    found = [*_of_rules(before, after), *_of_records(before, after), *_of_ranks(before, after)]
    return [dataclasses.replace(change, refused="") for change in found] if _risen(before, after) else found


def _risen(before: State, after: State) -> bool:
    old, new = before.track.get("track"), after.track.get("track")
    return bool(old and new and old["name"] == new["name"] and int(new["version"]) > int(old["version"]))


def _of_rules(before: State, after: State) -> Iterator[Change]:
    if before.track and after.track:
        for line in differences(rules(before.track), rules(after.track)):
            yield Change("changed", "track.toml", line, refused=NO_VERSION)


def _of_records(before: State, after: State) -> Iterator[Change]:
    for cell in sorted({*before.records, *after.records}):
        old, new = before.records.get(cell), after.records.get(cell)
        if new is None:
            yield Change("removed", cell, "record", refused=REMOVED)
        elif old is None:
            yield Change("added", cell, "record", after=new["mode"])
        else:
            yield from _of_record(cell, old, new)


def _of_record(cell: str, old: Record, new: Record) -> Iterator[Change]:
    if outcome(old) != outcome(new):
        reason = stated_reason(new, old)
        refused = NO_REASON if old["status"] in FINISHED and not reason else ""
        for what, before, after in _outcomes(old, new):
            yield Change("changed", cell, what, before, after, reason, refused)
    if old["mode"] != new["mode"]:
        yield Change("changed", cell, "mode", old["mode"], new["mode"])
    if changes(new)[: len(changes(old))] != changes(old):
        yield Change("changed", cell, "changes", refused=FORGOTTEN)
    others = [key for key in sorted({*old, *new} - {"status", "result", "mode", "changes"}) if old.get(key) != new.get(key)]
    if others:
        yield Change("changed", cell, f"the record's {', '.join(others)}")


def _outcomes(old: Record, new: Record) -> Iterator[tuple[str, Any, Any]]:
    """Status and metrics that differ; where none does, the other parts of the result that do."""
    if old["status"] != new["status"]:
        yield "status", old["status"], new["status"]
    values = [{name: metric["value"] for name, metric in record["result"].get("metrics", {}).items()} for record in (old, new)]
    metrics = [name for name in sorted({*values[0], *values[1]}) if values[0].get(name) != values[1].get(name)]
    for name in metrics:
        yield name, values[0].get(name), values[1].get(name)
    if not metrics and old["status"] == new["status"]:
        parts = [key for key in sorted({*old["result"], *new["result"]}) if old["result"].get(key) != new["result"].get(key)]
        yield f"the result's {', '.join(parts)}", None, None


def _of_ranks(before: State, after: State) -> Iterator[Change]:
    for row, rank in after.ranks.items():
        if before.ranks.get(row, rank) != rank:
            yield Change("moved", row, "rank", before.ranks[row], rank)
