"""What the command line asks of the modes: how many steps and rounds, of which models, against whom, with how many threads, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.trl.sides import Training, Workload
from benchmarks.trl.workload import make


@dataclass(frozen=True)
class Plan:
    """None is whatever a mode has by default. ``tell`` is told how far the mode is."""

    folder: Path
    threads: int
    steps: int | None = None
    rounds: int | None = None
    sizes: tuple[str, ...] | None = None
    lengths: tuple[str, ...] | None = None
    against: tuple[str, ...] | None = None
    tell: Callable[[str], None] = lambda _: None

    def workload(self, size: str, lengths: str, count: int) -> Workload:
        """Pairs and a model of that size, made once."""
        folder = self.folder / f"{size}-{lengths}-{count}"
        return Workload(folder) if folder.exists() else make(folder, size, lengths, count)

    def training(self, workload: Workload, **settings: Any) -> Training:
        """A training on a workload, with a folder for caches beside it."""
        scratch = self.folder / "scratch" / workload.folder.name
        scratch.mkdir(parents=True, exist_ok=True)
        return Training(folder=str(workload.folder), scratch=str(scratch), threads=self.threads, **settings)
