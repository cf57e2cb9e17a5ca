"""A run from its plan to its board: what is to be tuned is tuned, what is missing is run, and the leaderboard is written."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from filelock import FileLock, Timeout

from prefbench.crew import Crew
from prefbench.data.revisions import frozen, keep_commits
from prefbench.engine.stop import StopRequest, heeding_signals
from prefbench.engine.tasks import OnEvent
from prefbench.errors import PrefbenchError
from prefbench.evaluate.vllm_backend import refuse_missing
from prefbench.planned import Planned, RunOptions, plan_run
from prefbench.report.board import Board, render
from prefbench.store.files import storage_error, write_text
from prefbench.store.folder import Folder
from prefbench.store.heal import heal
from prefbench.train.device import device_name, usable_cores
from prefbench.tuning import tune, untuned


@dataclass(frozen=True)
class RunResult:
    """The board, the cells that failed with their errors, and why and by which signal the run was stopped before its end, if it was."""

    board: Board
    failed: dict[str, str]
    stopped: str = ""
    signal: int | None = None


def run(
    options: RunOptions,
    on_event: OnEvent,
    on_plan: Callable[[Planned], None] = lambda _: None,
    on_estimate: Callable[[str], None] = lambda _: None,
) -> RunResult:
    """Run what is missing and write the board. Cells that fail are rows with their error, never the end of the run.

    Raises PrefbenchError where another run is at work in the folder, or where what every cell needs fails; StorageError where files cannot
    be written.
    """
    begun = time.monotonic()
    planned = plan_run(options)
    if planned.due and planned.track.answers.backend == "vllm":
        refuse_missing()  # now, and not behind a training
    request = StopRequest(None if options.max_minutes is None else time.monotonic() + 60 * options.max_minutes)
    with alone_in(planned.folder), heeding_signals(request):
        heal(planned.folder)
        planned = planned.looked_at_again()
        if not planned.folder.track.exists() or not planned.due:
            keep_track(planned)
        if planned.due and planned.track.judge and (planned.unjudged or planned.track.to_tune):
            planned.planner.judge(planned.track.judge).opened(planned.folder.root)  # without its key nothing is trained
        failed = planned.failed
        if planned.due:
            crew = Crew(options, request, on_event, on_estimate)
            planned, failed = _run_due(planned, options, crew, on_plan)
            note_session(planned.folder, time.monotonic() - begun, crew.ended)
        else:
            on_plan(planned)
        board = render(planned.folder.root, planned.planner.harnesses())
    return RunResult(board, failed, request.reason, request.signal)


def _run_due(planned: Planned, options: RunOptions, crew: Crew, on_plan: Callable[[Planned], None]) -> tuple[Planned, dict[str, str]]:
    """Tune what is to be tuned, then run the pending cells; the plan that was carried out, and the errors of what failed."""
    try:
        if planned.track.to_tune:
            tune(planned, crew, on_plan, partial(_keep_rules, planned))
            planned = plan_run(dataclasses.replace(options, retry_failed=False))
            planned = dataclasses.replace(planned, retry_failed=options.retry_failed)
        failed = planned.failed | ({} if crew.request() else untuned(planned))
        on_plan(planned)
        if planned.pending and not crew.request():
            failed |= crew.run(planned, partial(_keep_rules, planned))
        return planned, failed
    finally:
        crew.close()


def _keep_rules(planned: Planned) -> None:
    """Put the track and its commits into the folder. Not before its data are known to be usable: data that cannot be used leave the rules of a
    finished run as they are, and of data that are mended the next run takes the new commit."""
    keep_track(planned)
    keep_commits(planned.folder, planned.commits)


def note_session(folder: Folder, seconds: float, ended: Mapping[str, int]) -> None:
    """Add what this run took to those of the folder: a board says what it cost."""
    if ended:
        line = {
            "seconds": round(seconds, 1),
            "device": device_name(),
            "cores": usable_cores(),
            "cells": ended["cells"],
            "trials": ended["trials"],
        }
        before = folder.sessions.read_text(encoding="utf-8") if folder.sessions.exists() else ""
        write_text(folder.sessions, f"{before}{json.dumps(line)}\n")


def keep_track(planned: Planned) -> None:
    """Copy the track file into the run folder, which says by it whose results it holds: with commits in the place of branches and tags.

    Of a ``track.toml`` in a folder of its own it takes along the claims that stand beside it.
    """
    write_text(planned.folder.track, frozen(planned.track.path, planned.commits))
    claims = Folder(planned.track.path.parent).claims
    if planned.track.path.name == planned.folder.track.name and claims.exists():
        write_text(planned.folder.claims, claims.read_text(encoding="utf-8"))


@contextmanager
def alone_in(folder: Folder) -> Iterator[None]:
    """Keep other runs out of a run folder. Raises PrefbenchError where one is at work in it."""
    lock = FileLock(folder.root / ".lock")
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise PrefbenchError(
            f"another `prefbench run` is at work in {folder.root}", "wait until it ends, or give another folder with --out"
        ) from None
    except OSError as error:
        raise storage_error(folder.root, error) or error from None
    try:
        yield
    finally:
        lock.release()
