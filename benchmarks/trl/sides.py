"""What the two sides of a comparison share: the training that is asked for, the clock of its steps, and what is told of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

MARK = "result: "
"""What the line begins with that a side prints its result on; libraries print what they like on others."""


@dataclass(frozen=True)
class Workload:
    """A folder of a model with its tokenizer, ``model/``, and of pairs in plain text, ``pairs.jsonl``."""

    folder: Path

    @property
    def model(self) -> Path:
        """The Hugging Face folder."""
        return self.folder / "model"

    @property
    def pairs(self) -> Path:
        """The pairs, a JSON object a line: prompt, chosen, rejected."""
        return self.folder / "pairs.jsonl"


@dataclass(frozen=True)
class Training:
    """One training, the same for both sides: AdamW, a constant learning rate, gradients clipped at a norm of 1.

    ``order`` are the row numbers of the pairs as they are trained on; prefbench draws them from the seed, and TRL is given them.
    """

    folder: str
    scratch: str
    """A folder for caches and outputs."""
    threads: int
    objective: str = "sigmoid"
    seed: int = 0
    steps: int = 12
    warm_up: int = 2
    """Steps at the start that are not timed: a first step compiles and allocates."""
    batch: int = 8
    learning_rate: float = 1e-3
    dtype: str = "float32"
    max_length: int = 1024
    order: tuple[int, ...] = ()


@dataclass
class StepClock:
    """When each step ended, on the system's monotonic clock, in seconds.

    A GPU is waited for at the end of the warm-up and at the end of all, so that what lies between is right without every step having to wait.
    """

    training: Training
    ends: list[float] = field(default_factory=list)
    processor_ends: list[float] = field(default_factory=list)
    """The same on the clock of the time that this process has had of all cores."""

    def step(self) -> None:
        """A step has ended."""
        step = len(self.ends) + 1
        if torch.cuda.is_available() and step in (self.training.warm_up, self.training.steps):
            torch.cuda.synchronize()
        self.ends.append(time.monotonic())
        self.processor_ends.append(time.process_time())


@dataclass(frozen=True)
class Trained:
    """What a side tells of its training; lists are by step. ``began`` is when the training itself did, after everything was loaded."""

    ends: list[float]
    processor_ends: list[float]
    losses: list[float]
    began: float
    peak_bytes: int
    tokens_digest: str
    order: list[int]
    reference_tokens: int
    """Tokens that the reference was run on before the first step, padding included."""
    versions: Mapping[str, str]
    device: str
    """``cpu``, or the GPU's name."""


def device_name() -> str:
    """Where this process computes."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def tokens_digest(*columns: Sequence[Sequence[int]]) -> str:
    """sha256 of token ids: prompts, chosen and rejected answers, in the order that they are trained in."""
    return hashlib.sha256(json.dumps([[list(ids) for ids in column] for column in columns]).encode()).hexdigest()


@contextmanager
def counting_tokens() -> Iterator[Counter[str]]:
    """Counts, under ``tokens``, what any model in this process is run on within the block, padding included: what passes an embedding."""
    counted: Counter[str] = Counter()

    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Embedding):
            counted["tokens"] += inputs[0].numel()

    handle = torch.nn.modules.module.register_module_forward_hook(add)
    try:
        yield counted
    finally:
        handle.remove()


def serve(run: Callable[[Training, Mapping[str, Any]], Trained]) -> None:
    """A side's process: the training and its own options as JSON on standard input, the result on standard output."""
    asked = json.load(sys.stdin)
    training = Training(**{**asked["training"], "order": tuple(asked["training"]["order"])})
    torch.set_num_threads(training.threads)
    print(MARK + json.dumps(dataclasses.asdict(run(training, asked["options"]))), flush=True)
