"""``prefbench board``: check, show and render leaderboards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows

if TYPE_CHECKING:
    from prefbench.api import Harness

BOARDS = Path("leaderboards")
BoardFolder = Annotated[Path, typer.Argument(help="A run folder or a board folder.")]

board = typer.Typer(help="Check, show and render leaderboards.", no_args_is_help=True, rich_markup_mode=None)


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


def committed_boards() -> list[Path]:
    """The folders under leaderboards/ that hold records, sorted."""
    from prefbench.errors import PrefbenchError

    found = sorted(path.parent for path in BOARDS.glob("*/records") if any(path.glob("*.json")))
    if not found:
        raise PrefbenchError(f"no board under {BOARDS}/ has records", "name a run folder or a board folder")
    return found


def harnesses_of(folder: Path, plugin: Sequence[Path] | None) -> dict[str, Harness]:
    """The harnesses of the folder's track."""
    from prefbench.registry import load_registry
    from prefbench.report.evidence import track_harnesses
    from prefbench.store.folder import Folder

    return track_harnesses(Folder(folder), load_registry(tuple(plugin or ())))
