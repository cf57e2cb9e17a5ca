"""A run before it begins: what the command line asks for, the track read, its cells with their states, and what is still to be tuned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

from prefbench.api import Source
from prefbench.config import Selection, Track, find_track, name_and_version, read_track
from prefbench.data.revisions import Commits, at_commits, commits_of
from prefbench.errors import PrefbenchError
from prefbench.judges.estimate import Estimate, estimate
from prefbench.plan import FAILED, FINISHED, Cell, CellState, Planner, cell_states
from prefbench.registry import Registry, load_registry
from prefbench.store.folder import Folder
from prefbench.train.device import compute_dtype
from prefbench.tune.trials import Trials, apply, studied_row, trial_track


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
    trials: Trials | None = None
    """Those of the rows that the tuner gives their settings; a row that has none yet is in the track's ``to_tune``, and has no cells."""
    later: int = 0
    """Cells that follow and are not known yet, because they depend on what comes of these."""
    after: Planned | None = None
    """The run that these trials are part of, and whose cells follow them."""

    @property
    def pending(self) -> list[Cell]:
        """The cells that a run would run; those that failed only where they are asked for."""
        left_alone = FINISHED if self.retry_failed else (*FINISHED, *FAILED)
        return [cell for cell in self.cells if self.states[cell.id].status not in left_alone]

    @property
    def due(self) -> bool:
        """Whether there is anything to run."""
        return bool(self.pending or self.track.to_tune)

    @property
    def unjudged(self) -> list[Cell]:
        """Those of them whose answers have no verdicts yet."""
        return [cell for cell in self.pending if "judge" not in self.states[cell.id].finished]

    @property
    def failed(self) -> dict[str, str]:
        """The errors of the cells that failed before and are left alone."""
        pending = {cell.id for cell in self.pending}
        return {id_: state.reason for id_, state in self.states.items() if state.status in FAILED and id_ not in pending}

    @property
    def paid_in(self) -> Path:
        """The folder in which judging is charged."""
        return self.after.folder.root if self.after else self.folder.root

    def looked_at_again(self) -> Planned:
        """With the states that the folder shows now."""
        return dataclasses.replace(self, states=cell_states(self.cells, self.folder))


def plan_run(options: RunOptions) -> Planned:
    """Read everything that a run needs to know, and start nothing. Raises PrefbenchError with every mistake of the track."""
    registry = load_registry(options.plugin_files)
    track = read_track(find_track(options.track), registry, options.selection)
    folder = Folder(options.out)
    refuse_other_track(folder, track)
    commits = commits_of(track, folder)
    track = at_commits(track, commits)
    dtype = compute_dtype(track.train.dtype, track.model.weights)
    Planner(track, registry, dtype).refuse_unknown_columns()
    trials = Trials(Planner(trial_track(track, registry), registry, dtype), folder) if track.to_tune else None
    if trials:
        track = apply(track, [(row, trials.choice(studied_row(track, row), options.retry_failed)) for row in track.to_tune])
    planner = Planner(track, registry, dtype)
    cells = tuple(planner.cells())
    later = len(track.to_tune) * len(track.seeds)
    return Planned(track, registry, planner, folder, cells, {}, options.retry_failed, commits, trials, later).looked_at_again()


def due_trials(planned: Planned) -> Planned:
    """All trials that are known by now as cells of a run in a folder of its own, judged at the expense of the run that they are part of."""
    trials = planned.trials
    assert trials is not None
    cells = tuple(cell for row in trials.planner.track.rows for cell in trials.cells(row))
    return dataclasses.replace(
        planned,
        track=trials.planner.track,
        planner=trials.planner,
        folder=trials.workplace,
        cells=cells,
        later=trials.count - len(cells),
        after=planned,
    ).looked_at_again()


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


def judge_estimate(planned: Planned, ready: Callable[[Source], None] = lambda _: None) -> Estimate | None:
    """What judging the pending cells costs at most, and those of the run that trials are part of; None where nothing is to be judged, or the
    judge has neither a price nor a limit.

    ``ready`` prepares the source, whose questions are counted; a plan goes without, which would fetch or train models.
    """
    parts = [_estimate(part, ready) for part in (planned, planned.after) if part]
    return reduce(Estimate.plus, found) if (found := [part for part in parts if part]) else None


def _estimate(planned: Planned, ready: Callable[[Source], None]) -> Estimate | None:
    named, count = planned.track.judge, len(planned.unjudged) + planned.later
    if named is None or not count:
        return None
    judge = planned.planner.judge(named)
    if judge.tariff is None:
        return None
    source = planned.planner.source()
    ready(source)
    return estimate(judge, planned.planner.harnesses(), source, count, planned.paid_in)
