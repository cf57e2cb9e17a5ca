"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prefbench.planned import RunOptions

TrackName = Annotated[str, typer.Argument(help="A packaged track by name, or the path of a track file.")]
Out = Annotated[Path | None, typer.Option(file_okay=False, writable=True, help="Run folder; runs/TRACK unless given.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Run this method (again for more); one that the track does not know gets its defaults.")
]
Schedulers = Annotated[list[str] | None, typer.Option("--scheduler", help="Run the methods with this scheduler (again for more).")]
Seeds = Annotated[str | None, typer.Option(help="A number of seeds, or a list such as 0,3,7 or 7,; the track's own unless given.")]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", help="A plugin file that is not packaged (again for more).")]
Tune = Annotated[bool, typer.Option("--tune", help="Let the track's tuner choose learning rate and beta, also where the track has values.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run the cells again that failed before.")]


def run_options(
    track: str,
    out: Path | None,
    only: list[str] | None = None,
    schedulers: list[str] | None = None,
    seeds: str | None = None,
    plugin: list[Path] | None = None,
    retry_failed: bool = False,
    tune: bool = False,
) -> RunOptions:
    """The options that name a run; their defaults are the commands'."""
    from prefbench.config import Selection, seeds_from
    from prefbench.planned import RunOptions

    return RunOptions(
        track=track,
        out=out or Path("runs") / default_name(track),
        selection=Selection(tuple(only or ()), tuple(schedulers or ()), seeds_from(seeds) if seeds else (), tune),
        plugin_files=tuple(path.resolve() for path in plugin or ()),
        retry_failed=retry_failed,
    )


def default_name(track: str) -> str:
    """The run folder's name: of a file named track.toml, its folder's; else the file's, or the packaged track's."""
    path = Path(track)
    return path.resolve().parent.name if path.stem == "track" else path.stem
