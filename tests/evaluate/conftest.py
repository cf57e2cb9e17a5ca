"""A small world for the harnesses: answers with a known merit, policies that give them, and judges that like length."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefbench.api import Judge, JudgeReply, JudgeRequest, Pair, Prompt, Question, Sampling, Source
from prefbench.streams import stream as random_stream


def merit(answer: str) -> int:
    return answer.split().count("right")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@dataclass(frozen=True)
class WordyPolicy:
    """Answers of six words, of which those that are "right" are its merit, and some "um" words, which only make it longer."""

    seed: int = 0
    right: float = 0.5
    filler: int = 4
    shift: float = 0.0

    def _text(self, stream: str, id_: str, limit: int) -> str:
        rng = random_stream(self.seed, stream, id_)
        right = rng.binomial(6, self.right)
        words = ["right"] * right + ["wrong"] * (6 - right) + ["um"] * rng.integers(0, self.filler + 1)
        return " ".join([*words[:limit], "."])

    def answer(self, questions: Sequence[Question], sampling: Sequence[Sampling], stream: str) -> list[tuple[str, ...]]:
        assert len(sampling) == len(questions)
        return [
            tuple(f"{self._text(f'{stream}/{turn}', q.id, s.max_new_tokens)} turn {turn + 1}" for turn in range(len(q.turns)))
            for q, s in zip(questions, sampling, strict=True)
        ]

    def sample(self, prompts: Sequence[Prompt], ids: Sequence[str], sampling: Sequence[Sampling], stream: str) -> list[str]:
        return [self._text(stream, id_, s.max_new_tokens) for id_, s in zip(ids, sampling, strict=True)]

    def score(self, pairs: Sequence[Pair]) -> Mapping[str, np.ndarray]:
        chosen, rejected = (
            np.array([-1.3 * len(text) for text in texts]) for texts in ([p.chosen for p in pairs], [p.rejected for p in pairs])
        )
        move = self.shift * np.array([merit(p.chosen) - merit(p.rejected) for p in pairs])
        return {
            "policy_chosen": chosen + move,
            "policy_rejected": rejected,
            "reference_chosen": chosen,
            "reference_rejected": rejected,
        }

    def divergence(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> np.ndarray:
        return np.array([self.shift * len(answer.split()) for answer in answers])


@dataclass
class Questions(Source):
    """A source that has nothing but questions and held-out pairs, and knows the true merit."""

    name = "questions"
    by_harness: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    held: Sequence[Pair] = ()
    paths: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)

    def identity(self) -> Mapping[str, Any]:
        return {}

    def prepare(self, cache: Path, report: Callable[[str], None]) -> None: ...

    def models(self) -> Mapping[str, Path]:
        return {}

    def pairs(self, seed: int) -> Sequence[Pair]:
        return ()

    def held_out(self) -> Sequence[Pair]:
        return self.held

    def questions(self, harness: str) -> Sequence[Question]:
        return self.by_harness.get(harness, ())

    def files(self, harness: str) -> Mapping[str, Path]:
        return self.paths.get(harness, {})

    def compare(self, question: Question, answer: str, baseline: str) -> Mapping[str, float]:
        return {"gold_win_rate": sigmoid(merit(answer) - merit(baseline))}


@dataclass
class LengthLover(Judge):
    """Prefers merit and, by ``bias`` a character, length; keeps what it was asked."""

    name = "length-lover"
    bias: float = 0.0
    asked: list[JudgeRequest] = field(default_factory=list)

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked += requests
        return [self._verdict(request) for request in requests]

    def _verdict(self, request: JudgeRequest) -> JudgeReply:
        first, second = (merit(turns[0]) + self.bias * len(turns[0]) for turns in request.answers)
        p = sigmoid(first - second)
        return JudgeReply("", {"m": math.log(p), "M": math.log1p(-p)})


@dataclass
class Scripted(Judge):
    """Gives the replies that a function makes of requests; keeps what it was asked."""

    name = "scripted"
    reply: Callable[[JudgeRequest], JudgeReply]
    asked: list[JudgeRequest] = field(default_factory=list)
    calls: int = 0

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.calls += 1
        self.asked += requests
        return [self.reply(request) for request in requests]


@dataclass(frozen=True)
class World:
    """The classes above, for tests to make what they need."""

    policy: type[WordyPolicy] = WordyPolicy
    source: type[Questions] = Questions
    length_lover: type[LengthLover] = LengthLover
    scripted: type[Scripted] = Scripted

    def plain_questions(self, count: int) -> list[Question]:
        return [Question(f"q{i:03d}", (f"What is {i} plus {i}?",)) for i in range(count)]


@pytest.fixture(scope="session")
def world() -> World:
    return World()
