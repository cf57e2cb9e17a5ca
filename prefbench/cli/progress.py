"""Live progress on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from prefbench.engine.tasks import NEEDS_FAILED, Event
from prefbench.plan import described
from prefbench.planned import Planned


class Progress:
    """Hears the events of a run: cells finished, what each worker does (stage, step, loss, pairs per second), time left."""

    def __init__(self) -> None:
        self.running: dict[str, dict[str, Any]] = {}
        self.started: dict[str, float] = {}
        self.cells: set[str] = set()
        self.first_cell: float | None = None
        self.console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
            console=self.console,
        )  # fmt: skip
        self.total = self.bar.add_task("cells", total=None, left="")
        self.live = Live(console=self.console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def plan(self, planned: Planned) -> None:
        """The run is planned: say what it will do."""
        self.cells = {cell.id for cell in planned.pending}
        self.bar.update(self.total, total=len(self.cells))
        track = planned.track
        what = "trials of the tuner" if planned.after else "cells"
        counts = f"{len(self.cells)} of {len(planned.cells)} {what} to run"
        self.say(f"{track.name} version {track.version}: {counts}, into {planned.folder.root}")
        for location, commit in planned.commits.items():
            self.say(f"{location}: commit {commit}, which this folder keeps")
        for label, reason in track.skipped.items():
            self.say(f"skipped: {label}: {reason}")

    def event(self, event: Event) -> None:
        """Something happened to a task."""
        if event.kind == "started":
            self.started[event.task] = time.perf_counter()
            self.running[event.task] = {"since": self.started[event.task]}
            if event.task in self.cells and self.first_cell is None:
                self.first_cell = time.perf_counter()
        elif event.kind == "progress":
            self._progress(event.task, event.data)
        else:
            self._finished(event)

    def _progress(self, task: str, data: Mapping[str, Any]) -> None:
        if "warning" in data:
            self.say(f"{task}: {data['warning']}")
            return
        if "stage" in data:  # the steps belong to the stage before
            self.running[task] = {"since": time.perf_counter()}
        self.running[task].update(data)
        if "message" in data and not self.console.is_terminal:
            self.say(f"{task}: {data['message']}")

    def _finished(self, event: Event) -> None:
        self.running.pop(event.task, None)
        now = time.perf_counter()
        took = now - self.started.pop(event.task, now)
        if event.task in self.cells:
            self.bar.advance(self.total)
            self.bar.update(self.total, left=self._time_left())
        outcome = ended(event)
        if needs_failed(event):
            outcome = "not run, because what it needs failed"  # which was told when it did
        if outcome != "done" or not self.console.is_terminal:
            self.say(f"{event.task}: {outcome} ({took:.1f} s)")

    def _time_left(self) -> str:
        done = self.bar.tasks[0].completed
        if self.first_cell is None or not done:
            return ""
        left = (time.perf_counter() - self.first_cell) / done * (len(self.cells) - done)
        return f"about {left:.0f} s left"

    def _render(self) -> Group:
        return Group(*[Text(self._line(task, state)) for task, state in sorted(self.running.items())], self.bar)

    def _line(self, task: str, state: Mapping[str, Any]) -> str:
        parts = [task, str(state.get("message", state.get("stage", "")))]
        parts += [f"{state[counted]} {counted}" for counted in ("answers", "answers scored", "judgments") if counted in state]
        if "step" in state:
            rate = state["pairs"] / (time.perf_counter() - state["since"])
            parts += [f"step {state['step']}/{state['steps']}", f"loss {state['loss']:.4f}", f"{rate:.0f} pairs/s"]
        return "  ".join(part for part in parts if part)


def needs_failed(event: Event) -> bool:
    """Whether a task never began, because another one failed."""
    return event.kind == "failed" and event.data["type"] == NEEDS_FAILED


def ended(event: Event) -> str:
    """How a task ended, in a line: ``done``, ``stopped``, or its error."""
    error = event.data if event.kind == "failed" else getattr(event.data, "error", None)
    return described(error) if error else event.kind
