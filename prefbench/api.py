"""All that a plugin author imports: the six kinds of plugin, and the data that they are handed.

This module imports nothing of prefbench and nothing heavy, so that a plugin that imports it costs nothing until it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pluggy

if TYPE_CHECKING:
    import numpy as np
    import torch

hookimpl = pluggy.HookimplMarker("prefbench")
"""Marks a function of a plugin module as the implementation of the hook of the same name (see ``prefbench.hookspecs``)."""


def hyper(default: Any, *, low: float | None = None, high: float | None = None, choices: Iterable[Any] | None = None, doc: str = "") -> Any:
    """A dataclass field that is a hyper-parameter: its default, its closed bounds or its choices, and what it means in a few words."""
    bounds = {"low": low, "high": high, "choices": None if choices is None else tuple(choices), "doc": doc}
    return field(default=default, metadata=bounds)


class Component:
    """A named thing with options: subclasses are dataclasses, and their fields feed the TOML, the table and the cell's identity."""

    name: ClassVar[str]
    """The name under which a track, the command line and the board know it."""
    source: ClassVar[str] = ""
    """Where the definition comes from: paper and equation, or a repository."""
    deviations: ClassVar[str] = ""
    """Where it departs from that source, and which choices are ours."""

    def options(self) -> dict[str, Any]:
        """The value of every field, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]


class Stateful(Component):
    """A component that may change while a policy trains; a run that was killed goes on with its state."""

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint holds of it: every attribute that is no option.

        Mappings with text keys, lists, tuples, numbers, texts, numpy arrays and torch tensors; one that keeps anything else says here how.
        """
        options = self.options()
        return {name: value for name, value in vars(self).items() if name not in options}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        vars(self).update(state)


# ---------------------------------------------------------------- pairs and questions

Message = Mapping[str, str]
"""One chat message: ``{"role": ..., "content": ...}``."""
Prompt = str | tuple[Message, ...]
"""A conversation, rendered with the model's chat template; or plain text, used as it stands."""


@dataclass(frozen=True)
class Pair:
    """One preference: a prompt, the answer that was chosen and the one that was rejected.

    ``columns`` are numbers known with the data, such as an annotator's score gap; ``gold_margin``, where a source knows the truth, is the true
    reward of the chosen answer minus that of the rejected one, and ``flipped`` is 1.0 where the label was corrupted on purpose.
    """

    prompt: Prompt
    chosen: str
    rejected: str
    columns: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """16 hexadecimal digits that depend on the three texts only."""
        return content_id(self.prompt, self.chosen, self.rejected)


@dataclass(frozen=True)
class Question:
    """One evaluation question of one or more user turns. ``facts`` is for the source and its judge alone; nothing else reads it."""

    id: str
    turns: tuple[str, ...]
    category: str = ""
    references: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def content_id(*parts: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of the parts' JSON."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- objectives


@dataclass(frozen=True)
class PairBatch:
    """B trained pairs as an objective sees them.

    Log-probs are summed over response tokens, in nats, float64, shape (B,). The policy's carry gradient; the reference's do not. Token counts
    are float64, shape (B,). ``columns`` holds the per-pair numbers that the objective ``needs``, shape (B,). ``progress`` runs from 0 at the
    first step to 1 at the last. ``rng`` belongs to the objective: whatever it draws from it changes no other stream.
    """

    policy_chosen: torch.Tensor
    policy_rejected: torch.Tensor
    reference_chosen: torch.Tensor
    reference_rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    progress: float = 0.0
    rng: torch.Generator | None = None

    @property
    def chosen_log_ratio(self) -> torch.Tensor:
        """log pi(chosen) - log ref(chosen), shape (B,)."""
        return self.policy_chosen - self.reference_chosen

    @property
    def rejected_log_ratio(self) -> torch.Tensor:
        """log pi(rejected) - log ref(rejected), shape (B,)."""
        return self.policy_rejected - self.reference_rejected

    @property
    def margin(self) -> torch.Tensor:
        """Chosen log-ratio minus rejected log-ratio, shape (B,); no beta in it."""
        return self.chosen_log_ratio - self.rejected_log_ratio


class Objective(Stateful, ABC):
    """A preference loss. A subclass is a dataclass; its fields are its hyper-parameters."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the columns that it reads from ``batch.columns``."""
    batch_coupled: ClassVar[bool] = False
    """True when the loss of one pair depends on the other pairs of the batch."""
    reference_free: ClassVar[bool] = False
    """True when it reads no reference log-prob."""

    @abstractmethod
    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,); the core takes the mean. Pure: it changes neither the batch nor the objective."""

    def update(self, batch: PairBatch) -> None:
        """Change state (moving averages, queues); called exactly once per optimiser step, before ``per_pair``, on the trained pairs, detached."""


# ---------------------------------------------------------------- schedulers

STATISTICS = ("loss", "margin", "chosen_log_prob")
"""What a scheduler may want of a pool; see ``Pool``."""


@dataclass(frozen=True)
class Pool:
    """The n pairs offered at one step. ``ids`` are row numbers of the training pairs, shape (n,).

    ``columns`` and ``statistics`` hold float64 arrays of shape (n,). ``statistics`` has what the scheduler ``wants``: ``loss`` (the objective's
    per-pair loss), ``margin`` (raw log-ratio gap, no beta), ``chosen_log_prob`` (summed, nats).
    """

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    statistics: Mapping[str, np.ndarray]
    progress: float

    def __len__(self) -> int:
        return len(self.ids)


class Scheduler(Stateful, ABC):
    """Chooses which of the n pairs of a pool are trained on."""

    wants: ClassVar[tuple[str, ...]] = ()
    """Statistics it reads from ``pool.statistics``; each step then costs a gradient-free forward over the pool."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the columns that it reads from ``pool.columns``."""
    ratio: float = 1.0
    """Share of the pool that is trained on: K = max(1, round(ratio * n))."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        """Reorder or pre-select the ``size`` training pairs once, before training: distinct row numbers, or None to keep the shuffled epochs."""
        return None

    @abstractmethod
    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions in the pool, each in [0, n)."""

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        """Called one step later, because a scheduler's reward is how the next pool looks."""


# ---------------------------------------------------------------- columns


class ColumnContext(Protocol):
    """What a column may use: the pairs, their token ids, and the model that training starts from."""

    @property
    def pairs(self) -> Sequence[Pair]:
        """The N pairs, in the order of the values that are due."""
        ...

    @property
    def prompt_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N prompts."""
        ...

    @property
    def chosen_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N chosen answers, end-of-sequence token included."""
        ...

    @property
    def rejected_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the N rejected answers, end-of-sequence token included."""
        ...

    def log_probs(self) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """Per-token log-probs (nats, float32) of every chosen and every rejected answer under the model that training starts from."""
        ...


class Column(Component, ABC):
    """A number per pair, computed once before training, cached by content and shared by every cell that needs it."""

    @abstractmethod
    def compute(self, context: ColumnContext) -> np.ndarray:
        """One float64 per pair, shape (N,)."""


# ---------------------------------------------------------------- judges


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge: the rendered messages, and the facts behind them for judges that do not read text.

    ``answers`` are the candidates in the order in which the messages show them, each a tuple of turns. ``choices`` are the verdict tokens whose
    log-probs are asked for (one per candidate), or empty when a written verdict is wanted.
    """

    messages: tuple[Message, ...]
    question: Question
    answers: tuple[tuple[str, ...], ...]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgeReply:
    """A judge's answer: text, the log-probs of the choices (nats) or None, and tokens used."""

    text: str
    log_probs: Mapping[str, float] | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


class Judge(Component, ABC):
    """Gives verdicts, many at a time."""

    @abstractmethod
    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request, in order. The same request gives the same reply."""


# ---------------------------------------------------------------- sources


class Source(Component, ABC):
    """Where models, pairs and questions come from. Its fields are the options of the track's ``[source]`` table."""

    def locate(self, folder: Path) -> Source:
        """Itself, with paths that a track file gives relative to its own folder resolved."""
        return self

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """JSON-able description of everything that its data depend on: options, versions, hashes of files; no paths, no host."""

    @abstractmethod
    def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
        """Make or find what all cells share, under ``cache``. Cheap when done before; safe when two processes call it."""

    @abstractmethod
    def models(self) -> Mapping[str, Path]:
        """Hugging Face folders by role: ``sft`` is where training starts and the reference; ``base`` where there is one. After ``prepare``."""

    @abstractmethod
    def pairs(self, seed: int) -> Sequence[Pair]:
        """The training pairs of a seed, in a fixed order. After ``prepare``."""

    @abstractmethod
    def held_out(self) -> Sequence[Pair]:
        """Pairs that no training pair shares a prompt with; the same for every seed. After ``prepare``."""

    def questions(self, harness: str) -> Sequence[Question]:
        """The questions of a harness, by the harness's name; empty when the source has none."""
        return ()

    def compare(self, question: Question, answer: str, baseline: str) -> Mapping[str, float]:
        """Extra preferences for ``answer`` over ``baseline`` that only the source can know, each in [0, 1], by metric name."""
        return {}


# ---------------------------------------------------------------- harnesses


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: temperature in nats (0 is greedy) and the limit of new tokens."""

    temperature: float = 1.0
    max_new_tokens: int = 64


class Policy(Protocol):
    """A model under evaluation, as a harness sees it."""

    def answer(self, questions: Sequence[Question], sampling: Sequence[Sampling], stream: str) -> list[tuple[str, ...]]:
        """Every question's answers, a text per turn. Draws depend on the cell's seed, ``stream`` and the question's id, not on batching."""
        ...

    def sample(self, prompts: Sequence[Prompt], ids: Sequence[str], sampling: Sequence[Sampling], stream: str) -> list[str]:
        """One answer per prompt, a conversation or plain text; draws depend on the cell's seed, ``stream`` and the id."""
        ...

    def score(self, pairs: Sequence[Pair]) -> Mapping[str, np.ndarray]:
        """Summed log-probs (nats, float64, shape (N,)) of pairs under policy and reference: ``policy_chosen``, ``policy_rejected``,
        ``reference_chosen``, ``reference_rejected``."""
        ...

    def divergence(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> np.ndarray:
        """KL(policy || reference) in nats summed over each answer's tokens, each token's over the whole vocabulary; float64, shape (N,)."""
        ...


class Fitted(Protocol):
    """A metric that is no mean over questions: its value, and its value under other question weights."""

    @property
    def value(self) -> float:
        """The metric on the questions as they are."""
        ...

    def resample(self, counts: np.ndarray) -> np.ndarray:
        """The metric for each row of ``counts`` (shape (R, Q): how often each question was drawn); shape (R,)."""
        ...


Items = Sequence[Mapping[str, Any]]
"""Judged questions, a JSON-able mapping each, with at least ``id``; numbers and labels only, no texts."""


@dataclass(frozen=True)
class Calibration:
    """What a harness fixes once per track: texts (the baseline's answers) and numbers (difficulty, gamed rows) by name."""

    texts: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)


class Harness(Component, ABC):
    """Questions in, judged items out; every metric comes from stored items only."""

    asks_judge: ClassVar[bool] = False
    """True when it asks the judge: a track that names it without a judge is then refused before anything starts."""

    @abstractmethod
    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """What the judging needs from the model, a JSON-able row per question with its ``id``. The only step that needs the model."""

    @abstractmethod
    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """The rows judged: items of ids, numbers and short labels, rounded as they are to be stored; the harness's name is added to each."""

    @abstractmethod
    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """For each metric that is a mean over questions: the value of each question by id (a question without one is left out)."""

    def fitted(self, items: Items, calibration: Calibration) -> Mapping[str, Fitted]:
        """The metrics that are no means. A metric that the items cannot carry is left out."""
        return {}

    def counts(self, items: Items) -> Mapping[str, int]:
        """Judged, unparsed and null counts by name."""
        return {"judged": len(items)}

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """What is fixed once per track, made with the model that training starts from."""
        return Calibration()
