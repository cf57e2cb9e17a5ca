"""MT-Bench: two-turn dialogues, each turn graded from 1 to 10 through FastChat's matches, judge functions and parsing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prefbench.api import Calibration, Harness, Items, Judge, JudgeRequest, Message, Policy, Question, Sampling, Source, hyper
from prefbench.errors import PrefbenchError
from prefbench.evaluate.checked import checked_replies
from prefbench.evaluate.questions import questions_of
from prefbench.evaluate.stand_ins import replaced, stand_ins

if TYPE_CHECKING:
    from fastchat.llm_judge.common import MatchSingle

PROMPTS = Path(__file__).parent / "prompts" / "mt_bench.jsonl"
"""The judge's prompts in FastChat's format, in prefbench's words."""

_MODEL = "policy"
_JUDGE = "judge"


@dataclass
class MtBench(Harness):
    """MT-Bench by single-answer grading: the mean score, that of each turn, and that of each category.

    Scores are FastChat's, 1 to 10. A verdict in which FastChat finds no rating is kept as null and counted as unparsed.
    """

    name: ClassVar[str] = "mt_bench"
    asks_judge: ClassVar[bool] = True
    source: ClassVar[str] = "lm-sys/FastChat 0.2.36, fastchat.llm_judge; Zheng et al., Judging LLM-as-a-Judge (2023)"
    deviations: ClassVar[str] = (
        "One temperature for every category, the model's own chat template, prompts in our words, reference answers from the source "
        "and not under the judge's name. Missing ratings are counted, where FastChat's result table drops them in silence."
    )

    temperature: float = hyper(0.7, low=0.0, doc="of the answers")
    max_new_tokens: int = hyper(64, low=1, doc="limit of an answer, each turn")

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """A row per question: ``id`` and ``answers``, a text per turn."""
        questions = source.questions(self.name)
        sampling = [Sampling(self.temperature, self.max_new_tokens)] * len(questions)
        answers = policy.answer(questions, sampling, self.name)
        return [{"id": q.id, "answers": list(turns)} for q, turns in zip(questions, answers, strict=True)]

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """Nothing is fixed; that questions and reference answers are missing is found here, and not after a training."""
        questions = questions_of(source, self.name)
        _matches(questions, {question.id: question.turns for question in questions})
        return Calibration()

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """An item per graded turn: ``id`` is the question's with the turn after a slash, ``score`` null where none was found.

        A request holds one candidate: the first answer alone, or both where the second turn is graded. Raises ``PrefbenchError`` for a
        question of a category that FastChat grades beside reference answers when the source gives none.
        """
        questions = {q.id: q for q in source.questions(self.name)}
        answers = {row["id"]: tuple(row["answers"]) for row in rows}
        matches = _matches([questions[id_] for id_ in answers], answers)
        results = _graded(matches, questions, judge)
        return [self._item(questions[r["question_id"]], r["turn"], r["score"], answers) for r in results]

    def _item(self, question: Question, turn: int, score: float, answers: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
        return {
            "harness": self.name,
            "id": f"{question.id}/{turn}",
            "question": question.id,
            "turn": turn,
            "category": question.category,
            "score": None if score == -1 else round(score, 4),
            "length": len(answers[question.id][turn - 1]),
        }

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """``mt_bench``, ``mt_bench_turn_1``, ``mt_bench_turn_2`` and ``mt_bench[category]``, by question; see ``by_question``."""
        subsets = {"mt_bench": items}
        for turn in (1, 2):
            subsets[f"mt_bench_turn_{turn}"] = [item for item in items if item["turn"] == turn]
        for category in dict.fromkeys(item["category"] for item in items if item["category"]):
            subsets[f"mt_bench[{category}]"] = [item for item in items if item["category"] == category]
        means = {metric: by_question(subset) for metric, subset in subsets.items()}
        return {metric: values for metric, values in means.items() if values}

    def counts(self, items: Items) -> Mapping[str, int]:
        """``judged`` and ``unparsed``: graded turns with and without a rating."""
        unparsed = sum(item["score"] is None for item in items)
        return {"judged": len(items) - unparsed, "unparsed": unparsed}


def by_question(items: Items) -> dict[str, float]:
    """A value per question, such that their mean is MT-Bench's average: the mean over all rated turns, not over questions.

    With every turn rated it is the mean of the question's scores. Where some have no rating the average is a ratio of sums, and a
    question gets the ratio's linearisation, R + (Q / N) (sum of its scores - R * its rated turns), for Q questions, N rated turns and
    average R: the mean is still R, and the variance between questions is that of the ratio, with a question's two turns kept together.
    """
    scores: dict[str, list[float]] = {}
    for item in items:
        if item["score"] is not None:
            scores.setdefault(item["question"], []).append(item["score"])
    rated = sum(map(len, scores.values()))
    average = sum(map(sum, scores.values())) / max(rated, 1)
    return {id_: average + len(scores) / rated * (sum(own) - average * len(own)) for id_, own in scores.items()}


def _matches(questions: Sequence[Question], answers: Mapping[str, tuple[str, ...]]) -> list[MatchSingle]:
    """FastChat's matches: every question's first turn, then the second turn of those that have two."""
    with stand_ins():
        from fastchat.llm_judge.common import NEED_REF_CATS, load_judge_prompts
        from fastchat.llm_judge.gen_judgment import make_judge_single, make_match_single
    judges = make_judge_single(_JUDGE, load_judge_prompts(str(PROMPTS)))
    texts = {_MODEL: {id_: _choice(turns) for id_, turns in answers.items()}}
    plain = [_record(q) for q in questions if q.category not in NEED_REF_CATS]
    exact = [q for q in questions if q.category in NEED_REF_CATS]
    references = {_JUDGE: {q.id: _choice(_references(q)) for q in exact}}
    matches: list[MatchSingle] = []
    for turn, multi_turn in (("", False), ("-mt", True)):
        matches += make_match_single(plain, [_MODEL], texts, judges[f"default{turn}"], multi_turn=multi_turn)
        matches += make_match_single(
            [_record(q) for q in exact], [_MODEL], texts, judges[f"math{turn}"], ref_answers=references, multi_turn=multi_turn
        )
    return matches


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


def _graded(matches: Sequence[MatchSingle], questions: Mapping[str, Question], judge: Judge) -> list[dict[str, Any]]:
    """FastChat's results of the matches with one call of the judge.

    FastChat asks for one verdict at a time, in the middle of grading. The matches are therefore played twice: once to hear what would be
    sent, and once, in the same order, to have the replies read.
    """
    sent: list[tuple[Message, ...]] = []

    def overhear(model: str, conversation: Any, **_: Any) -> str:
        sent.append(tuple(conversation.to_openai_api_messages()))
        return ""

    _play(matches, overhear)
    requests = [JudgeRequest(messages, *_facts(match, questions)) for match, messages in zip(matches, sent, strict=True)]
    texts = iter([reply.text for reply in checked_replies(judge, requests)])
    return _play(matches, lambda *_, **__: next(texts))


def _facts(match: MatchSingle, questions: Mapping[str, Question]) -> tuple[Question, tuple[tuple[str, ...]]]:
    """The question of a match and its one candidate: the turns that are shown as answers to grade."""
    shown = 2 if match.multi_turn else 1
    return questions[match.question["question_id"]], (tuple(match.answer["choices"][0]["turns"][:shown]),)


def _play(matches: Sequence[MatchSingle], complete: Callable[..., str]) -> list[dict[str, Any]]:
    """Play matches with ``complete`` in the place of FastChat's call of an endpoint, which no present client library supports."""
    from fastchat.conversation import get_conv_template
    from fastchat.llm_judge import common

    ours = {
        "OPENAI_MODEL_LIST": (_JUDGE,),  # any other name is refused
        "get_conversation_template": lambda name: get_conv_template("chatgpt"),  # an unknown name gets a whole example dialogue in front
        "chat_completion_openai": complete,
    }
    with replaced(common, **ours), redirect_stdout(io.StringIO()):
        return [common.play_a_match_single(match, output_file="") for match in matches]
