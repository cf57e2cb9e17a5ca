"""Judges that are wrong on purpose, each in one way, and the checks that find it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest

from prefbench.api import Judge, JudgeReply, JudgeRequest
from tests.testing.caught import caught


@dataclass
class Sound(Judge):
    """Prefers the longer answer."""

    name = "sound"

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self.reply(request) for request in requests]

    def reply(self, request: JudgeRequest) -> JudgeReply:
        lengths = np.array([len(answer[-1]) for answer in request.answers], dtype=np.float64)
        if not request.choices:
            return JudgeReply(f"[[{min(10.0, lengths[0]):.1f}]]")
        logs = lengths - np.logaddexp.reduce(lengths)
        return JudgeReply(request.choices[int(logs.argmax())], dict(zip(request.choices, logs.tolist(), strict=True)))


@dataclass
class Unsorted(Sound):
    """Answers comparisons before grades and longest first, and forgets to put replies back in order."""

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self.reply(request) for request in sorted(requests, key=lambda request: str(request.answers))]


@dataclass
class Skips(Sound):
    """Leaves empty answers out."""

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self.reply(request) for request in requests if all(answer[-1] for answer in request.answers)]


@dataclass
class Moody(Sound):
    """Its verdicts move from call to call."""

    def __post_init__(self) -> None:
        self.calls = count()

    def reply(self, request: JudgeRequest) -> JudgeReply:
        return JudgeReply(f"[[{next(self.calls)}]]")


@dataclass
class OneChoice(Sound):
    """Gives the log-prob of its verdict alone."""

    def reply(self, request: JudgeRequest) -> JudgeReply:
        reply = super().reply(request)
        return JudgeReply(reply.text, reply.log_probs and {reply.text: reply.log_probs[reply.text]})


@dataclass
class Probabilities(Sound):
    """Gives probabilities, and more than 1 of them."""

    def reply(self, request: JudgeRequest) -> JudgeReply:
        return JudgeReply("m", dict.fromkeys(request.choices, 0.5))


@dataclass
class AfraidOfNothing(Sound):
    """Divides by the length of an answer."""

    def reply(self, request: JudgeRequest) -> JudgeReply:
        return JudgeReply(f"[[{10 // len(request.answers[0][-1])}]]")


@dataclass
class Numbers(Sound):
    """Replies with numbers for texts."""

    def reply(self, request: JudgeRequest) -> JudgeReply:
        return JudgeReply(7)  # type: ignore[arg-type]


def test_a_sound_judge_passes() -> None:
    assert caught("judge", Sound) == {}


@pytest.mark.parametrize(
    ("wrong", "check", "said"),
    [
        (Unsorted, "one reply per request in order", "a request asked alone has another reply than among others"),
        (Skips, "one reply per request in order", "replies for 42 requests"),
        (Moody, "the same request has the same reply", "the same request has another reply at the second time"),
        (OneChoice, "log probs are of every choice or none", "where ('m', 'M') are due"),
        (Probabilities, "log probs are of every choice or none", "it gives the log-prob [0.5]"),
        (AfraidOfNothing, "replies are texts", "ZeroDivisionError"),
        (Numbers, "replies are texts", "its reply has the text [7]"),
    ],
)
def test_a_mistake_is_named_by_the_check_that_is_about_it(wrong: type[Judge], check: str, said: str) -> None:
    assert said in caught("judge", wrong)[check]
