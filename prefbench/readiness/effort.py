"""How much disk and time a track's trainings take at most, and what this machine has."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import torch

from prefbench.config import Track, TrainRules
from prefbench.engine.memory import container_limit_bytes
from prefbench.readiness.footprint import FULL, HALF, MOMENTS, Shape, step_tokens
from prefbench.train.device import autocast, device
from prefbench.tune.trials import studied_row

SHARE = 0.35
"""Of the rate of plain matrix products that training reaches: assumed; large models on a good GPU reach .3 to .5, small ones less."""
FORWARD, BACKWARD = 2, 4
"""Floating-point operations per weight and token."""
MEASURED_FOR = 0.3
"""Seconds that the matrix products are measured for."""


def trained_cells(track: Track) -> int:
    """Rows that are trained, times seeds."""
    return len(track.seeds) * sum(row.trained for row in track.rows)


def trial_cells(track: Track) -> int:
    """Trials of the tuner: rows that have some, times trials and tuning seeds."""
    rows = {studied_row(track, row) for row in track.to_tune}
    return len(rows) * track.tune.trials * len(track.tune.seeds) if track.tune else 0


def disk_needed(shape: Shape, track: Track) -> int:
    """Bytes of every trained policy, which is stored whole, and of one training's checkpoint."""
    number = FULL if track.model.weights == "float32" else HALF
    return trained_cells(track) * number * shape.weights + (1 + MOMENTS) * FULL * shape.trained


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or would be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def operations(shape: Shape, train: TrainRules) -> float:
    """Floating-point operations of a training at most; what is recomputed costs a forward more each time."""
    forwards = 1 + train.gradient_checkpointing + train.gradient_accumulation
    return float(forwards * FORWARD + BACKWARD) * shape.weights * train.steps * step_tokens(train)


def measured_rate(dtype: str) -> float:
    """Floating-point operations per second of matrix products on this machine's device, in the compute dtype."""
    size = 8192 if device().type == "cuda" else 512
    left = right = torch.ones(size, size, device=device())
    with torch.no_grad(), autocast(dtype):
        _ = left @ right  # the first one also loads libraries
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < MEASURED_FOR:
            _ = left @ right
            _wait()
            count += 1
        return count * 2 * size**3 / (time.perf_counter() - start)


def _wait() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()


def device_memory() -> tuple[str, int]:
    """The device's name and its bytes of memory: of the GPU, else of this machine or of the container that it is."""
    if device().type == "cuda":
        return torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "the CPU", min(machine, container_limit_bytes() or machine)
