"""Whether memory ran out: how its absence is announced, by exceptions and by the system."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Where Linux counts the processes that it killed for memory: of this container, else of the machine."""


def kills_for_memory(counters: tuple[Path, ...] = COUNTERS) -> int:
    """Processes killed for memory so far; 0 where the system does not say."""
    for path in counters:
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
            if found:
                return int(found[1])
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out. torch's allocator on the CPU, and C++, say it in a plain RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(re.search(r"can't allocate memory|not enough memory|bad_alloc", str(error)))
