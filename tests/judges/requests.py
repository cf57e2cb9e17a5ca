"""Requests as harnesses make them, and an endpoint judge that is quick to give up."""

from __future__ import annotations

from typing import Any

from prefbench.api import JudgeRequest, Question
from prefbench.judges.endpoint import Endpoint
from tests.judges.server import JudgeServer

CHOICES = ("m", "M")
RATINGS = tuple(str(rating) for rating in range(1, 11))


def compared(number: int, **parameters: Any) -> JudgeRequest:
    """A comparison of two answers, whose verdict is a token."""
    question = Question(f"q{number}", (f"Question {number}?",))
    text = f"Question {number}? m: yes. M: no. Which is better?"
    return JudgeRequest(({"role": "user", "content": text},), question, (("yes.",), ("no.",)), CHOICES, parameters=parameters)


def graded(number: int) -> JudgeRequest:
    """A grade of an answer, whose verdict is written."""
    question = Question(f"q{number}", (f"Question {number}?",))
    text = f"Question {number}? Answer: yes. Rate it as in this example: Rating: [[5]]"
    return JudgeRequest(({"role": "user", "content": text},), question, (("yes.",),), verdicts=RATINGS)


def endpoint(server: JudgeServer, **options: Any) -> Endpoint:
    """The judge at a server, by a key from the usual variable."""
    return Endpoint(**{"model": "judge-1", "base_url": server.url, "retries": 2, "timeout": 5.0, **options})
