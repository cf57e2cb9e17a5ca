"""Memory that is freed stays in the process until it is returned: counted in page faults and resident bytes, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prefbench.engine import allocator

MEASURE = """
import resource
from pathlib import Path
import numpy as np
from prefbench.engine.allocator import keep_freed_memory, return_freed_memory

def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

{first}
before = 0
for repeat in range(11):
    temporaries = [np.full(50 << 20, 1, dtype=np.uint8) for _ in range(2)]
    del temporaries
    if repeat == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
return_freed_memory()
print(faults, kept, resident())
"""

with_glibc = pytest.mark.skipif(allocator._glibc() is None, reason="the allocator has no such options here")


def measured(first: str) -> tuple[int, int, int]:
    """(page faults of ten repeats, resident bytes behind them, and behind a return) of a process that begins with a line."""
    code = MEASURE.format(first=first)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    faults, kept, returned = map(int, out.split())
    return faults, kept, returned


@with_glibc
def test_repeated_temporaries_fault_their_pages_in_once_and_not_at_every_repeat():
    as_it_comes, _, _ = measured("")
    kept, _, _ = measured("keep_freed_memory()")
    assert kept < 0.02 * as_it_comes


@with_glibc
def test_what_is_kept_is_given_back_on_demand():
    _, kept, returned = measured("keep_freed_memory()")
    assert kept - returned > 90 << 20


def test_another_c_library_is_left_alone(monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: calls.append("loaded"))
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    allocator._glibc.cache_clear()
    try:
        allocator.keep_freed_memory()
        allocator.return_freed_memory()
        assert allocator._glibc() is None
        assert not calls
    finally:
        allocator._glibc.cache_clear()
