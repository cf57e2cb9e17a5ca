"""Contenders that train the same thing in turn, each in a process of its own, and what came of their rounds."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.trl.sides import MARK, Trained, Training

OURS, WORKER, THEIRS = "benchmarks.trl.ours", "benchmarks.trl.worker", "benchmarks.trl.theirs"
TUNED = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps large blocks, instead of giving them back and having every page of the next one faulted in anew."""


@dataclass(frozen=True)
class Contender:
    """Who trains: a module that serves a side, with its own options and environment."""

    name: str
    module: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def tuned(self) -> Contender:
        """The same with the allocator's thresholds raised."""
        return dataclasses.replace(self, name=f"{self.name}, tuned allocator", environment=TUNED)


@dataclass(frozen=True)
class Outcome:
    """A contender's training: when its process was started, on the system's monotonic clock, and when it had ended."""

    trained: Trained
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        """Of the whole process."""
        return self.ended - self.started

    @property
    def first_step(self) -> float:
        """Seconds from the start of the process to the end of the first step."""
        return self.trained.ends[0] - self.started

    def step_seconds(self, warm_up: int) -> float:
        """Of a step behind the warm-up: the median; on a GPU, which is waited for at both ends only, the mean."""
        ends = self.trained.ends[warm_up - 1 :]
        return median_gap(ends) if self.trained.device == "cpu" else (ends[-1] - ends[0]) / (len(ends) - 1)

    def step_processor_seconds(self, warm_up: int) -> float:
        """Of all cores together: what a step costs whoever else uses the machine."""
        return median_gap(self.trained.processor_ends[warm_up - 1 :])


def median_gap(times: Sequence[float]) -> float:
    """Between a time and the next."""
    return statistics.median(after - before for before, after in pairwise(times))


Rounds = dict[str, list[Outcome]]
"""By contender, an outcome per round."""
Tell = Callable[[str], None]


def alternate(contenders: Sequence[Contender], training: Training, rounds: int, tell: Tell) -> Rounds:
    """All contenders, so many times in turn. The first is prefbench, which draws the order that the others are given."""
    found: Rounds = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            outcome = train(contender, training)
            training = dataclasses.replace(training, order=tuple(outcome.trained.order))
            found[contender.name].append(outcome)
            step = outcome.step_seconds(training.warm_up) if training.steps > training.warm_up else outcome.first_step
            tell(f"round {number + 1}: {contender.name}: {step:.3f} s a step, {outcome.seconds:.0f} s in all")
    return found


def train(contender: Contender, training: Training) -> Outcome:
    """One contender's training in a process of its own. Raises SystemExit with the end of what it said where it fails."""
    asked = json.dumps({"training": dataclasses.asdict(training), "options": dict(contender.options)})
    environment = {**os.environ, **surroundings(training), **contender.environment}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", contender.module], input=asked, env=environment, capture_output=True, text=True, check=False
    )
    ended = time.monotonic()
    if done.returncode != 0:
        raise SystemExit(f"{contender.name} failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith(MARK))
    return Outcome(Trained(**json.loads(line.removeprefix(MARK))), started, ended)


def surroundings(training: Training) -> dict[str, str]:
    """Environment of every contender: its threads, caches of its own that all rounds share, and no network."""
    scratch, root = Path(training.scratch), Path(__file__).parents[2]
    paths = [str(root), str(root / "plugins" / "prefbench-sams"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(training.threads),
        # OpenMP's threads spin while they wait, which on a machine that others use too makes steps many times slower; for both sides alike.
        "GOMP_SPINCOUNT": "10000",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(scratch / "huggingface"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
