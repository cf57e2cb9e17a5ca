"""An evaluation: questions in, judged items out, metrics from the items; and the policy as it sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from prefbench.api.component import Component
from prefbench.api.judge import Judge
from prefbench.api.pairs import Pair, Prompt, Question
from prefbench.api.source import Source

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: temperature in nats (0 is greedy), the limit of new tokens, the share of probability that is drawn from.

    Logits of tokens that stand in the prompt or in the answer so far are divided by ``repetition_penalty`` where they are positive, and
    multiplied by it where they are negative (Keskar et al., CTRL, 2019, section 4.1, as transformers and vLLM have it); 1 changes nothing.
    """

    temperature: float = 1.0
    max_new_tokens: int = 64
    top_p: float = 1.0
    repetition_penalty: float = 1.0


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


@dataclass(frozen=True)
class JudgeLoad:
    """What a judge is asked, at most: requests, the characters of their messages, and the tokens of their replies, all together.

    ``open_replies`` is how many of the requests leave the length of the reply to the judge; ``reply_tokens`` are those of the others.
    """

    requests: int = 0
    prompt_characters: int = 0
    reply_tokens: int = 0
    open_replies: int = 0


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

    def judge_load(self, source: Source) -> JudgeLoad:
        """What judging one policy asks of the judge, so that a run can tell its price before it begins."""
        return JudgeLoad()

    def calibration_load(self, source: Source) -> JudgeLoad:
        """The same of ``calibrate``."""
        return JudgeLoad()

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """What is fixed once per track, made with the model that training starts from."""
        return Calibration()
