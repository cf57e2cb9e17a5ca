"""The contract of judges: what a harness relies on when it asks one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from prefbench.api import Judge, JudgeReply, JudgeRequest, Question
from prefbench.testing.contract import Contract, require

CHOICES = ("m", "M")
"""The verdict tokens that a comparison asks for."""
QUESTIONS = (
    Question("1", ("Name three fruits.", "Now in reverse order."), "writing"),
    Question("2", ("What is two plus three?", "And times four?"), "math", references=("Five.", "Twenty.")),
)


class JudgeContract(Contract[Judge]):
    """Every check of a judge.

    ``questions`` are what it is asked about, two turns each: a judge that knows only the questions of its own source needs some of these.
    """

    questions: ClassVar[Sequence[Question]] = QUESTIONS
    answers: ClassVar[Sequence[str]] = ("apples , pears and plums .", "five", "")
    """Answers that are compared and graded; the empty one is what a policy gives that ends at once."""

    def exercise(self, component: Judge) -> None:
        """Ask everything once."""
        component.judge(self.requests())

    def requests(self) -> list[JudgeRequest]:
        """Comparisons of every two answers in both orders, and grades of one and of two turns."""
        compared = [
            JudgeRequest(_messages(question, (one,), (other,)), question, ((one,), (other,)), CHOICES)
            for question in self.questions
            for one in self.answers
            for other in self.answers
        ]
        turns = [(one,) for one in self.answers] + [(one, other) for one in self.answers for other in self.answers]
        graded = [JudgeRequest(_messages(question, answer), question, (answer,)) for question in self.questions for answer in turns]
        return compared + graded

    def test_one_reply_per_request_in_order(self) -> None:
        """As many replies as requests, each that of its own request: asked for alone it is the same."""
        for make in self.makers():
            judge, requests = make(), self.requests()
            replies = judge.judge(requests)
            wrong = f"it gives {_count(replies)} for {len(requests)} requests"
            right = isinstance(replies, list) and len(replies) == len(requests) and all(isinstance(reply, JudgeReply) for reply in replies)
            require(right, judge, wrong, "judge(requests) returns a list with a JudgeReply for every request")
            alone = [judge.judge([request])[0] for request in requests[::5]]
            remedy = "give replies in the order of the requests, and let none depend on the others"
            require(alone == replies[::5], judge, "a request asked alone has another reply than among others", remedy)

    def test_the_same_request_has_the_same_reply(self) -> None:
        """Asked again, and by a new judge, it replies the same."""
        for make in self.makers():
            judge, requests = make(), self.requests()
            first = judge.judge(requests)
            same = judge.judge(requests) == first and make().judge(requests) == first
            require(
                same,
                judge,
                "the same request has another reply at the second time",
                "draw nothing at random, or from a seed of the request",
            )

    def test_log_probs_are_of_every_choice_or_none(self) -> None:
        """Where choices are asked for, each has a log-prob of at most 0 nats, none of them NaN; or the reply has none at all."""
        for make in self.makers():
            judge, requests = make(), self.requests()
            for request, reply in zip(requests, judge.judge(requests), strict=True):
                given = reply.log_probs
                if given is None:
                    continue
                remedy = "log_probs maps each of request.choices to its log-prob in nats, or is None"
                require(
                    set(request.choices) <= set(given),
                    judge,
                    f"it gives log-probs of {sorted(given)} where {request.choices} are due",
                    remedy,
                )
                odd = [value for value in given.values() if math.isnan(value) or value > 1e-9]
                require(not odd, judge, f"it gives the log-prob {odd[:1]}", remedy)

    def test_replies_are_texts(self) -> None:
        """Also about empty answers."""
        for make in self.makers():
            judge = make()
            odd = [reply.text for reply in judge.judge(self.requests()) if not isinstance(reply.text, str)]
            require(not odd, judge, f"its reply has the text {odd[:1]}", "the text of a reply is a str")


def _messages(question: Question, *answers: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    """The question with its candidates, as a harness would render them in few words."""
    shown = "\n".join(f"{name}: {' | '.join(answer)}" for name, answer in zip(CHOICES, answers, strict=False))
    return ({"role": "user", "content": f"{question.turns[0]}\n{shown}\nWhich is better?"},)


def _count(replies: object) -> str:
    return f"{len(replies)} replies" if isinstance(replies, list) else type(replies).__name__
