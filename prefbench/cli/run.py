"""``prefbench run``: train, answer, judge and score what is missing, and show the leaderboard."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import Only, Out, PluginFiles, RetryFailed, Schedulers, Seeds, TrackName, Tune, run_options
from prefbench.cli.tables import Format, print_rows

if TYPE_CHECKING:
    from prefbench.run import RunResult


def run(
    track: TrackName = "prefworld",
    out: Out = None,
    only: Only = None,
    scheduler: Schedulers = None,
    seeds: Seeds = None,
    plugin: PluginFiles = None,
    tune: Tune = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; measured unless given.")] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="One cell after the other in this process.")] = False,
    retry_failed: RetryFailed = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop after so many minutes; the same command goes on.")] = None,
    stall_minutes: Annotated[float, typer.Option(min=0.0, help="End a worker that has said nothing for so long.")] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="Run although the judge may use up the track's budget.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the seconds of each row's cells went.")] = False,
    format: Annotated[Format, typer.Option(help="How the leaderboard is printed.")] = Format.table,
) -> None:
    """Run a track: every method, scheduler and seed that its folder lacks; then print and write the leaderboard."""
    from prefbench.engine.server import begin_importing
    from prefbench.entry import ENTRY

    if not in_process:
        begin_importing(ENTRY)  # first: it takes seconds, as do the imports of this process
    from prefbench.cli.progress import Progress
    from prefbench.report.board import rows_for
    from prefbench.run import run as run_track

    options = dataclasses.replace(
        run_options(track, out, only, scheduler, seeds, plugin, retry_failed, tune),
        jobs=jobs,
        in_process=in_process,
        fail_fast=fail_fast,
        max_minutes=max_minutes,
        stall_minutes=stall_minutes,
        over_budget=yes,
        profile=profile,
    )
    with Progress() as progress:
        result = run_track(options, progress.event, progress.plan, progress.say)
    print_rows(rows_for(result.board, format.value), format.value, title=result.board.title)
    if profile:
        print_profile(options.out)
    progress.say(f"written to {options.out}: board.csv, README.md, forest.png, records, items")
    for message, cells in cells_by_message(result.failed).items():
        progress.say(f"failed: {', '.join(cells)}: {message}")
    if result.failed:
        progress.say("a failed cell runs again with --retry-failed; what its worker printed is under logs/ of the run folder")
    if result.stopped:
        progress.say(f"stopped: {result.stopped}; go on with:\n  {shlex.join(['prefbench', *sys.argv[1:]])}")
    if code := exit_code(result):
        raise typer.Exit(code)


def print_profile(folder: Path) -> None:
    """Mean seconds of a cell by what they were spent on; to stderr, because the leaderboard is what the command prints."""
    from prefbench.report.profile import profile_rows
    from prefbench.store.folder import Folder

    with redirect_stdout(sys.stderr):
        print_rows(
            profile_rows(list(Folder(folder).records().values())), Format.table.value, title="Mean seconds of a cell trained with --profile"
        )


def cells_by_message(failed: Mapping[str, str]) -> dict[str, list[str]]:
    """The cells that failed, by what they failed of: what all of them need fails once, and is told once."""
    cells: dict[str, list[str]] = {}
    for cell, message in failed.items():
        cells.setdefault(message, []).append(cell)
    return cells


def exit_code(result: RunResult) -> int:
    """130 after Ctrl-C (128 and the number of any other signal), 1 when cells failed, 4 when the time was up, else 0."""
    if result.signal:
        return 128 + result.signal
    if result.failed:
        return 1
    return 4 if result.stopped else 0
