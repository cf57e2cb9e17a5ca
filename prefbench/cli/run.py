"""``prefbench run``: train, answer, judge and score what is missing, and show the leaderboard."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from prefbench.cli.options import Only, Out, PluginFiles, Schedulers, Seeds, TrackName, run_options
from prefbench.cli.tables import Format, print_rows


def run(
    track: TrackName = "prefworld",
    out: Out = None,
    only: Only = None,
    scheduler: Schedulers = None,
    seeds: Seeds = None,
    plugin: PluginFiles = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; measured unless given.")] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="One cell after the other in this process.")] = False,
    format: Annotated[Format, typer.Option(help="How the leaderboard is printed.")] = Format.table,
) -> None:
    """Run a track: every method, scheduler and seed that its folder lacks; then print and write the leaderboard."""
    from prefbench.cli.progress import Progress
    from prefbench.report.board import rows_for
    from prefbench.run import run as run_track

    options = dataclasses.replace(run_options(track, out, only, scheduler, seeds, plugin), jobs=jobs, in_process=in_process)
    with Progress() as progress:
        result = run_track(options, progress.event, progress.plan)
    print_rows(rows_for(result.board, format.value), format.value, title=result.board.title)
    progress.say(f"written to {options.out}: board.csv, README.md, forest.png, records, items")
    for cell, message in result.failed.items():
        progress.say(f"failed: {cell}: {message}")
    if result.failed:
        raise typer.Exit(1)
