"""The finished cells of a run folder brought to a board: only what its check accepts, and no result replaced without a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefbench.api import Harness
from prefbench.errors import PrefbenchError
from prefbench.plan import FINISHED
from prefbench.report.board import write_rendering
from prefbench.report.check import examine, rendering_problems
from prefbench.report.outcome import REPRODUCED, SUBMITTED, Record, outcome, replaced
from prefbench.report.problems import Problem
from prefbench.report.rows import build
from prefbench.report.rules import differing_rules
from prefbench.report.staging import copy_changed, locked, stage, stage_cell
from prefbench.store.folder import Folder

ADDED, CHANGED, RENEWED, LEFT = "added", "changed", "renewed", "left"
"""What becomes of a cell. Renewed: the same result under other keys, or now reproduced; left: nothing new."""


@dataclass(frozen=True)
class Submission:
    """A run folder, the board that it goes to, who ran it (see ``outcome.MODES``), and why results that are there may be replaced."""

    run: Folder
    board: Folder
    mode: str = REPRODUCED
    reason: str = ""


@dataclass(frozen=True)
class Added:
    """What became of each finished cell, and the cells without an outcome with their status."""

    actions: Mapping[str, str]
    left_out: Mapping[str, str]


def add(submission: Submission, harnesses: Mapping[str, Harness]) -> Added:
    """Bring the finished cells of a run to a board and render it.

    A run that is there already changes no byte. The board as it would be is put together beside it and checked first. Raises PrefbenchError,
    and changes nothing, where run or board would not pass the check, where rules or artefacts differ, or where a reason is missing. Where every
    cell of the board is replaced for a reason, only the track files have to agree: what the cells have in common may then be another.
    """
    run, board = submission.run, submission.board
    whole = _replaces_every_cell(submission)
    _refuse_other_rules(run, board, recorded=not whole)
    problems, _ = examine(run.root, harnesses)
    _refuse(problems, f"{run.root} does not pass the check", "`prefbench board check` names everything; run it again, or restore the files")
    records = run.records()
    finished = {cell: record for cell, record in records.items() if record["status"] in FINISHED}
    with locked(board.root), TemporaryDirectory() as place:
        known = board.records()
        if not whole:
            _refuse_other_artefacts(run, board, known)
        actions = _actions(submission, finished, known)
        staged = Folder(Path(place))
        stage(run, board, staged, whole)
        for cell, action in actions.items():
            if whole or action != LEFT:
                stage_cell(run, staged, cell, _record(submission, finished[cell], known.get(cell)))
        _render(staged, harnesses, board.root)
        copy_changed(staged.root, board.root)
    return Added(actions, {cell: record["status"] for cell, record in records.items() if cell not in finished})


# ---------------------------------------------------------------- refusals


def _refuse(problems: Sequence[Problem], what: str, hint: str) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PrefbenchError(f"{what}: {problems[0]}{more}", hint, exit_code=1)


def _replaces_every_cell(submission: Submission) -> bool:
    """Whether the run, which does not fit the board, has a result for each of its cells, and a reason is given: as when the core computes
    otherwise than before."""
    run, board = submission.run, submission.board
    theirs = board.records()
    if not theirs or not submission.reason.strip() or (run.artefacts() == board.artefacts() and not differing_rules(board, run)):
        return False
    finished = {cell for cell, record in run.records().items() if record["status"] in FINISHED}
    return theirs.keys() <= finished and submission.mode == REPRODUCED


def _refuse_other_rules(run: Folder, board: Folder, recorded: bool) -> None:
    found = differing_rules(board, run, recorded) if board.track.exists() else []
    if found:
        raise PrefbenchError(
            f"{run.root} was run under other rules than {board.root}: {'; '.join(found)}",
            f"run {board.track}, or keep another board for the other track or version",
        )


def _refuse_other_artefacts(run: Folder, board: Folder, known: Mapping[str, Record]) -> None:
    ours, theirs = run.artefacts(), board.artefacts()
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if known and names:
        raise PrefbenchError(
            f"the artefacts of {', '.join(names)} are not those of {board.root}: metrics derived from them do not compare",
            "artefacts are fixed once for a version of a track: other ones need a new version",
        )


# ---------------------------------------------------------------- what becomes of each cell


def _actions(submission: Submission, finished: Mapping[str, Record], known: Mapping[str, Record]) -> dict[str, str]:
    actions = {cell: _action(_mode(submission, record), record, known.get(cell)) for cell, record in finished.items()}
    changed = [cell for cell, action in actions.items() if action == CHANGED]
    kept = [cell for cell in changed if _mode(submission, finished[cell]) == SUBMITTED and known[cell]["mode"] == REPRODUCED]
    if kept:
        raise PrefbenchError(
            f"{submission.board.root} has another result of its own for {_listed(kept)}, which a submitted one does not replace",
            "submit a run folder that holds only what is new: `prefbench run --only METHOD --out FOLDER`",
        )
    if changed and not submission.reason.strip():
        raise PrefbenchError(
            f"{submission.board.root} has another result for {_listed(changed)}",
            "say why it is replaced with --reason, or add a run folder that holds only what is new",
        )
    return actions


def _listed(cells: Sequence[str], most: int = 5) -> str:
    return f"{', '.join(cells[:most])}{f' and {len(cells) - most} more' if len(cells) > most else ''}"


def _mode(submission: Submission, record: Record) -> str:
    """A record that was submitted once, to the board that it now comes from, was not run by whoever passes it on."""
    return SUBMITTED if SUBMITTED in (submission.mode, record["mode"]) else REPRODUCED


def _action(mode: str, record: Record, before: Record | None) -> str:
    if before is None or before["status"] not in FINISHED:
        return ADDED
    if outcome(record) != outcome(before):
        return CHANGED
    if (mode, record["keys"]) == (before["mode"], before["keys"]):
        return LEFT
    return LEFT if mode == SUBMITTED and before["mode"] == REPRODUCED else RENEWED


def _record(submission: Submission, record: Record, before: Record | None) -> dict[str, Any]:
    """The record as the board keeps it. What its ``changes`` say was changed on the board that it comes from, if any, and is left out."""
    own = {key: value for key, value in record.items() if key != "changes"}
    stated = replaced(record, before, " ".join(submission.reason.split())) if before and before["status"] in FINISHED else []
    return {**own, "mode": _mode(submission, record), **({"changes": stated} if stated else {})}


def _render(staged: Folder, harnesses: Mapping[str, Harness], root: Path) -> None:
    """Check the board as it would be, and render it where it is not: a plot of the same numbers may have other bytes elsewhere."""
    problems, evidence = examine(staged.root, harnesses)
    _refuse(problems, f"{root} would not pass the check", "make the run agree with the board's other cells, or mend the board first")
    board = build(evidence)
    if rendering_problems(staged.root, board):
        write_rendering(staged.root, board)
