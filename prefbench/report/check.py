"""The check of a board: every number of a folder is derived again, and what does not agree is a problem with its file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api import Harness
from prefbench.errors import PrefbenchError
from prefbench.identity import digest, stage_key
from prefbench.plan import STAGES, differences
from prefbench.report.board import Board, board_csv
from prefbench.report.claims import Claims, read_claims
from prefbench.report.evidence import (
    DONE,
    CellEvidence,
    Evidence,
    calibrations,
    read_sessions,
    read_studies,
    read_tables,
)
from prefbench.report.keys import Key, condition_of
from prefbench.report.metrics import measure
from prefbench.report.outcome import statement_problems
from prefbench.report.page import page
from prefbench.report.problems import Problem, differs
from prefbench.report.rows import build
from prefbench.report.rules import shared_settings
from prefbench.report.structure import ITEMS_LIMIT, structure
from prefbench.report.studies import study_problems
from prefbench.store.files import lines_digest
from prefbench.store.folder import Folder
from prefbench.tune.study import Study

TOLERANCE = 1e-9
"""Largest difference, relative to the larger number or to 1, between a stored metric and the one derived from items."""

SURROUNDINGS = 30
"""Characters shown on both sides of a difference."""


def check(root: Path, harnesses: Mapping[str, Harness]) -> list[Problem]:
    """Every problem of a run folder or a board folder; none when all that it says follows from its items.

    The board is derived only from sound cells: one wrong byte is one problem, not a hundred. A board folder holds nothing else.
    """
    problems, evidence = examine(root, harnesses)
    return [*structure(Folder(root)), *(problems or rendering_problems(root, build(evidence)))]


def examine(root: Path, harnesses: Mapping[str, Harness]) -> tuple[list[Problem], Evidence]:
    """The problems of track, artefacts, records and items, whatever is rendered from them, and the evidence that has none.

    A cell's metrics are derived only from items and artefacts that have their recorded hashes.
    """
    checking = _Check(Folder(root), harnesses)
    problems = checking.problems()
    return problems, Evidence(checking.track, checking.cells, checking.studies, checking.sessions, checking.claims)


def rendering_problems(root: Path, board: Board) -> list[Problem]:
    """Where board.csv and README.md of a folder are not the renderings of its board, and whether there is a plot."""
    problems: list[Problem] = []
    for name, text in (("board.csv", board_csv(board)), ("README.md", page(board))):
        path = root / name
        problems += _text(name, text, path.read_bytes().decode(errors="replace") if path.exists() else None)
    return problems if (root / "forest.png").exists() else [*problems, Problem("forest.png", "file", "the plot of this board", "no file")]


class _Check:
    def __init__(self, folder: Folder, harnesses: Mapping[str, Harness]) -> None:
        self.folder, self.harnesses = folder, harnesses
        self.track: Mapping[str, Any] = {}
        self.cells: dict[str, CellEvidence] = {}
        self.studies: Mapping[str, Study] = {}
        self.sessions: tuple[Mapping[str, Any], ...] = ()
        self.claims = Claims()

    def problems(self) -> list[Problem]:
        """The inputs first, then the cells, then what the cells have in common."""
        problems: list[Problem] = []
        track = self._read(self.folder.track, lambda: read_tables(self.folder), problems)
        artefacts = self._read(self.folder.root / "artefacts", self.folder.artefacts, problems)
        self.studies = self._read(self.folder.root / "tuning", lambda: read_studies(self.folder), problems) or {}
        self.sessions = self._read(self.folder.sessions, lambda: read_sessions(self.folder), problems) or ()
        self.claims = self._read(self.folder.claims, lambda: read_claims(self.folder), problems) or Claims()
        names = sorted(path.stem for path in (self.folder.root / "records").glob("*.json"))
        if not names:
            problems.append(Problem("records", "files", "at least one", "none"))
        if track is not None and artefacts is not None:
            self.track = track
            for name in names:
                problems += self._cell(name, track["track"], artefacts)
            problems += self._strays(names)
        return problems or [
            *_rows(self.cells),
            *_shared(self.cells, self.harnesses),
            *study_problems(self.folder, self.cells, self.studies),
        ]

    def _read(self, path: Path, read: Callable[[], Any], problems: list[Problem]) -> Any:
        """What ``read`` gives; None, and one more problem, where it cannot."""
        try:
            return read()
        except (PrefbenchError, OSError, EOFError, zlib.error) as error:
            problems.append(Problem(self._name(path), "content", "a readable file", str(error)))
            return None

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.folder.root))

    # ---------------------------------------------------------------- a cell

    def _cell(self, name: str, track: Mapping[str, Any], artefacts: Mapping[str, Any]) -> list[Problem]:
        path = self.folder.record_path(name)
        problems: list[Problem] = []
        record = self._read(path, lambda: self.folder.read_record(name), problems)
        if record is None:
            return problems
        try:
            file = self._name(path)
            problems = [*_identity(file, name, record, track), *_keys(file, record), *statement_problems(file, record)]
            if record["status"] != DONE:
                self.cells[name] = CellEvidence(record, None)
                return problems
            problems += self._items(name, record, artefacts)
            return problems or self._metrics(name, record, artefacts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return [*problems, Problem(self._name(path), "content", "a whole record and whole items", f"{type(error).__name__}: {error}")]

    def _items(self, name: str, record: Mapping[str, Any], artefacts: Mapping[str, Any]) -> list[Problem]:
        path = self.folder.items_path(name)
        if not path.exists():
            return [Problem(self._name(path), "file", "the items of a cell that is done", "no file")]
        problems: list[Problem] = []
        found = self._read(path, lambda: lines_digest(path), problems)
        if found is not None:
            problems += differs(self._name(path), "sha256 of the lines", record["result"]["items_sha256"], found)
        size = path.stat().st_size
        if size > ITEMS_LIMIT:
            problems.append(Problem(self._name(path), "size", f"at most {ITEMS_LIMIT} bytes", f"{size} bytes"))
        return [*problems, *differs("artefacts", f"sha256 for {name}", record["result"]["calibration_sha256"], digest(artefacts))]

    def _metrics(self, name: str, record: Mapping[str, Any], artefacts: Mapping[str, Any]) -> list[Problem]:
        scores = measure(self.harnesses, self.folder.items(name), calibrations(artefacts))
        self.cells[name] = CellEvidence(record, scores)
        expected, found = scores.summary(), record["result"]
        file = self._name(self.folder.record_path(name))
        problems = differs(file, "counts", expected["counts"], found["counts"])
        for metric in sorted({*expected["metrics"], *found["metrics"]}):
            problems += _metric(file, metric, expected["metrics"].get(metric), found["metrics"].get(metric))
        return problems

    def _strays(self, names: Sequence[str]) -> list[Problem]:
        files = sorted((self.folder.root / "items").glob("*.jsonl.gz"))
        strays = [path for path in files if path.name.removesuffix(".jsonl.gz") not in names]
        return [Problem(self._name(path), "record", "one of the same name", "none") for path in strays]


def _identity(file: str, name: str, record: Mapping[str, Any], track: Mapping[str, Any]) -> list[Problem]:
    """The record speaks of its own file's cell, of the folder's track, and of the settings that its keys include."""
    include, method, scheduler = record["include"]["train"], record["method"], record["scheduler"]
    objective = include.get("objective", {})
    stated = [
        ("cell", name, record["cell"]),
        (
            "cell",
            ".".join([method["label"], scheduler["label"], *filter(None, [condition_of(record)]), f"s{record['seed']}"]),
            record["cell"],
        ),
        ("track.name", track.get("name"), record["track"]["name"]),
        ("track.version", track.get("version"), record["track"]["version"]),
        ("method.objective", objective.get("name"), method["objective"]),
        ("method.options", objective.get("options", {}), method["options"]),
        ("method.origin", objective.get("origin"), method["origin"]),
        ("method.learning_rate", include.get("train", {}).get("learning_rate"), method["learning_rate"]),
        *((f"scheduler.{key}", value, scheduler[key]) for key, value in include.get("scheduler", {}).items()),
    ]
    return [problem for what, expected, found in stated for problem in differs(file, what, expected, found)]


def _keys(file: str, record: Mapping[str, Any]) -> list[Problem]:
    """Every stage's key is that of its include list, and every list names the key of the stage before."""
    problems: list[Problem] = []
    for position, stage in enumerate(STAGES):
        include, before = record["include"][stage], STAGES[position - 1]
        problems += differs(file, f"keys.{stage}", stage_key(stage, include), record["keys"][stage])
        if position:
            problems += differs(file, f"include.{stage}.{before}", record["keys"][before], include[before])
    return problems


def _metric(file: str, name: str, expected: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> list[Problem]:
    if expected is None or found is None:
        return [Problem(file, f"metrics.{name}", _present(expected), _present(found))]
    if math.isclose(expected["value"], found["value"], rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return differs(file, f"metrics.{name}.n", expected["n"], found["n"])
    return [Problem(file, f"metrics.{name}", repr(expected["value"]), repr(found["value"]))]


def _present(metric: Mapping[str, Any] | None) -> str:
    return "none" if metric is None else repr(metric["value"])


def _rows(cells: Mapping[str, CellEvidence]) -> Iterator[Problem]:
    """The seeds of a row were run with the same settings."""
    first: dict[Key, CellEvidence] = {}
    for name, cell in cells.items():
        other = first.setdefault(cell.row, cell).record
        for block in ("method", "scheduler"):
            yield from differs(f"records/{name}.json", f"{block}, as in the row's other seeds", other[block], cell.record[block])


def _shared(cells: Mapping[str, CellEvidence], harnesses: Mapping[str, Harness]) -> Iterator[Problem]:
    """Every cell had the same pairs, budget, harnesses and judge, whatever the track file says now."""
    first: dict[str, Any] = {}
    for name, cell in cells.items():
        for setting, value in shared_settings(cell.record, harnesses).items():
            for line in differences(first.setdefault(setting, value), value, setting):
                yield Problem(f"records/{name}.json", "rules", "those of the board's other cells", line)


def _text(file: str, expected: str, found: str | None) -> list[Problem]:
    """The place where a rendered file first departs from its rendering, with some of its surroundings."""
    if found == expected:
        return []
    if found is None:
        return [Problem(file, "file", "the rendering of this board", "no file")]
    place = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), min(len(expected), len(found)))
    line, column = expected.count("\n", 0, place) + 1, place - (expected.rfind("\n", 0, place) + 1) + 1
    start = max(place - SURROUNDINGS, 0)
    shown = [repr(text[start : place + SURROUNDINGS]) for text in (expected, found)]
    return [Problem(file, f"line {line}, column {column}", *shown)]
