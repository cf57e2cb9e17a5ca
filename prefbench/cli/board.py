"""``prefbench board``: check, show and render leaderboards, add results to them, and say what changed since a revision."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows
from prefbench.report.structure import BOARDS

if TYPE_CHECKING:
    from prefbench.api import Harness

BoardFolder = Annotated[Path, typer.Argument(help="A run folder or a board folder.")]

board = typer.Typer(
    help="Leaderboards: check, show, render, add results, and say what changed.", no_args_is_help=True, rich_markup_mode=None
)


@board.command()
def check(
    folders: Annotated[list[Path] | None, typer.Argument(help="Run or board folders; all boards under leaderboards/ unless given.")] = None,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the problems are printed.")] = Format.table,
) -> None:
    """Derive every number of a board again from its items; exit code 1 where something does not agree."""
    from prefbench.report.check import check as check_folder

    found = []
    for folder in folders or committed_boards():
        problems = check_folder(folder, harnesses_of(folder, plugin))
        found += [{"file": str(folder / p.file), "what": p.what, "expected": p.expected, "found": p.found} for p in problems]
        print(f"{folder}: {f'problems: {len(problems)}' if problems else 'every number follows from its items'}", file=sys.stderr)
    if found:
        print_rows(found, format.value, title="what does not agree")
        raise typer.Exit(1)


@board.command()
def show(
    folder: BoardFolder,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the leaderboard is printed; json and csv have every number.")] = Format.table,
) -> None:
    """Print a leaderboard, derived from its records and items."""
    from prefbench.report.board import read_board, rows_for

    found = read_board(folder, harnesses_of(folder, plugin))
    print_rows(rows_for(found, format.value), format.value, title=found.title)


@board.command()
def render(folder: BoardFolder, plugin: PluginFiles = None) -> None:
    """Write board.csv, README.md and forest.png of a folder anew."""
    from prefbench.report.board import render as render_folder

    found = render_folder(folder, harnesses_of(folder, plugin))
    print(f"{folder}: {len(found.rows)} rows written to board.csv, README.md, forest.png", file=sys.stderr)


@board.command()
def add(
    run: Annotated[Path, typer.Argument(help="The run folder that the results lie in.")],
    to: Annotated[Path | None, typer.Option(help="The board folder; leaderboards/TRACK unless given.")] = None,
    submitted: Annotated[bool, typer.Option("--submitted", help="The results were run by others: the rows say so.")] = False,
    reason: Annotated[str, typer.Option(help="Why results that the board has are replaced; kept in their records.")] = "",
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the cells are printed.")] = Format.table,
) -> None:
    """Bring the finished cells of a run to a board, check the whole, and render it; nothing is changed where it would not pass."""
    from prefbench.report.outcome import REPRODUCED, SUBMITTED
    from prefbench.report.submission import Submission
    from prefbench.report.submission import add as add_run
    from prefbench.store.folder import Folder

    target = to or board_of(run)
    submission = Submission(Folder(run), Folder(target), SUBMITTED if submitted else REPRODUCED, reason)
    added = add_run(submission, harnesses_of(run, plugin))
    print_rows([{"cell": cell, "action": action} for cell, action in added.actions.items()], format.value, title=str(target))
    counts = Counter(added.actions.values())
    print(f"{target}: {', '.join(f'{count} {action}' for action, count in counts.items()) or 'nothing to add'}", file=sys.stderr)
    if added.left_out:
        names = ", ".join(f"{cell} ({status})" for cell, status in added.left_out.items())
        print(f"left out, no results: {len(added.left_out)}: {names}", file=sys.stderr)


@board.command()
def diff(
    folders: Annotated[list[Path] | None, typer.Argument(help="Board folders; all under leaderboards/, now or then, unless given.")] = None,
    against: Annotated[str, typer.Option(help="The git revision to compare with.")] = "HEAD",
    format: Annotated[Format, typer.Option(help="How the changes are printed.")] = Format.table,
) -> None:
    """Say what changed on boards since a git revision; exit code 1 where a record is gone, or a result or a rule changed without a word."""
    from prefbench.report.changes import changes_since

    found = []
    for folder in folders or boards_since(against):
        changes = changes_since(folder, against)
        found += [{"board": str(folder), **dataclasses.asdict(change)} for change in changes]
        refused = sum(bool(change.refused) for change in changes)
        print(f"{folder}: changes: {len(changes)}, refused: {refused}", file=sys.stderr)
    print_rows(found, format.value, title=f"changes since {against}")
    if any(row["refused"] for row in found):
        raise typer.Exit(1)


def committed_boards() -> list[Path]:
    """The folders under leaderboards/ that hold records, sorted."""
    from prefbench.errors import PrefbenchError

    found = _boards_here()
    if not found:
        raise PrefbenchError(f"no board under {BOARDS}/ has records", "name a run folder or a board folder")
    return found


def boards_since(ref: str) -> list[Path]:
    """The boards under leaderboards/ that are there now or were there at a revision, sorted."""
    from prefbench.store.revision import revision

    then = {Path(BOARDS) / name.parts[0] for name in revision(Path(BOARDS), ref).names() if name.parts[1:2] == ("records",)}
    return sorted(then.union(_boards_here()))


def _boards_here() -> list[Path]:
    return sorted(path.parent for path in Path(BOARDS).glob("*/records") if any(path.glob("*.json")))


def board_of(run: Path) -> Path:
    """The board of a run's track. Raises PrefbenchError where the track's name, which may be a stranger's, is no folder's."""
    from prefbench.errors import PrefbenchError
    from prefbench.report.evidence import read_tables
    from prefbench.store.folder import Folder

    name = str(read_tables(Folder(run))["track"]["name"])
    if Path(name).name != name or name.startswith("."):
        raise PrefbenchError(f"{run}: the track's name {name!r} is no folder's name", "name the board with --to")
    return Path(BOARDS) / name


def harnesses_of(folder: Path, plugin: Sequence[Path] | None) -> dict[str, Harness]:
    """The harnesses of the folder's track."""
    from prefbench.registry import load_registry
    from prefbench.report.evidence import track_harnesses
    from prefbench.store.folder import Folder

    return track_harnesses(Folder(folder), load_registry(tuple(plugin or ())))
