"""A whole ``prefbench run`` as a contender: the command from nothing, and what its folder tells of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.trl.ours import read_pairs
from benchmarks.trl.sides import Workload
from prefbench import __version__
from prefbench.data.files import Files
from prefbench.store.files import read_lines
from prefbench.store.folder import Folder
from prefbench.streams import stream


@dataclass(frozen=True)
class TrainedCell:
    """What a run folder tells of one of its trained cells."""

    objective: str
    seed: int
    losses: list[float]
    peak_bytes: int


def run_track(track: Path, folder: Path, cores: int, environment: Mapping[str, str]) -> float:
    """Seconds of ``prefbench run`` with an empty cache under ``folder``. Raises SystemExit with the end of what it said where it fails."""

    def on_some_cores() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    code = "from prefbench.cli.main import main; main()"
    command = [sys.executable, "-c", code, "run", str(track), "--out", str(folder / "run")]
    surroundings = {**os.environ, **environment, "PREFBENCH_CACHE": str(folder / "cache")}
    started = time.monotonic()
    done = subprocess.run(command, env=surroundings, preexec_fn=on_some_cores, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(f"prefbench run failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return seconds


def trained_cells(folder: Path) -> list[TrainedCell]:
    """All of a run folder's."""
    run_folder = Folder(folder)
    return [_trained_cell(run_folder, name, record) for name, record in run_folder.records().items()]


def last_trained(folder: Path) -> float:
    """When the last of a run folder's cells had its training done and its policy saved: seconds since the epoch, by the mark that it left."""
    run_folder = Folder(folder)
    return max((run_folder.cell(name) / "train.json").stat().st_mtime for name in run_folder.records())


def _trained_cell(folder: Folder, name: str, record: Mapping[str, Any]) -> TrainedCell:
    losses = [row["loss"] for row in read_lines(folder.cell(name) / "training.jsonl.gz")]
    return TrainedCell(record["method"]["objective"], record["seed"], losses, record["peak_memory_bytes"])


def versions() -> dict[str, str]:
    """Of prefbench and torch."""
    return {"prefbench": __version__, "torch": torch.__version__}


def run_order(workload: Workload, seed: int) -> list[int]:
    """The row numbers of a workload's pairs as a run trains on them in its first epoch."""
    pairs = Files(model=str(workload.model), pairs_file=str(workload.pairs)).pairs(seed)
    rows = {pair.id: row for row, pair in enumerate(read_pairs(workload))}
    return [rows[pairs[i].id] for i in stream(seed, "data").permutation(len(pairs))]
