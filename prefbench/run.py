"""Walks a plan through an engine: shared work first, then the cells that are missing, then the board."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from filelock import FileLock, Timeout

from prefbench.api import Source
from prefbench.cache import cache_folder
from prefbench.config import Selection, Track, find_track, name_and_version, read_track, resolved
from prefbench.data.revisions import Commits, at_commits, commits_of, frozen, keep_commits
from prefbench.engine.local import InProcessEngine, ProcessEngine
from prefbench.engine.stop import StopRequest, heeding_signals
from prefbench.engine.tasks import Engine, Event, OnEvent, Task, Watch
from prefbench.entry import ENTRY
from prefbench.errors import PrefbenchError
from prefbench.evaluate.vllm_backend import refuse_missing
from prefbench.identity import digest
from prefbench.judges.estimate import Estimate, estimate
from prefbench.ledger import Ledger
from prefbench.orders import Order, Site
from prefbench.plan import FAILED, FINISHED, Cell, CellState, Planner, cell_states
from prefbench.record import Circumstances
from prefbench.registry import Registry, load_registry
from prefbench.report.board import Board, render
from prefbench.report.plot import canvas_and_figure
from prefbench.store.files import storage_error, sweep, write_text
from prefbench.store.folder import Folder
from prefbench.store.heal import heal
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.device import Share, Workload, compute_dtype, device, device_name, gpus, usable_cores
from prefbench.worklist import worklist

DAY = 86400.0
"""Seconds after which what stands half-written in the shared cache is nobody's any more."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line gives: a track by name or path, the run folder, what to change of them, and when to stop."""

    track: str = "prefworld"
    out: Path = Path("runs/prefworld")
    selection: Selection = field(default_factory=Selection)
    plugin_files: tuple[Path, ...] = ()
    jobs: int | None = None
    in_process: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    max_minutes: float | None = None
    stall_minutes: float = 60.0
    over_budget: bool = False
    profile: bool = False


@dataclass(frozen=True)
class Planned:
    """A track read, its plugins found, and its cells with their states in the run folder."""

    track: Track
    registry: Registry
    planner: Planner
    folder: Folder
    cells: tuple[Cell, ...]
    states: dict[str, CellState]
    retry_failed: bool = False
    commits: Commits = field(default_factory=dict)
    """What the branches and tags that the track file names were resolved to; the track here names commits alone."""

    @property
    def pending(self) -> list[Cell]:
        """The cells that a run would run; those that failed only where they are asked for."""
        left_alone = FINISHED if self.retry_failed else (*FINISHED, *FAILED)
        return [cell for cell in self.cells if self.states[cell.id].status not in left_alone]

    @property
    def unjudged(self) -> list[Cell]:
        """Those of them whose answers have no verdicts yet."""
        return [cell for cell in self.pending if "judge" not in self.states[cell.id].finished]

    @property
    def failed(self) -> dict[str, str]:
        """The errors of the cells that failed before and are left alone."""
        pending = {cell.id for cell in self.pending}
        return {id_: state.reason for id_, state in self.states.items() if state.status in FAILED and id_ not in pending}

    def looked_at_again(self) -> Planned:
        """With the states that the folder shows now."""
        return dataclasses.replace(self, states=cell_states(self.cells, self.folder))


@dataclass(frozen=True)
class RunResult:
    """The board, the cells that failed with their errors, and why and by which signal the run was stopped before its end, if it was."""

    board: Board
    failed: dict[str, str]
    stopped: str = ""
    signal: int | None = None


def plan_run(options: RunOptions) -> Planned:
    """Read everything that a run needs to know, and start nothing. Raises PrefbenchError with every mistake of the track."""
    registry = load_registry(options.plugin_files)
    track = read_track(find_track(options.track), registry, options.selection)
    folder = Folder(options.out)
    refuse_other_track(folder, track)
    commits = commits_of(track, folder)
    track = at_commits(track, commits)
    planner = Planner(track, registry, compute_dtype(track.train.dtype, track.model.weights))
    planner.refuse_unknown_columns()
    return Planned(track, registry, planner, folder, tuple(planner.cells()), {}, options.retry_failed, commits).looked_at_again()


def refuse_other_track(folder: Folder, track: Track) -> None:
    """Raises PrefbenchError when a run folder holds results of another track or version, or no run: their files would be written over."""
    if not folder.track.exists():
        if folder.root.exists() and any(not path.name.startswith(".") for path in folder.root.iterdir()):
            raise PrefbenchError(f"{folder.root} holds files, and is no run folder: it has no track.toml", "give another folder with --out")
        return
    name, version = name_and_version(folder.track)
    if (name, version) != (track.name, track.version):
        raise PrefbenchError(
            f"{folder.root} holds track {name} version {version}, not {track.name} version {track.version}",
            "give another folder with --out",
        )


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
    planned = plan_run(options)
    if planned.pending and planned.track.answers.backend == "vllm":
        refuse_missing()  # now, and not behind a training
    request = StopRequest(None if options.max_minutes is None else time.monotonic() + 60 * options.max_minutes)
    with alone_in(planned.folder), heeding_signals(request):
        heal(planned.folder)
        planned = planned.looked_at_again()
        if not planned.folder.track.exists() or not planned.pending:
            keep_track(planned)
        on_plan(planned)
        if planned.unjudged and planned.track.judge:
            planned.planner.judge(planned.track.judge).opened(planned.folder.root)  # without its key nothing is trained
        failed = planned.failed | (_run_pending(planned, options, request, on_event, on_estimate) if planned.pending else {})
        board = render(planned.folder.root, planned.planner.harnesses())
    return RunResult(board, failed, request.reason, request.signal)


def keep_track(planned: Planned) -> None:
    """Copy the track file into the run folder, which says by it whose results it holds: with commits in the place of branches and tags."""
    write_text(planned.folder.track, frozen(planned.track.path, planned.commits))


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


def judge_estimate(planned: Planned, ready: Callable[[Source], None] = lambda _: None) -> Estimate | None:
    """What judging the pending cells costs at most; None where nothing is to be judged, or the judge has neither a price nor a limit.

    ``ready`` prepares the source, whose questions are counted; a plan goes without, which would fetch or train models.
    """
    named = planned.track.judge
    if named is None or not planned.unjudged:
        return None
    judge = planned.planner.judge(named)
    if judge.tariff is None:
        return None
    source = planned.planner.source()
    ready(source)
    return estimate(judge, planned.planner.harnesses(), source, len(planned.unjudged), planned.folder.root)


def refuse_expensive(planned: Planned, over_budget: bool, on_estimate: Callable[[str], None]) -> None:
    """Tell what judging costs. Raises PrefbenchError where it may exceed the track's budget and that was not agreed to."""
    found = judge_estimate(planned, lambda source: source.prepare(cache_folder(), lambda _: None))
    if found is None:
        return
    on_estimate(found.in_words())
    refusal = found.refusal()
    if refusal and not over_budget:
        raise refusal


def _run_pending(
    planned: Planned, options: RunOptions, request: StopRequest, on_event: OnEvent, on_estimate: Callable[[str], None]
) -> dict[str, str]:
    """Run the pending cells; the errors of those that failed."""
    site = Site(planned.track, options.plugin_files, planned.folder.root, cache_folder(), planned.planner.dtype)
    watch = Watch(request, 60 * options.stall_minutes, log=planned.folder.log_path)
    engine: Engine = InProcessEngine(ENTRY, watch) if options.in_process else ProcessEngine(ENTRY, 1, watch, gpus())
    Thread(target=_import_plotting).start()  # while this process waits for its workers
    try:
        sweep(site.cache, seconds=DAY)
        # Preparing may train a model. Two threads, where there are two: its bits are not to follow the machine's load.
        engine.run([Task("prepare", Order("prepare", site, min(2, usable_cores())))], _must_succeed(on_event))
        keep_track(planned)  # not before: data that cannot be used leave the rules of a finished run as they are
        keep_commits(planned.folder, planned.commits)  # nor before: of data that are mended, the next run takes the new commit
        refuse_expensive(planned, options.over_budget, on_estimate)
        share = choose(planned, site, options, engine, on_event)
        if isinstance(engine, ProcessEngine):
            engine.jobs = share.jobs
        ledger = Ledger(
            planned.folder, planned.pending, Circumstances(planned.track, site.dtype, share.threads), request, options.fail_fast
        )
        engine.run(worklist(planned.pending, planned.planner, site, share, options.profile), lambda event: ledger.hear(event, on_event))
    finally:
        engine.close()
    if ledger.storage:
        raise ledger.storage
    return ledger.failed


def _import_plotting() -> None:
    """For the board, which tells of whatever may be wrong with it."""
    with suppress(Exception):
        canvas_and_figure()


def choose(planned: Planned, site: Site, options: RunOptions, engine: Engine, on_event: OnEvent) -> Share:
    """How the cores are shared out: chosen by measuring once, stored with the run, and reused when it goes on."""
    cores = usable_cores()
    if device().type == "cuda":
        jobs = options.jobs or _cells_at_once(planned, site, options, engine, on_event)
        threads = max(1, cores // jobs)
        return Share(jobs, threads, threads)
    if options.in_process:
        return Share(1, 1, 1)
    stored = read_or_set_aside(planned.folder.choices, read_sealed) or {}
    if (stored.get("cores"), stored.get("most_jobs")) == (cores, options.jobs):
        return Share(stored["jobs"], stored["threads"], stored.get("alone", stored["threads"]))
    workload = Workload(cores, len(planned.pending), options.jobs or cores)
    measured = _measured(planned, site, engine, workload, on_event)
    if not measured:
        return Share(1, 1, 1)
    share = workload.choose(measured)
    seconds = {str(count): found for count, found in measured.items()}
    write_sealed(planned.folder.choices, {"cores": cores, "most_jobs": options.jobs, "seconds_by_threads": seconds, **vars(share)})
    return share


def _measured(planned: Planned, site: Site, engine: Engine, workload: Workload, on_event: OnEvent) -> dict[int, float]:
    """Seconds of a step by the thread counts that could pay; nothing is measured where one thread per core is best whatever comes out.

    Empty where the run was stopped meanwhile.
    """
    candidates = workload.candidates()
    if candidates == [1] or not any(cell.trained for cell in planned.pending):
        return {1: 0.0}
    # Kept per machine and track, so that a second run chooses alike: other threads may sum in another order.
    track, adapters = planned.track, planned.track.lora
    rules = {"train": resolved(track.train), "model": resolved(track.model), "lora": adapters and resolved(adapters), "dtype": site.dtype}
    machine = {"cores": usable_cores(), "torch": torch.__version__}
    key = digest({"source": dict(planned.planner.source().identity()), **rules, **machine})
    path = site.cache / "measured" / f"{key}.json"
    known = {int(threads): seconds for threads, seconds in (read_or_set_aside(path, read_sealed) or {}).items()}
    if not known.keys() >= set(candidates):
        found = _result(Order("measure", site, 1, seed=planned.track.seeds[0], candidates=tuple(candidates)), engine, on_event)
        if found is None:
            return {}
        known.update(found)
        write_sealed(path, {str(threads): seconds for threads, seconds in known.items()})
    return {threads: known[threads] for threads in candidates}


def _cells_at_once(planned: Planned, site: Site, options: RunOptions, engine: Engine, on_event: OnEvent) -> int:
    """Worker processes of all GPUs: for each as many as its memory holds cells, so that one trains while another's answers are judged."""
    trained = [cell for cell in planned.pending if cell.trained]
    if options.in_process or not trained:
        return 1
    stored = read_or_set_aside(planned.folder.choices, read_sealed) or {}
    if stored.get("gpu") != device_name():
        fit = _result(Order("room", site, usable_cores(), seed=planned.track.seeds[0]), engine, on_event)
        if fit is None:
            return 1
        stored = {"gpu": device_name(), "cells_at_once": fit}
        write_sealed(planned.folder.choices, stored)
    return min(len(gpus()) * int(stored["cells_at_once"]), len(trained))


def _result(order: Order, engine: Engine, on_event: OnEvent) -> Any:
    """What a worker answers to one order that every cell needs; None where the run was stopped meanwhile."""
    found: list[Any] = []

    def listen(event: Event) -> None:
        if event.kind == "done":
            found.append(event.data)
        on_event(event)

    engine.run([Task(order.kind, order)], _must_succeed(listen))
    return None if engine.watch.stop() else found[0]


def _must_succeed(on_event: OnEvent) -> OnEvent:
    """Passes events on; a failure of work that every cell needs ends the run."""

    def listen(event: Event) -> None:
        on_event(event)
        if event.kind == "failed":
            frames = "; ".join(event.data["frames"][-2:])
            hint = event.data.get("hint") or (frames and f"raised at {frames}")
            raise PrefbenchError(f"{event.task}: {event.data['message']}", hint, event.data.get("exit_code", 1))

    return listen
