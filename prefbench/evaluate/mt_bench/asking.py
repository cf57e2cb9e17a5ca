"""What the judge is asked about answers, as FastChat pairs and renders it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prefbench.api import JudgeLoad, JudgeRequest, Message, Question
from prefbench.errors import PrefbenchError
from prefbench.evaluate.mt_bench.files import PAIRWISE, SINGLE, Answers
from prefbench.evaluate.mt_bench.reading import LETTERS, RATINGS
from prefbench.evaluate.questions import CHARACTERS_PER_TOKEN
from prefbench.evaluate.stand_ins import replaced, stand_ins

if TYPE_CHECKING:
    from fastchat.llm_judge.common import Judge, MatchPair, MatchSingle

    Match: TypeAlias = MatchSingle | MatchPair

PARAMETERS = {"temperature": 0, "max_tokens": 2048}
"""What FastChat sends with the messages."""

_POLICY, _BASELINE, _JUDGE = "policy", "baseline", "judge"

Candidates = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Sheet:
    """What is graded: a model's answers, a baseline's where they are compared, and the judge's prompts by name."""

    questions: Sequence[Question]
    answers: Answers
    baseline: Answers | None
    prompts: Mapping[str, Mapping[str, Any]]

    @property
    def grading(self) -> str:
        """``single`` without a baseline, else ``pairwise``."""
        return SINGLE if self.baseline is None else PAIRWISE


@dataclass(frozen=True)
class AskedTurn:
    """A turn, 1 or 2, and what the judge is asked of it: one request, or two, with the baseline's answer shown second and then first."""

    question: Question
    turn: int
    requests: tuple[JudgeRequest, ...]


def asked_turns(sheet: Sheet) -> list[AskedTurn]:
    """Every question's first turn, then the second turn of those that have two, in FastChat's order.

    Raises ``PrefbenchError`` for a question of a category that FastChat grades beside reference answers when it has none, and for a prompt
    with a placeholder that FastChat does not fill.
    """
    matches = _matches(sheet)
    messages = _overheard(matches)
    questions = {question.id: question for question in sheet.questions}
    return [_asked_turn(match, questions[match.question["question_id"]], sheet, messages) for match in matches]


def _asked_turn(match: Match, question: Question, sheet: Sheet, messages: Iterator[tuple[Message, ...]]) -> AskedTurn:
    turn = 2 if match.multi_turn else 1
    verdicts = RATINGS if sheet.grading == SINGLE else LETTERS
    requests = [
        JudgeRequest(next(messages), question, tuple(answer[:turn] for answer in shown), verdicts=verdicts, parameters=PARAMETERS)
        for shown in _shown(sheet, question.id)
    ]
    return AskedTurn(question, turn, tuple(requests))


def _shown(sheet: Sheet, id_: str) -> tuple[Candidates, ...]:
    """The answers of each request, in the order in which it shows them."""
    answer = sheet.answers[id_]
    if sheet.baseline is None:
        return ((answer,),)
    return ((answer, sheet.baseline[id_]), (sheet.baseline[id_], answer))


# ---------------------------------------------------------------- FastChat's matches


def _matches(sheet: Sheet) -> list[Match]:
    with stand_ins():
        from fastchat.llm_judge.common import NEED_REF_CATS
        from fastchat.llm_judge.gen_judgment import make_judge_pairwise, make_judge_single, make_match, make_match_single
    make_judges, make = (make_judge_single, make_match_single) if sheet.baseline is None else (make_judge_pairwise, make_match)
    judges: dict[str, Judge] = make_judges(_JUDGE, sheet.prompts)
    texts = {name: {id_: _choice(turns) for id_, turns in answers.items()} for name, answers in _answers(sheet).items()}
    plain = [_record(question) for question in sheet.questions if question.category not in NEED_REF_CATS]
    exact = [question for question in sheet.questions if question.category in NEED_REF_CATS]
    references = {_JUDGE: {question.id: _choice(_references(question)) for question in exact}}
    matches: list[Match] = []
    for turn, multi_turn in (("", False), ("-mt", True)):
        common = {"models": [_POLICY], "model_answers": texts, "baseline_model": _BASELINE, "multi_turn": multi_turn}
        matches += make(plain, judge=judges[f"default{turn}"], **common)
        matches += make([_record(question) for question in exact], judge=judges[f"math{turn}"], ref_answers=references, **common)
    return matches


def _answers(sheet: Sheet) -> dict[str, Answers]:
    return {_POLICY: sheet.answers} | ({} if sheet.baseline is None else {_BASELINE: sheet.baseline})


def _record(question: Question) -> dict[str, Any]:
    return {"question_id": question.id, "category": question.category, "turns": list(question.turns)}


def _choice(turns: Sequence[str]) -> dict[str, Any]:
    return {"choices": [{"turns": list(turns)}]}


def _references(question: Question) -> tuple[str, ...]:
    if len(question.references) < len(question.turns):
        raise PrefbenchError(
            f"mt_bench: question {question.id} of category {question.category} has {len(question.references)} reference answers, "
            f"and FastChat grades that category beside one for each of its {len(question.turns)} turns",
            "give the question `references`, one per turn, or another category",
        )
    return question.references


# ---------------------------------------------------------------- what FastChat would send


def _overheard(matches: Sequence[Match]) -> Iterator[tuple[Message, ...]]:
    """The messages of every call of an endpoint that FastChat makes while it plays the matches, in order.

    FastChat renders and asks in one function, one verdict at a time, through a client library that is no more. Here it plays to somebody
    who only listens: what it reads of the empty replies is thrown away.
    """
    heard: list[tuple[Message, ...]] = []

    def listen(model: str, conversation: Any, **_: Any) -> str:
        heard.append(tuple(conversation.to_openai_api_messages()))
        return ""

    with _filling_in():
        _play(matches, listen)
    return iter(heard)


@contextmanager
def _filling_in() -> Iterator[None]:
    """What goes wrong within it is a prompt's fault."""
    try:
        yield
    except (KeyError, IndexError, ValueError) as error:
        message = f"mt_bench: a judge prompt cannot be filled in: {type(error).__name__}: {error}"
        raise PrefbenchError(message, "its placeholders are those of FastChat's prompt of that name; a brace is written twice") from None


def _play(matches: Sequence[Match], complete: Callable[..., str]) -> None:
    from fastchat.conversation import get_conv_template
    from fastchat.llm_judge import common

    ours = {
        "OPENAI_MODEL_LIST": (_JUDGE,),  # any other name is refused
        "get_conversation_template": lambda name: get_conv_template("chatgpt"),  # an unknown name gets a whole example dialogue in front
        "chat_completion_openai": complete,
    }
    with replaced(common, **ours), redirect_stdout(io.StringIO()):
        for match in matches:
            play = common.play_a_match_single if isinstance(match, common.MatchSingle) else common.play_a_match_pair
            play(match, output_file="")


# ---------------------------------------------------------------- what it costs at most


def largest_load(questions: Sequence[Question], prompts: Mapping[str, Mapping[str, Any]], grading: str, max_new_tokens: int) -> JudgeLoad:
    """What is asked of the judge when every answer and every reply is as long as it may be; FastChat's library is not needed for it."""
    orders = 1 if grading == SINGLE else 2
    answer = " " * (CHARACTERS_PER_TOKEN * max_new_tokens)
    with _filling_in():
        longest = [_longest_prompt(question, turn, prompts, answer) for question in questions for turn in _graded(question)]
    requests = orders * len(longest)
    return JudgeLoad(requests, orders * sum(longest), requests * PARAMETERS["max_tokens"])


def _graded(question: Question) -> tuple[int, ...]:
    """The turns that FastChat grades: the second only where there are two."""
    return (1, 2) if len(question.turns) == 2 else (1,)


def _longest_prompt(question: Question, turn: int, prompts: Mapping[str, Mapping[str, Any]], answer: str) -> int:
    """Characters of the longer of a turn's two prompts, without and with references."""
    first, last = question.turns[0], question.turns[turn - 1]
    texts = {"question": first, "question_1": first, "question_2": last}
    texts |= {f"ref_answer_{n}": text for n, text in enumerate((*question.references, "", "")[:2], start=1)}
    texts |= {f"answer{side}{n}": answer for side in ("", "_a", "_b") for n in ("", "_1", "_2")}
    of_turn = [prompt for name, prompt in prompts.items() if name.endswith("-multi-turn") == (turn == 2)]
    return max(len(prompt["system_prompt"]) + len(prompt["prompt_template"].format(**texts)) for prompt in of_turn)
