"""Where the arithmetic runs, in which dtype, and with how many threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

REPEATS = 9


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


def candidate_threads(cores: int, cells: int) -> list[int]:
    """The thread counts of a worker that could pay, 1 first: the others would have to scale perfectly to beat one thread per core, and could."""
    counts = [threads for threads in (1, 2, 4, 8, 16, 32) if threads <= cores]
    return [threads for threads in counts if threads == 1 or _rounds(cores, cells, threads) / threads < _rounds(cores, cells, 1)]


def seconds_by_threads(step: Callable[[], object], candidates: list[int]) -> dict[int, float]:
    """Median seconds of ``step`` by thread count; a count that is much slower at its first step is not tried again.

    Leaves the thread count as it was. Tiny matrices on too many threads of a busy machine can be a hundred times slower.
    """
    before, measured = torch.get_num_threads(), dict[int, float]()
    for threads in candidates:
        torch.set_num_threads(threads)
        first = _seconds(step)
        hopeless = first > 4 * min(measured.values(), default=first)
        measured[threads] = first if hopeless else sorted(_seconds(step) for _ in range(REPEATS))[REPEATS // 2]
    torch.set_num_threads(before)
    return measured


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def choose_jobs(measured: dict[int, float], cores: int, cells: int) -> tuple[int, int]:
    """(worker processes, threads of each) that finish ``cells`` equal cells first; never more threads in all than cores."""
    best = min(measured, key=lambda threads: (_rounds(cores, cells, threads) * measured[threads], threads))
    return min(cores // best, max(cells, 1)), best


def _rounds(cores: int, cells: int, threads: int) -> int:
    """How many cells the busiest worker gets."""
    return -(-max(cells, 1) // (cores // threads))
