"""A worker's life: take a task, run it, send back what came of it; until the parent closes the pipe, or is no more."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from prefbench.engine.tasks import Function, TaskStoppedError, WorkerSpentError, describe_error

Reply = tuple[str, Any]
"""An event's kind and data; of kind ``spent``, the result of a worker that ends with it."""


def resolve(entry: str) -> Function:
    """The callable that ``module:name`` names."""
    module, name = entry.split(":")
    function: Function = getattr(importlib.import_module(module), name)
    return function


def serve(entry: str, pipe: Connection, environment: Mapping[str, str]) -> None:
    """What a worker process runs, under its parent's environment: the server that it may be forked from has an older one."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then asks its workers to stop
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    gc.disable()  # a spawned worker has its imports before it: collecting while they run takes an eighth of their time
    function = resolve(entry)
    gc.freeze()  # modules are no garbage, and need not be searched for it
    gc.enable()
    while True:
        try:
            payload, log = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(("progress", {}))  # it has started; from now on silence counts
        with _output_to(log):
            kind, data = _work(function, payload, pipe, stopping)
        pipe.send((kind, data))
        if kind == "spent":
            return


def _work(function: Function, payload: Any, pipe: Connection, stopping: threading.Event) -> Reply:
    def report(progress: Mapping[str, Any]) -> None:
        if stopping.is_set():
            raise TaskStoppedError
        if progress:
            pipe.send(("progress", progress))

    try:
        return "done", function(payload, report)
    except WorkerSpentError as spent:
        return "spent", spent.result
    except TaskStoppedError:
        return "stopped", None
    except Exception as error:
        traceback.print_exc()
        return "failed", describe_error(error)


def _die_with_parent() -> None:
    """A worker that outlives its parent would write into a folder that the next run believes to be its own."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def append(log: Path, lines: Iterable[str]) -> None:
    """Add to a log. A disk that is full has more to say than this."""
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.writelines(lines)


@contextmanager
def _output_to(log: Path | None) -> Iterator[None]:
    """Standard output and error, also of libraries that are no Python, in a file; without a file they stay where they are."""
    if log is None:
        yield
        return
    log.unlink(missing_ok=True)
    append(log, ())
    with _opened(log) as file:
        before = [os.dup(1), os.dup(2)]
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        faulthandler.enable()
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, old in zip((1, 2), before, strict=True):
                os.dup2(old, stream)
                os.close(old)
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


def _opened(log: Path) -> IO[bytes]:
    """The log for appending, because the task may add to it as well; nowhere, where it cannot be written."""
    try:
        return log.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")
