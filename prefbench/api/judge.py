"""A giver of verdicts, what it is asked and what it replies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api.component import Component
from prefbench.api.pairs import Message, Question


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge: the rendered messages, and the facts behind them for judges that do not read text.

    ``answers`` are the candidates in the order in which the messages show them, each a tuple of turns. ``choices`` are the verdict tokens whose
    log-probs are asked for (one per candidate), or empty when a written verdict is wanted; ``verdicts`` are then what may stand between its
    double brackets, such as ``A``, ``B`` and ``C``, or the ratings ``1`` to ``10``. ``parameters`` is what a stock configuration sends besides
    the messages, such as ``max_tokens`` and ``temperature``; it goes before the judge's own.
    """

    messages: tuple[Message, ...]
    question: Question
    answers: tuple[tuple[str, ...], ...]
    choices: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgeReply:
    """A judge's answer: text (empty where it gave none), the log-probs of the choices (nats) or None, tokens used, and the reply as it came."""

    text: str
    log_probs: Mapping[str, float] | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tariff:
    """What a judge costs: prices per million tokens, in one currency, and what a run folder may spend on it at most, 0 for no limit."""

    prompt_price: float = 0.0
    reply_price: float = 0.0
    max_calls: int = 0
    max_total_tokens: int = 0
    max_cost: float = 0.0
    reply_limit: int = 0
    """Tokens of a reply, at most, where the request says nothing about it."""

    def cost(self, prompt_tokens: float, reply_tokens: float) -> float:
        """In the currency of the prices."""
        return (self.prompt_price * prompt_tokens + self.reply_price * reply_tokens) / 1e6

    def exceeded(self, calls: float, prompt_tokens: float, reply_tokens: float) -> str:
        """The first limit that so much would exceed, by its name; empty where it keeps within all of them."""
        spent = {
            "max_calls": calls,
            "max_total_tokens": prompt_tokens + reply_tokens,
            "max_cost": self.cost(prompt_tokens, reply_tokens),
        }
        return next((name for name, amount in spent.items() if 0 < getattr(self, name) < amount), "")


class Judge(Component, ABC):
    """Gives verdicts, many at a time."""

    kept: ClassVar[bool] = False
    """True when replies are bought or slow: prefbench then keeps each with its request as soon as it is there, and asks for none twice."""

    def locate(self, folder: Path) -> Judge:
        """Itself, with paths that a track file gives relative to its own folder resolved."""
        return self

    @property
    def tariff(self) -> Tariff | None:
        """What it costs and may cost; None where asking costs nothing and nothing limits it."""
        return None

    def opened(self, folder: Path) -> Judge:
        """Itself, ready to be asked by the workers of a run, which share what it keeps in the run's folder.

        Raises PrefbenchError where it cannot be asked, such as without a key.
        """
        return self

    def release(self) -> None:
        """Give back the memory that asking it took, such as a model's; it may be asked again."""
        return

    @abstractmethod
    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request, in order. The same request gives the same reply."""

    def replies(self, requests: Sequence[JudgeRequest]) -> Iterator[tuple[int, JudgeReply]]:
        """The replies as they come, each with the position of its request; what came before an error is not lost."""
        yield from enumerate(self.judge(requests))
