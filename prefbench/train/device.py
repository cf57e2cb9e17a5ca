"""Where the arithmetic runs, in which dtype, and with how many threads."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from prefbench.errors import PrefbenchError

MOST_THREADS = 32
"""Of a worker; more are not tried."""
REPEATS, PATIENCE = 5, 0.3
"""Rounds of a measurement, and seconds in which the last of them begins: a large model's steps differ little, and take long."""


def device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpus() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them; none without CUDA."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def device_name() -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "cpu"


def compute_dtype(rule: str, weights: str = "float32") -> str:
    """``float32`` or ``bfloat16``: a track's rule, ``auto`` resolved. bfloat16 without native units is slower than float32, hence CUDA only.

    Raises PrefbenchError where that is float32 over weights in bfloat16: digits would be computed that the weights do not have.
    """
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = ("bfloat16" if native else "float32") if rule == "auto" else rule
    if dtype != weights == "bfloat16":
        here = "on this machine, " if rule == "auto" else ""
        raise PrefbenchError(
            f'model.weights is bfloat16, and train.dtype = "{rule}" computes {here}in float32',
            'write dtype = "bfloat16" under [train] (slow where the device has no units for it), or weights = "float32" under [model]',
        )
    return dtype


def autocast(dtype: str) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 over float32 weights, or nothing at all for float32."""
    return torch.autocast(device().type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def usable_cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Share:
    """How the cores are shared out: worker processes, threads of each, and threads of one whose task all the others wait for."""

    jobs: int
    threads: int
    alone: int


@dataclass(frozen=True)
class Workload:
    """Equal cells for the cores of a machine, in at most ``most_jobs`` worker processes."""

    cores: int
    cells: int
    most_jobs: int

    def jobs(self, threads: int) -> int:
        """Worker processes of so many threads each: never more threads in all than cores, nor more workers than cells."""
        return max(1, min(self.cores // threads, self.most_jobs, self.cells))

    def rounds(self, threads: int) -> int:
        """How many cells the busiest worker gets."""
        return -(-self.cells // self.jobs(threads))

    def candidates(self) -> list[int]:
        """The thread counts that could pay, 1 first: the others would beat it by a tenth if they scaled perfectly, which none does.

        The cores halved again and again, so that few are left over, and the most.
        """
        most = min(self.cores, MOST_THREADS)
        counts = sorted({most, *(count for times in range(self.cores.bit_length()) if (count := self.cores >> times) <= most)})
        return [threads for threads in counts if threads == 1 or self.rounds(threads) / threads < 0.9 * self.rounds(1)]

    def choose(self, measured: dict[int, float]) -> Share:
        """What finishes first, by the seconds of a step with each thread count."""
        threads = min(measured, key=lambda count: (self.rounds(count) * measured[count], count))
        return Share(self.jobs(threads), threads, alone=min(measured, key=lambda count: (measured[count], count)))


def seconds_by_threads(step: Callable[[], object], candidates: list[int]) -> dict[int, float]:
    """Median seconds of ``step`` by thread count. Leaves the thread count as it was."""
    before, measured = torch.get_num_threads(), dict[int, float]()
    for threads in sorted(candidates, reverse=True):
        torch.set_num_threads(threads)
        if not measured:
            step()  # warms up: with the most threads, because that is mostly the system's work on fresh memory
        measured[threads] = median_of_rounds([step])[0]
    torch.set_num_threads(before)
    return measured


def median_of_rounds(steps: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each step, in turn: REPEATS rounds, or as many as begin within PATIENCE seconds, one at least."""
    begun, rounds = time.perf_counter(), list[list[float]]()
    while len(rounds) < REPEATS and (not rounds or time.perf_counter() - begun < PATIENCE):
        rounds.append([seconds_of(step) for step in steps])
    return [statistics.median(found) for found in zip(*rounds, strict=True)]


def seconds_of(step: Callable[[], object]) -> float:
    """Of one step, and on a GPU of all that it told it to do."""
    start = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
