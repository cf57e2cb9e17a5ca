"""What a track says, as frozen dataclasses, and what the command line changes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefbench.api import Component, hyper
from prefbench.errors import PrefbenchError


@dataclass(frozen=True)
class TrainRules(Component):
    """The budget and the optimiser, the same for every method of a track."""

    name = "train"

    steps: int = hyper(100, low=1, doc="optimiser steps")
    pool: int = hyper(32, low=1, doc="pairs offered to the scheduler at each step")
    learning_rate: float = hyper(1e-6, low=0.0, doc="peak learning rate of AdamW, unless a method names its own")
    warmup: int = hyper(10, low=0, doc="steps of linear warm-up")
    schedule: str = hyper("cosine", choices=("cosine", "linear", "constant"), doc="decay to zero after the warm-up")
    clip: float = hyper(1.0, low=0.0, doc="largest norm of the gradient")
    weight_decay: float = hyper(0.0, low=0.0, doc="decoupled weight decay of AdamW")
    max_length: int = hyper(1024, low=2, doc="longest prompt plus answer in tokens")
    over_long: str = hyper(
        "drop", choices=("drop", "truncate", "refuse"), doc="what becomes of longer pairs; dropped and cut ones are counted and listed"
    )
    max_prompt_length: int = hyper(
        0, low=0, doc="over_long truncate: a longer pair's prompt keeps its last so many tokens; 0 is half of max_length"
    )
    micro_batch_tokens: int = hyper(8192, low=1, doc="tokens, padding included, of one forward")
    loss_bound: float = hyper(
        1e4, low=0.0, doc="a mean loss beyond it ends the cell as diverged; times the first step's loss where that is above 1"
    )
    dtype: str = hyper("auto", choices=("auto", "float32", "bfloat16"), doc="compute dtype; auto is bfloat16 where the device has it")
    gradient_checkpointing: bool = hyper(False, doc="activations of a layer are recomputed in the backward instead of kept")
    gradient_accumulation: bool = hyper(False, doc="one micro-batch's graph at a time: its forward is run again for the backward")

    def __post_init__(self) -> None:
        if self.max_prompt_length and self.over_long != "truncate":
            raise ValueError('max_prompt_length is for over_long = "truncate", and would cut nothing')
        if self.max_prompt_length >= self.max_length:
            raise ValueError("max_prompt_length leaves no token of max_length for the answers")

    @property
    def prompt_length(self) -> int | None:
        """Tokens to which the prompt of a longer pair is cut; None where nothing is cut."""
        return (self.max_prompt_length or self.max_length // 2) if self.over_long == "truncate" else None


@dataclass(frozen=True)
class ModelRules(Component):
    """How every model of a track is loaded."""

    name = "model"

    weights: str = hyper("float32", choices=("float32", "bfloat16"), doc="dtype of the weights in memory; trained ones are float32")
    attention: str = hyper(
        "sdpa", choices=("sdpa", "eager", "flash_attention_2"), doc="attention implementation; eager where a model caps attention logits"
    )
    trust_remote_code: bool = hyper(False, doc="run the code that comes with the model")
    chat_template: str = hyper("", doc="a chat template (Jinja) in the place of the tokenizer's own")


@dataclass(frozen=True)
class LoraRules(Component):
    """Low-rank adapters in the place of full fine-tuning; the reference is the model without them."""

    name = "lora"

    rank: int = hyper(16, low=1, doc="rank of the adapters")
    alpha: float = hyper(32.0, low=0.0, doc="their scale, over the rank")
    dropout: float = hyper(0.0, low=0.0, high=1.0, doc="share of an adapter's inputs that is dropped")
    targets: tuple[str, ...] = hyper(("all-linear",), doc="names of the layers that get one; all-linear is all but the head")


@dataclass(frozen=True)
class AnswerRules(Component):
    """What answers are drawn with."""

    name = "answers"

    backend: str = hyper("transformers", choices=("transformers", "vllm"), doc="vllm needs the extra of that name, and a GPU")


@dataclass(frozen=True)
class TuneRules(Component):
    """How a row gets its learning rate and its beta: the same space, trials, prompts and seeds for all rows of a track."""

    name = "tune"

    learning_rate: tuple[float, ...] = hyper(dataclasses.MISSING, low=1e-12, doc="the lowest and the highest that is tried, on a log scale")
    beta: tuple[float, ...] = hyper(dataclasses.MISSING, low=1e-12, doc="likewise, for objectives that have one")
    trials: int = hyper(16, low=1, doc="settings that are tried for every row")
    seeds: tuple[int, ...] = hyper((1000, 1001), low=0, doc="seeds that each is tried with, none of which is a test seed")

    def __post_init__(self) -> None:
        for name in ("learning_rate", "beta"):
            bounds = getattr(self, name)
            if len(bounds) != 2 or bounds[0] >= bounds[1]:
                raise ValueError(f"{name} is the lowest and the highest value, such as [0.01, 1.0], and not {list(bounds)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are different numbers, at least one, and not {list(self.seeds)}")


@dataclass(frozen=True)
class Condition:
    """What is otherwise for the rows that name it: other training pairs, by options of the source; a fixed learning rate; or the settings that
    were tuned under another condition."""

    label: str
    source: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None
    tuned_in: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The settings of a row that the tuner chose, with the sha256 of the study that they are from; or those of one of its trials, with its name."""

    learning_rate: float
    beta: float | None
    study: str = ""
    trial: str = ""


@dataclass(frozen=True)
class Named:
    """A plugin by name, with the options that the track gives it, and a label where the track has it more than once."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def key(self) -> str:
        """What tells it from others of its name: ``name``, or ``name.label``."""
        return f"{self.name}.{self.label}" if self.label else self.name


@dataclass(frozen=True)
class Method:
    """A row's method: an objective with its hyper-parameters and, where the track names one, its own learning rate."""

    label: str
    objective: Named
    learning_rate: float | None = None

    @property
    def pre_tuned(self) -> bool:
        """Whether the track gives it values of its own, so that its tuner leaves it alone."""
        return self.learning_rate is not None or "beta" in self.objective.options


@dataclass(frozen=True)
class Scheduling:
    """A row's scheduler with its hyper-parameters; or a chain of them, in which the last picks from what the others left."""

    label: str
    links: tuple[Named, ...]


@dataclass(frozen=True)
class Row:
    """One row of the board: a method, a scheduler and a condition by label; a trivial row has a model role instead, and none of them."""

    method: str
    scheduler: str
    condition: str = ""
    chosen: Chosen | None = None

    @property
    def name(self) -> str:
        """``dpo.uniform``, ``dpo.uniform.noise-20``, or of a trial ``dpo.uniform.t03``: what its files are called."""
        trial = self.chosen.trial if self.chosen else ""
        return ".".join(part for part in (self.method, self.scheduler, self.condition, trial) if part)

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of the tuner, whose policy nobody needs when it is judged."""
        return self.chosen is not None and bool(self.chosen.trial)

    @property
    def trained(self) -> bool:
        """False for a trivial row, which is a model as the source gave it."""
        return self.scheduler != UNTRAINED


UNTRAINED = "-"
"""The scheduler label of a trivial row."""


@dataclass(frozen=True)
class Track:
    """The frozen rules. Results are comparable if and only if name and version are the same."""

    path: Path
    name: str
    version: int
    description: str
    seed_varies: tuple[str, ...]
    seeds: tuple[int, ...]
    tuning: str
    source: Named
    judge: Named | None
    train: TrainRules
    harnesses: tuple[Named, ...]
    methods: Mapping[str, Method]
    schedulers: Mapping[str, Scheduling]
    rows: tuple[Row, ...]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    """By label; rows without one are under none."""
    tune: TuneRules | None = None
    to_tune: tuple[Row, ...] = ()
    """The rows whose settings the tuner chooses."""
    columns: Mapping[str, Named] = field(default_factory=dict)
    """Columns with options of their own, by label."""
    model: ModelRules = ModelRules()
    lora: LoraRules | None = None
    """None is full fine-tuning."""
    answers: AnswerRules = AnswerRules()
    skipped: Mapping[str, str] = field(default_factory=dict)
    """``methods.LABEL``, ``schedulers.LABEL`` and ``columns.LABEL`` whose distribution is not installed here, with the reason."""


@dataclass(frozen=True)
class Selection:
    """What the command line changes of a track: which rows, which seeds, and whether all of these rows are tuned."""

    only: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    tune: bool = False


def resolved(rules: Any) -> dict[str, Any]:
    """A rules dataclass as a JSON-able mapping, defaults included."""
    return dataclasses.asdict(rules)


def seeds_from(text: str) -> tuple[int, ...]:
    """``5`` is the seeds 0..4; ``0,3,7`` are these seeds, and ``7,`` is this one."""
    try:
        numbers: Sequence[int] = [int(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        raise PrefbenchError(f"--seeds {text!r} is no number and no list of numbers", "write --seeds 5, or --seeds 0,1,7") from None
    if len(numbers) == 1 and "," not in text:
        numbers = range(numbers[0])
    if not numbers or min(numbers) < 0:
        raise PrefbenchError(f"--seeds {text!r} names no seed", "write --seeds 5, or --seeds 0,1,7")
    return tuple(dict.fromkeys(numbers))
