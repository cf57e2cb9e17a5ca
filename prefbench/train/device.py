"""Where the arithmetic runs, in which dtype, and with how many threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch


def device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(rule: str) -> str:
    """``float32`` or ``bfloat16``: a track's rule, ``auto`` resolved. bfloat16 without native units is slower than float32, hence CUDA only."""
    if rule != "auto":
        return rule
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def autocast(dtype: str) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 over float32 weights, or nothing at all for float32."""
    return torch.autocast(device().type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def usable_cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds_by_threads(step: Callable[[], object], cores: int, repeats: int = 10) -> dict[int, float]:
    """Median seconds of ``step`` with 1, 2, 4 ... threads, at most ``cores``. Leaves the thread count as it was."""
    before, measured = torch.get_num_threads(), {}
    candidates = [threads for threads in (1, 2, 4, 8, 16, 32) if threads <= cores]
    for threads in candidates:
        torch.set_num_threads(threads)
        step()
        measured[threads] = _median_seconds(step, repeats)
    torch.set_num_threads(before)
    return measured


def _median_seconds(step: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeats // 2]


def choose_jobs(measured: dict[int, float], cores: int, cells: int) -> tuple[int, int]:
    """(worker processes, threads of each) that finish ``cells`` equal cells first; never more threads in all than cores."""
    cells = max(cells, 1)

    def rounds(threads: int) -> float:
        return -(-cells // (cores // threads)) * measured[threads]

    best = min(measured, key=lambda threads: (rounds(threads), threads))
    return min(cores // best, cells), best
