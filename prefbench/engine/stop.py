"""Reasons to end a run before its end: a signal, a time limit, or a failure that nobody wants to go on after."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

logger = logging.getLogger("prefbench")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """The first reason to stop that came up, or none; ``until`` is the end of the run's time on the monotonic clock."""

    until: float | None = None
    reason: str = ""
    signal: int | None = None

    def __call__(self) -> str:
        """The reason, empty as long as there is none."""
        if not self.reason and self.until is not None and time.monotonic() >= self.until:
            self.reason = "the time that --max-minutes gives is up"
        return self.reason

    def ask(self, reason: str) -> None:
        """Stop for this reason, unless there is one already."""
        self.reason = self.reason or reason


@contextmanager
def heeding_signals(request: StopRequest) -> Iterator[None]:
    """While in the block, the first Ctrl-C or termination signal asks to stop; a second Ctrl-C has its usual effect."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may hear signals
        yield
        return
    handlers = _Handlers(request)
    try:
        yield
    finally:
        handlers.restore()


@dataclass
class _Handlers:
    request: StopRequest
    before: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = {number: signal.signal(number, self.hear) for number in SIGNALS}

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.restore()
        self.request.signal = number
        self.request.ask("interrupted")
        logger.warning("interrupted: what is in hand is finished or checkpointed; Ctrl-C again ends everything at once")

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
