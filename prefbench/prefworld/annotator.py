"""The annotator: Bradley-Terry on the gold reward with a known liking for length, as labeller of pairs and as judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from prefbench.api import Judge, JudgeReply, JudgeRequest, Question, hyper
from prefbench.errors import PrefbenchError
from prefbench.prefworld.gold import read_answer, reward, score

TEMPERATURE = 0.5
"""Of the Bradley-Terry model, in units of reward."""
LENGTH_BIAS = 0.05
"""Reward that the annotator sees in each superfluous word and the gold does not."""


def utility(category: str, bodies: Sequence[str], answer: str, length_bias: float = LENGTH_BIAS) -> float:
    """The reward as the annotator sees it."""
    reading = read_answer(bodies, answer)
    return reward(category, reading) + length_bias * reading.superfluous


def log_preference(utilities: Sequence[float]) -> np.ndarray:
    """Log-probability (nats, float64, shape (n,)) that each of n candidates is the annotator's choice."""
    logits = np.asarray(utilities, dtype=np.float64) / TEMPERATURE
    shifted = logits - logits.max()
    log_probs: np.ndarray = shifted - np.log(np.exp(shifted).sum())
    return log_probs


def asked(question: Question, turn: int) -> tuple[str, Sequence[str]]:
    """Category of a question and the bodies that its turn (counted from 0) accepts.

    Raises ``PrefbenchError`` when the question comes from another source or lacks the turn.
    """
    try:
        return question.facts["category"], question.facts["bodies"][turn]
    except (KeyError, IndexError) as error:
        raise PrefbenchError(
            f"prefworld-annotator: question {question.id!r} carries no facts for turn {turn + 1}",
            "it can only judge questions of the source prefworld; choose another judge",
        ) from error


@dataclass
class PrefworldAnnotator(Judge):
    """Prefers by reward and length, reading the facts behind a question and not the messages.

    With choices it gives their log-probabilities; without, it says of two answers whose last turn is better, ``[[A]]``, ``[[B]]`` or ``[[C]]``
    for a tie, and grades a single one as ``[[score]]`` on MT-Bench's scale.
    """

    name: ClassVar[str] = "prefworld-annotator"
    source: ClassVar[str] = "Bradley and Terry (1952), over Prefworld's gold reward"

    length_bias: float = hyper(LENGTH_BIAS, doc="reward seen in each superfluous word")

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request. Raises ``PrefbenchError`` for questions without Prefworld's facts."""
        return [self._reply(request) for request in requests]

    def _reply(self, request: JudgeRequest) -> JudgeReply:
        if request.choices:
            return self._verdict(request)
        return self._compare(request) if len(request.answers) > 1 else self._grade(request)

    def _utility(self, question: Question, answer: tuple[str, ...]) -> tuple[str, float]:
        category, bodies = asked(question, len(answer) - 1)
        return category, utility(category, bodies, answer[-1], self.length_bias)

    def _verdict(self, request: JudgeRequest) -> JudgeReply:
        logs = log_preference([self._utility(request.question, answer)[1] for answer in request.answers])
        by_choice = {choice: float(value) for choice, value in zip(request.choices, logs, strict=True)}
        return JudgeReply(max(by_choice, key=by_choice.__getitem__), by_choice)

    def _compare(self, request: JudgeRequest) -> JudgeReply:
        first, second = (self._utility(request.question, answer)[1] for answer in request.answers)
        return JudgeReply("[[C]]" if first == second else "[[A]]" if first > second else "[[B]]")

    def _grade(self, request: JudgeRequest) -> JudgeReply:
        category, reward = self._utility(request.question, request.answers[0])
        return JudgeReply(f"[[{score(category, reward):.2f}]]")
