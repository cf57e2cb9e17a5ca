"""``prefbench claims``: what a board says of the claims of papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.board import harnesses_of
from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows


def claims(
    track: Annotated[str, typer.Argument(help="A board of leaderboards/ by its track's name, or a board or run folder.")],
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the verdicts are printed; json and csv have every number.")] = Format.table,
) -> None:
    """Say of every claim in a board's claims.toml whether it holds on that track, does not hold, or is undecided and why."""
    from prefbench.errors import PrefbenchError
    from prefbench.report.evidence import read_evidence
    from prefbench.report.finding_rows import rows_for, title_of
    from prefbench.report.findings import read_findings

    folder = board_folder(track)
    evidence = read_evidence(folder, harnesses_of(folder, plugin))
    if not evidence.claims.claims:
        raise PrefbenchError(f"{folder} has no claims", f"write them into {folder / 'claims.toml'}: docs/claims.md")
    found = read_findings(evidence)
    print_rows(rows_for(found, format.value), format.value, title=title_of(evidence.title, evidence.claims.scale, found))


def board_folder(track: str) -> Path:
    """The folder itself, or the board of that name."""
    from prefbench.report.structure import BOARDS

    found = Path(BOARDS) / track
    return found if found.is_dir() and not Path(track, "track.toml").exists() else Path(track)
