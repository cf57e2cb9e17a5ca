"""``prefbench plugins``: every plugin, what it provides, or why it cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows
from prefbench.registry import PluginRow, check_plugins, list_plugins


def plugins(
    check: Annotated[bool, typer.Option("--check", help="Import each one, and remember the outcome.")] = False,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the plugins are printed.")] = Format.table,
) -> None:
    """List the plugins, from metadata and the last check; with --check import each, and exit with code 3 when one is broken."""
    files = plugin or []
    rows = _checked(files) if check else list_plugins(files)
    print_rows([_cells(row) for row in rows], format.value)
    if not check and any(row.status == "unchecked" for row in rows):
        print("unchecked: not imported since it last changed; `prefbench plugins --check` does that", file=sys.stderr)
    if check and any(row.status == "broken" for row in rows):
        raise typer.Exit(3)


def _checked(files: Sequence[Path]) -> list[PluginRow]:
    rows, unwritable = check_plugins(files)
    if unwritable:
        print(f"note: the outcome could not be remembered: {unwritable}", file=sys.stderr)
    return rows


def _cells(row: PluginRow) -> dict[str, object]:
    return {
        "plugin": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "status": row.status,
        "provides": row.provides if row.status == "ok" else (),
        "reason": row.reason,
        "where": row.where,
    }
