"""Two engines of one machine: this process, and worker processes that stay warm between tasks."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from prefbench.engine.tasks import Event, Function, OnEvent, Queue, Task, describe_error, finish


def resolve(entry: str) -> Function:
    """The callable that ``module:name`` names."""
    module, name = entry.split(":")
    function: Function = getattr(importlib.import_module(module), name)
    return function


@dataclass
class InProcessEngine:
    """Runs tasks one after the other in this process: for debuggers, and for machines with a single core."""

    entry: str

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        """Run all tasks to their end, in the order given."""
        function, queue = resolve(self.entry), Queue(list(tasks))
        while task := queue.ready():
            on_event(Event("started", task.id))

            def report(progress: Mapping[str, Any], name: str = task.id) -> None:
                on_event(Event("progress", name, progress))

            try:
                event = Event("done", task.id, function(task.payload, report))
            except Exception as error:
                event = Event("failed", task.id, describe_error(error))
            finish(queue, event, on_event)

    def close(self) -> None:
        """Nothing is kept."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


class ProcessEngine:
    """Up to ``jobs`` worker processes, each started when there is work for it and kept until ``close``.

    Workers are spawned, not forked: a fork would copy the parent's threads in whatever state they are.
    """

    def __init__(self, entry: str, jobs: int) -> None:
        self.entry, self.jobs = entry, jobs
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        """Run all tasks to their end. A worker that dies costs the task that it had, and is replaced."""
        queue = Queue(list(tasks))
        while True:
            self._hand_out(queue, on_event)
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy:
                return
            for pipe in wait([worker.pipe for worker in busy]):
                self._hear(next(worker for worker in busy if worker.pipe is pipe), queue, on_event)

    def close(self) -> None:
        """End the workers; idle ones see their pipe close, busy ones are terminated."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers.clear()

    def _hand_out(self, queue: Queue, on_event: OnEvent) -> None:
        while (worker := self._idle()) is not None and (task := queue.ready()) is not None:
            worker.task = task
            on_event(Event("started", task.id))
            worker.pipe.send(task.payload)

    def _idle(self) -> _Worker | None:
        for worker in self._workers:
            if worker.task is None:
                return worker
        return self._start() if len(self._workers) < self.jobs else None

    def _start(self) -> _Worker:
        # OpenMP's threads spin while they wait; on a machine that others use too, long spinning made a step forty times slower.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(self.entry, theirs), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker, queue: Queue, on_event: OnEvent) -> None:
        assert worker.task is not None
        try:
            kind, data = worker.pipe.recv()
        except (EOFError, OSError):
            kind, data = "failed", self._bury(worker)
        event = Event(kind, worker.task.id, data)
        if kind == "progress":
            on_event(event)
            return
        worker.task = None
        finish(queue, event, on_event)

    def _bury(self, worker: _Worker) -> dict[str, Any]:
        worker.process.join(timeout=10)
        self._workers.remove(worker)
        return {"type": "WorkerDied", "message": f"the worker process ended with exit code {worker.process.exitcode}", "frames": []}


def serve(entry: str, pipe: Connection) -> None:
    """A worker's life: take a payload, run it, send back what came of it; until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    function = resolve(entry)
    while True:
        try:
            payload = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            result = "done", function(payload, lambda progress: pipe.send(("progress", progress)))
        except Exception as error:
            result = "failed", describe_error(error)
        pipe.send(result)
