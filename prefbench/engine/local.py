"""Two engines of one machine: this process, and worker processes that stay warm between tasks."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from prefbench.engine.memory import kills_for_memory
from prefbench.engine.server import begin_importing, context
from prefbench.engine.tasks import UNWATCHED, Event, OnEvent, Queue, Task, TaskStoppedError, Watch, WorkerSpentError, describe_error, finish
from prefbench.engine.worker import append, resolve, serve

STARTUP = 120.0
"""Seconds that a new worker may take to import what it needs, before its silence counts."""
POLL = 0.2
"""Seconds between two looks at the reasons to stop and at silent workers."""


@dataclass
class InProcessEngine:
    """Runs tasks one after the other in this process: for debuggers, and for machines with a single core. It cannot end a task that hangs."""

    entry: str
    watch: Watch = UNWATCHED

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        """Run all tasks, in the order given, to their end or until there is a reason to stop."""
        queue = Queue(list(tasks))
        while not self.watch.stop() and (task := queue.ready()):
            on_event(Event("started", task.id))
            finish(queue, self._run(task, on_event), on_event)

    def _run(self, task: Task, on_event: OnEvent) -> Event:
        def report(progress: Mapping[str, Any]) -> None:
            if self.watch.stop():
                raise TaskStoppedError
            if progress:
                on_event(Event("progress", task.id, progress))

        log = self.watch.log(task.id)
        if log:
            log.unlink(missing_ok=True)
        try:
            return Event("done", task.id, resolve(self.entry)(task.payload, report))
        except WorkerSpentError as spent:
            return Event("done", task.id, spent.result)
        except TaskStoppedError:
            return Event("stopped", task.id)
        except Exception as error:
            if log:
                append(log, traceback.format_exception(error))
            return Event("failed", task.id, describe_error(error))

    def close(self) -> None:
        """Nothing is kept."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    kills_before: int
    """Processes that the system had killed for memory when this one started."""
    heard: float
    """When it last said something or was given a task; later than now as long as it may still be starting."""
    gpu: str = ""
    task: Task | None = None


class ProcessEngine:
    """Up to ``jobs`` worker processes, each started when there is work for it and kept until ``close``.

    Of several ``gpus``, as CUDA_VISIBLE_DEVICES names them, each worker sees one: that which the fewest others see.
    """

    def __init__(self, entry: str, jobs: int, watch: Watch = UNWATCHED, gpus: Sequence[str] = ()) -> None:
        self.entry, self.jobs, self.watch, self.gpus = entry, jobs, watch, gpus
        self._workers: list[_Worker] = []
        self._context = context()

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        """Run all tasks to their end, or until there is a reason to stop. A worker that dies or hangs costs its task, and is replaced."""
        queue = Queue(list(tasks))
        while not self.watch.stop():
            self._hand_out(queue, on_event)
            if not self._busy():
                return
            self._listen(queue, on_event)
            self._end_silent(queue, on_event)
        self._stop(queue, on_event)

    def close(self) -> None:
        """End the workers, whatever they do."""
        for worker in self._workers:
            worker.pipe.close()  # an idle one sees that and ends
            if worker.task is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers.clear()

    # ---------------------------------------------------------------- tasks out

    def _hand_out(self, queue: Queue, on_event: OnEvent) -> None:
        while (worker := self._idle()) is not None and (task := queue.ready()) is not None:
            worker.task, worker.heard = task, max(worker.heard, time.monotonic())
            on_event(Event("started", task.id))
            worker.pipe.send((task.payload, self.watch.log(task.id)))

    def _idle(self) -> _Worker | None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if worker.process.is_alive():
                return worker
            self._bury(worker)
        return self._start() if len(self._workers) < self.jobs else None

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _start(self) -> _Worker:
        begin_importing(self.entry)
        ours, theirs = self._context.Pipe()
        taken = [worker.gpu for worker in self._workers]
        gpu = min(self.gpus, key=taken.count) if self.gpus else ""
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}
        process = self._context.Process(target=serve, args=(self.entry, theirs, environment), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours, kills_for_memory(), heard=time.monotonic() + STARTUP, gpu=gpu)
        self._workers.append(worker)
        return worker

    # ---------------------------------------------------------------- events in

    def _listen(self, queue: Queue, on_event: OnEvent) -> None:
        busy = self._busy()
        for pipe in wait([worker.pipe for worker in busy], timeout=POLL):
            self._hear(next(worker for worker in busy if worker.pipe is pipe), queue, on_event)

    def _hear(self, worker: _Worker, queue: Queue, on_event: OnEvent) -> None:
        assert worker.task is not None
        worker.heard = time.monotonic()
        try:
            kind, data = worker.pipe.recv()
        except (EOFError, OSError):
            kind, data = "failed", self._bury(worker)
        if kind == "progress":
            if data:
                on_event(Event(kind, worker.task.id, data))
            return
        if kind == "spent":
            kind, _ = "done", self._bury(worker)
        self._finish(worker, Event(kind, worker.task.id, data), queue, on_event)

    def _finish(self, worker: _Worker, event: Event, queue: Queue, on_event: OnEvent) -> None:
        worker.task = None
        finish(queue, event, on_event)

    def _end_silent(self, queue: Queue, on_event: OnEvent) -> None:
        for worker in self._busy():
            if time.monotonic() - worker.heard > self.watch.silence:
                worker.process.kill()
                self._bury(worker)
                message = f"the worker process said nothing for {self.watch.silence:.0f} seconds and was ended"
                error = {"type": "Stalled", "message": message, "frames": []}
                assert worker.task is not None
                self._finish(worker, Event("failed", worker.task.id, error), queue, on_event)

    def _stop(self, queue: Queue, on_event: OnEvent) -> None:
        """Ask the busy workers to stop where they can go on from, and end those that do not within the grace."""
        until = time.monotonic() + self.watch.grace
        for worker in self._busy():
            worker.process.terminate()
        while self._busy() and time.monotonic() < until:
            self._listen(queue, on_event)
        for worker in self._busy():
            worker.process.kill()
            self._bury(worker)
            assert worker.task is not None
            self._finish(worker, Event("stopped", worker.task.id), queue, on_event)

    def _bury(self, worker: _Worker) -> dict[str, Any]:
        """Take a worker that ends, or has ended, off the list; what is known of its end, as an error."""
        worker.process.join(timeout=10)
        worker.pipe.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        if code == -9 and kills_for_memory() > worker.kills_before:
            return {"type": "OutOfMemory", "message": "the system killed the worker process because memory ran out", "frames": []}
        return {"type": "WorkerDied", "message": f"the worker process ended with exit code {code}", "frames": []}
