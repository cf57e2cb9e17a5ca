"""Walks a plan through an engine: shared work first, then the cells that are missing, then the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from prefbench.cache import cache_folder
from prefbench.cell import Order
from prefbench.config import Selection, Track, find_track, name_and_version, read_track
from prefbench.engine.local import InProcessEngine, ProcessEngine
from prefbench.engine.tasks import Engine, Event, OnEvent, Task
from prefbench.errors import PrefbenchError
from prefbench.identity import digest
from prefbench.plan import Cell, CellState, Planner, cell_state
from prefbench.registry import Registry, load_registry
from prefbench.report.board import Board, render
from prefbench.store.files import read_json, write_json, write_text
from prefbench.store.folder import Folder
from prefbench.train.device import Workload, compute_dtype, usable_cores
from prefbench.workshop import Site

ENTRY = "prefbench.cell:execute"
FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class RunOptions:
    """What the command line gives: a track by name or path, the run folder, and what to change of them."""

    track: str = "prefworld"
    out: Path = Path("runs/prefworld")
    selection: Selection = field(default_factory=Selection)
    plugin_files: tuple[Path, ...] = ()
    jobs: int | None = None
    in_process: bool = False


@dataclass(frozen=True)
class Planned:
    """A track read, its plugins found, and its cells with their states in the run folder."""

    track: Track
    registry: Registry
    planner: Planner
    folder: Folder
    cells: tuple[Cell, ...]
    states: dict[str, CellState]

    @property
    def pending(self) -> list[Cell]:
        """The cells that a run would run."""
        return [cell for cell in self.cells if self.states[cell.id].status not in FINISHED]


@dataclass(frozen=True)
class RunResult:
    """The board, and the cells that did not end well, with their errors."""

    board: Board
    failed: dict[str, str]


def plan_run(options: RunOptions) -> Planned:
    """Read everything that a run needs to know, and start nothing. Raises PrefbenchError with every mistake of the track."""
    registry = load_registry(options.plugin_files)
    track = read_track(find_track(options.track), registry, options.selection)
    planner = Planner(track, registry, compute_dtype(track.train.dtype))
    folder = Folder(options.out)
    refuse_other_track(folder, track)
    cells = tuple(planner.cells())
    return Planned(track, registry, planner, folder, cells, {cell.id: cell_state(cell, folder) for cell in cells})


def refuse_other_track(folder: Folder, track: Track) -> None:
    """Raises PrefbenchError when a run folder holds results of another track or version, or no run: their files would be written over."""
    if not folder.track.exists():
        if folder.root.exists() and any(folder.root.iterdir()):
            raise PrefbenchError(f"{folder.root} holds files, and is no run folder: it has no track.toml", "give another folder with --out")
        return
    name, version = name_and_version(folder.track)
    if (name, version) != (track.name, track.version):
        raise PrefbenchError(
            f"{folder.root} holds track {name} version {version}, not {track.name} version {track.version}",
            "give another folder with --out",
        )


def run(options: RunOptions, on_event: OnEvent, on_plan: Callable[[Planned], None] = lambda _: None) -> RunResult:
    """Run what is missing and write the board. Cells that fail are rows with their error, never the end of the run."""
    planned = plan_run(options)
    on_plan(planned)
    failures = _Failures(on_event)
    if planned.pending:
        _run_pending(planned, options, failures)
    else:
        _keep_track(planned)
    board = render(planned.folder.root, planned.planner.harnesses())
    return RunResult(board, failures.messages)


def _keep_track(planned: Planned) -> None:
    write_text(planned.folder.track, planned.track.path.read_text(encoding="utf-8"))


def _run_pending(planned: Planned, options: RunOptions, on_event: OnEvent) -> None:
    site = Site(planned.track, options.plugin_files, planned.folder.root, cache_folder(), planned.planner.dtype)
    engine: Engine = InProcessEngine(ENTRY) if options.in_process else ProcessEngine(ENTRY, 1)
    try:
        cores = usable_cores()
        # Preparing may train a model. Two threads, where there are two: a fixed number, so that its bits do not follow the machine's load.
        engine.run([Task("prepare", Order("prepare", site, min(2, cores)))], _must_succeed(on_event))
        _keep_track(planned)  # not before: data that cannot be used leave the rules of a finished run as they are
        jobs, threads = choose(planned, site, options, engine, on_event)
        if isinstance(engine, ProcessEngine):
            engine.jobs = jobs
        engine.run(tasks(planned.pending, site, threads), on_event)
    finally:
        engine.close()


def choose(planned: Planned, site: Site, options: RunOptions, engine: Engine, on_event: OnEvent) -> tuple[int, int]:
    """(worker processes, threads of each): chosen by measuring once, stored with the run, and reused when it goes on."""
    cores = usable_cores()
    if torch.cuda.is_available():  # one worker has the GPU to itself unless more are asked for
        return options.jobs or 1, max(1, cores // (options.jobs or 1))
    if options.in_process:
        return 1, 1
    stored = read_json(planned.folder.choices) if planned.folder.choices.exists() else {}
    if (stored.get("cores"), stored.get("most_jobs")) == (cores, options.jobs):
        return stored["jobs"], stored["threads"]
    workload = Workload(cores, len(planned.pending), options.jobs or cores)
    measured = _measured(planned, site, engine, workload, on_event)
    jobs, threads = workload.choose(measured)
    choice = {"cores": cores, "most_jobs": options.jobs, "seconds_by_threads": measured, "jobs": jobs, "threads": threads}
    write_json(planned.folder.choices, choice)
    return jobs, threads


def _measured(planned: Planned, site: Site, engine: Engine, workload: Workload, on_event: OnEvent) -> dict[int, float]:
    """Seconds of a step by the thread counts that could pay; nothing is measured where one thread per core is best whatever comes out."""
    candidates = workload.candidates()
    if candidates == [1] or not any(cell.trained for cell in planned.pending):
        return {1: 0.0}
    # Kept per machine and track, so that a second run chooses alike: other threads may sum in another order.
    key = digest({"source": dict(planned.planner.source().identity()), "cores": usable_cores(), "torch": torch.__version__})
    path = site.cache / "measured" / f"{key}.json"
    known = {int(threads): seconds for threads, seconds in read_json(path).items()} if path.exists() else {}
    if not known.keys() >= set(candidates):

        def listen(event: Event) -> None:
            if event.kind == "done":
                known.update(event.data)
            on_event(event)

        order = Order("measure", site, 1, seed=planned.track.seeds[0], candidates=tuple(candidates))
        engine.run([Task("measure", order)], _must_succeed(listen))
        write_json(path, known)
    return {threads: known[threads] for threads in candidates}


def tasks(cells: Sequence[Cell], site: Site, threads: int) -> list[Task]:
    """The data of each seed and the calibration of each harness, once; then the cells, each after what it needs."""
    calibrations = [
        Task(f"calibrate {named.name}", Order("calibrate", site, threads, harness=named.name)) for named in site.track.harnesses
    ]
    seeds = dict.fromkeys(cell.seed for cell in cells if cell.trained)
    data = [Task(f"data s{seed}", Order("data", site, threads, seed=seed)) for seed in seeds]
    needs = tuple(task.id for task in calibrations)
    # Data of the first seed, then calibration, then the other seeds' data: the first cells can start while the rest is made.
    shared = [*data[:1], *calibrations, *data[1:]]
    return shared + [
        Task(cell.id, Order("cell", site, threads, seed=cell.seed, cell=cell), (*needs, f"data s{cell.seed}") if cell.trained else needs)
        for cell in cells
    ]


def _must_succeed(on_event: OnEvent) -> OnEvent:
    """Passes events on; a failure of work that every cell needs ends the run."""

    def listen(event: Event) -> None:
        on_event(event)
        if event.kind == "failed":
            frames = "; ".join(event.data["frames"][-2:])
            hint = event.data.get("hint") or (frames and f"raised at {frames}")
            raise PrefbenchError(f"{event.task}: {event.data['message']}", hint, event.data.get("exit_code", 1))

    return listen


class _Failures:
    """Passes events on, and keeps what went wrong with cells."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self.messages: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        error: dict[str, Any] | None = event.data if event.kind == "failed" else None
        if event.kind == "done" and isinstance(event.data, dict) and event.data.get("status") in ("failed", "oom"):
            error = event.data["error"]
        if error is not None:
            hint = f"; {error['hint']}" if error.get("hint") else ""
            self.messages[event.task] = f"{error['type']}: {error['message']}{hint}"
        self.on_event(event)
