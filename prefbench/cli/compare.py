"""``prefbench compare``: which differences between rows, or between two runs, are more than luck."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.board import harnesses_of
from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows

if TYPE_CHECKING:
    from prefbench.report.comparison import Comparison


class FailIf(StrEnum):
    """The verdict that ends the command with exit code 1."""

    worse = "worse"
    changed = "changed"


def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Run or board folders of one track and version; of two, the second against the first.")
    ],
    baseline: Annotated[
        str | None,
        typer.Option(help="The row that all others are compared with, such as dpo or 'dpo + loss-ranked'; dpo for a single folder."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="The metric to compare; the one that ranks the board unless given.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the differences with their intervals into this PNG file.")] = None,
    fail_if: Annotated[
        FailIf | None, typer.Option(help="Exit with code 1 where a verdict is worse, or (changed) any but no decision.")
    ] = None,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the differences are printed; json and csv have every number.")] = Format.table,
) -> None:
    """Say which paired differences are better or worse, and how large a difference would have been found where there is no decision."""
    from prefbench.report.comparison import compare as compare_evidence
    from prefbench.report.comparison_rows import rows_for, title_of
    from prefbench.report.evidence import read_evidence
    from prefbench.report.rules import refuse_other_rules

    _refuse_repeats(folders)
    refuse_other_rules(folders)
    evidence = {folder: read_evidence(folder, harnesses_of(folder, plugin)) for folder in folders}
    found = compare_evidence(evidence, metric, baseline)
    print_rows(rows_for(found, format.value), format.value, title=title_of(found))
    for label in found.unpaired:
        print(f"not compared, only in {label}", file=sys.stderr)
    if plot is not None:
        _draw(found, plot)
    if fail_if is not None and _fails(found, fail_if):
        raise typer.Exit(1)


def _refuse_repeats(folders: Sequence[Path]) -> None:
    from prefbench.errors import PrefbenchError

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise PrefbenchError("a folder is named twice", "name each folder once; a single one is compared with its baseline row")


def _draw(found: Comparison, path: Path) -> None:
    from prefbench.report.plot import differences_forest
    from prefbench.store.files import write_bytes

    write_bytes(path, differences_forest(found))
    print(f"{path}: {len(found.rows)} differences drawn", file=sys.stderr)


def _fails(found: Comparison, fail_if: FailIf) -> bool:
    from prefbench.errors import PrefbenchError

    sides = [row.verdict.side for row in found.rows if row.verdict]
    if fail_if is FailIf.changed:
        return any(sides)
    if not found.metric.ascending:
        raise PrefbenchError(f"no side of {found.metric.name} is worse", "use --fail-if changed, or a metric of which more is better")
    return min(sides, default=0) < 0
