"""Tasks, what is heard of them while they run, and the order in which they may start."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prefbench.errors import PrefbenchError

NEEDS_FAILED = "NeedsFailed"
"""The type of the error of a task that was never started, because one that it needs failed."""
FRAMES = 4
"""Frames of a traceback that are kept: the last ones, where the error is."""


@dataclass(frozen=True)
class Task:
    """A payload for the engine's callable, the tasks that must be done before, and those that must have ended before, however they did."""

    id: str
    payload: Any
    after: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """What happened to a task: ``started``, ``progress``, ``done``, ``failed`` or ``stopped``; ``data`` is the progress, result or error."""

    kind: str
    task: str
    data: Any = None


OnEvent = Callable[[Event], None]
Report = Callable[[Mapping[str, Any]], None]
"""How a task tells its progress. It raises TaskStoppedError when the run is to end; an empty report says nothing, and is a place to stop."""
Function = Callable[[Any, Report], Any]
"""What an engine calls: a payload and a way to report progress in; a picklable result out."""


class TaskStoppedError(BaseException):
    """Raised by a report when the run is to end. No Exception: a plugin that catches those must not swallow it."""


class WorkerSpentError(Exception):
    """Raised by a task that is done, with this result, but has left its process in no state to go on, as running out of memory does."""

    def __init__(self, result: Any) -> None:
        super().__init__("the worker is spent")
        self.result = result


@dataclass(frozen=True)
class Watch:
    """What an engine heeds while it runs tasks: when to stop, how long a task may say nothing, and where its output goes."""

    stop: Callable[[], str] = lambda: ""
    """The reason to stop; empty as long as there is none."""
    silence: float = math.inf
    """Seconds after which a worker that has said nothing is ended, and its task failed as ``Stalled``."""
    grace: float = 60.0
    """Seconds that workers have to stop by themselves, enough for the checkpoint of a large model."""
    log: Callable[[str], Path | None] = lambda task: None
    """The file for what a task prints, tracebacks included; it is removed where that is nothing."""


UNWATCHED = Watch()
"""Nothing stops, nothing is too silent, and output goes where it goes."""


class Engine(Protocol):
    """Runs tasks, each once, none before those that it needs."""

    watch: Watch

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        """Run all tasks to their end, or until there is a reason to stop. A task that fails stops those that need it, and no other."""
        ...

    def close(self) -> None:
        """End whatever the engine keeps warm."""
        ...


def describe_error(error: BaseException) -> dict[str, Any]:
    """An exception as data: type, message, and the last frames with file name and line; of a PrefbenchError its hint and exit code too."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    advice = {"hint": error.hint, "exit_code": error.exit_code} if isinstance(error, PrefbenchError) else {}
    return {
        **advice,
        "type": type(error).__name__,
        "message": str(error),
        "frames": [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} in {frame.name}" for frame in frames],
    }


@dataclass
class Queue:
    """Tasks in the order given; ``ready`` hands out the first whose needs are done."""

    waiting: list[Task]
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def ready(self) -> Task | None:
        """The next task that may start, taken out of the queue; None when all that wait need one that still runs."""
        for task in self.waiting:
            if self.done.issuperset(task.after) and (self.done | self.failed).issuperset(task.behind):
                self.waiting.remove(task)
                return task
        return None

    def drop_hopeless(self) -> list[tuple[Task, str]]:
        """Take out the tasks that need a failed one, with the name of that one; to be called until nothing comes back."""
        hopeless = [(task, need) for task in self.waiting for need in task.after if need in self.failed]
        dropped = {task.id: (task, need) for task, need in hopeless}
        self.waiting = [task for task in self.waiting if task.id not in dropped]
        self.failed |= set(dropped)
        return list(dropped.values())


def finish(queue: Queue, event: Event, on_event: OnEvent) -> None:
    """Note the end of a task, and of those that needed it in vain."""
    (queue.done if event.kind == "done" else queue.failed).add(event.task)
    on_event(event)
    while event.kind == "failed" and (dropped := queue.drop_hopeless()):
        for task, need in dropped:
            message = f"needs {need}, which failed: {event.data['message']}"
            hint = {"hint": event.data["hint"]} if event.data.get("hint") else {}
            on_event(Event("failed", task.id, {"type": NEEDS_FAILED, "message": message, "frames": event.data["frames"], **hint}))
