"""How much memory there is, and whether it ran out: by exceptions, and by what the system counts."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Where Linux counts the processes that it killed for memory: of this container, else of the machine."""


CONTAINER, MACHINE = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
"""Where Linux says how much memory this container and this machine have, and use."""


def available_bytes(container: Path = CONTAINER, machine: Path = MACHINE) -> int:
    """What more this machine could give and this container may take; a great deal where the system does not say."""
    kibibytes, limit = _count(machine, r"MemAvailable: +(\d+) kB"), container_limit_bytes(container)
    left = sys.maxsize if kibibytes is None else 1024 * kibibytes
    if limit is None:
        return left
    # Of files that were read, what nobody looks at is let go before anything is killed.
    used, spare = _count(container / "memory.current", r"(\d+)"), _count(container / "memory.stat", r"inactive_file (\d+)")
    return min(left, max(0, limit - (used or 0) + (spare or 0)))


def container_limit_bytes(container: Path = CONTAINER) -> int | None:
    """The memory that this container may have, where it has a limit."""
    return _count(container / "memory.max", r"(\d+)")


def kills_for_memory(counters: tuple[Path, ...] = COUNTERS) -> int:
    """Processes killed for memory so far; 0 where the system does not say."""
    return next((count for path in counters if (count := _count(path, r"oom_kill (\d+)")) is not None), 0)


def _count(path: Path, line: str) -> int | None:
    """The number in a line of one of the system's files, where there is such a line."""
    with suppress(OSError):
        found = re.search(f"^{line}$", path.read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out. torch's allocator on the CPU, and C++, say it in a plain RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(re.search(r"can't allocate memory|not enough memory|bad_alloc", str(error)))
