"""How much memory there is, and whether it ran out: by exceptions, and by what the system counts."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Where Linux counts the processes that it killed for memory: of this container, else of the machine."""
GROUPS, OWN_GROUP, MACHINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/meminfo")
"""Where Linux says how much memory control groups (version 2) have and use, which one this process is in, and what the machine has left."""


def available_bytes(groups: Path = GROUPS, own: Path = OWN_GROUP, machine: Path = MACHINE) -> int:
    """What more this machine could give and this container may take; a great deal where the system does not say."""
    kibibytes = _count(machine, r"MemAvailable: +(\d+) kB")
    machines = sys.maxsize if kibibytes is None else 1024 * kibibytes
    return min([machines, *(max(0, limit - _used(group)) for group, limit in _limited(groups, own).items())])


def container_limit_bytes(groups: Path = GROUPS, own: Path = OWN_GROUP) -> int | None:
    """The memory that this container, or batch job, may have, where it has a limit."""
    return min(_limited(groups, own).values(), default=None)


def _limited(groups: Path, own: Path) -> dict[Path, int]:
    """Limits of this process's control group and of those around it; a container sees its own as the root of all."""
    name = re.search(r"^0::/(.*)$", own.read_text(), re.MULTILINE) if own.exists() else None
    group = groups / (name[1] if name else "")
    around = [group, *(folder for folder in group.parents if folder.is_relative_to(groups))]
    return {folder: limit for folder in around if (limit := _count(folder / "memory.max", r"(\d+)")) is not None}


def _used(group: Path) -> int:
    """But for files that were read and that nobody looks at: they are let go before anything is killed."""
    used, spare = _count(group / "memory.current", r"(\d+)"), _count(group / "memory.stat", r"inactive_file (\d+)")
    return (used or 0) - (spare or 0)


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
