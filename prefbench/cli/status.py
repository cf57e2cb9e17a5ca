"""``prefbench status``: what a run folder holds, without reading a track or loading a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.cli.tables import Format, print_rows


def status(
    folder: Annotated[Path, typer.Argument(help="A run folder or a board folder.")] = Path("runs/prefworld"),
    format: Annotated[Format, typer.Option(help="How the cells are printed.")] = Format.table,
) -> None:
    """Show the records of a run folder: status, seconds, memory and errors."""
    from prefbench.errors import PrefbenchError
    from prefbench.store.folder import Folder

    records = Folder(folder).records()
    if not records:
        raise PrefbenchError(f"{folder} has no records", "start one with `prefbench run`, or name another folder")
    print_rows([describe(record) for record in records.values()], format.value, title=str(folder))


def describe(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in one row."""
    from prefbench.plan import described
    from prefbench.report.profile import train_seconds

    clocks, error, peak = record["clocks"], record["error"], record["peak_memory_bytes"]
    return {
        "cell": record["cell"],
        "status": record["status"],
        "train s": round(train_seconds(clocks), 3) or None,
        "total s": round(sum(clocks.values()), 1),
        "peak MiB": None if peak is None else round(peak / 2**20),
        "error": "" if error is None else described(error),
        "log": "" if error is None else error["log"],
    }
