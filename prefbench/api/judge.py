"""A giver of verdicts, what it is asked and what it replies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefbench.api.component import Component
from prefbench.api.pairs import Message, Question


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
