"""Clocks that say where a cell's seconds went, and its peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from prefbench.engine.allocator import return_freed_memory
from prefbench.engine.memory import available_bytes

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass
class Clocks:
    """Seconds by name; a clock that runs inside another is subtracted from it, so that the names add up.

    ``profiled`` ones tell the parts of a step apart, for which a GPU is waited for at each border.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    profiled: bool = False
    _inner: list[float] = field(default_factory=list)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to ``name``."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            own = spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent
            self.seconds[name] = self.seconds.get(name, 0.0) + own

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The same for a part of a step, where parts are told apart."""
        if not self.profiled:
            yield
            return
        _finish_kernels()
        with self.time(name):
            yield
            _finish_kernels()


def _finish_kernels() -> None:
    """Wait for what a GPU was told to do: until then its time would be counted as that of whatever waits for it first."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak_memory() -> None:
    """Start a new peak: a warm worker's earlier cells are not this one's memory."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return_freed_memory()
    with suppress(OSError):  # only Linux has it; elsewhere the peak is the worker's
        CLEAR_REFS.write_text("5")


def peak_memory_bytes() -> int:
    """The largest memory since the last reset: of the GPU's allocator where there is one, else the process's resident set."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def available_memory_bytes() -> int:
    """What more could be had now: of the GPU where there is one, else of the machine, or of the container that it is."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    return available_bytes()
