"""The harness MT-Bench: answers to two-turn dialogues collected, graded or compared, and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from prefbench.api import Calibration, Harness, Items, Judge, JudgeLoad, Policy, Question, Sampling, Source, hyper
from prefbench.errors import PrefbenchError
from prefbench.evaluate.checked import checked_replies
from prefbench.evaluate.mt_bench.asking import AskedTurn, Sheet, asked_turns, largest_load
from prefbench.evaluate.mt_bench.averages import averages, by_question, flip_of, score_of, win_of
from prefbench.evaluate.mt_bench.files import OWN_PROMPTS, PAIRWISE, SINGLE, Answers, answers_to, judge_prompts, model_answers
from prefbench.evaluate.mt_bench.reading import SHOWN_FIRST, SHOWN_SECOND, read_letter, read_rating
from prefbench.evaluate.questions import questions_of
from prefbench.evaluate.stand_ins import stand_ins


@dataclass
class MtBench(Harness):
    """MT-Bench: the mean score by single-answer grading, or the win rate over a baseline in both orders; by turn and by category as well.

    Scores are FastChat's, 1 to 10; rates are shares in [0, 1]. A verdict in which nothing can be read is null and counted as unparsed; one
    that says two different things is null and counted as ambiguous.
    """

    name: ClassVar[str] = "mt_bench"
    asks_judge: ClassVar[bool] = True
    source: ClassVar[str] = "lm-sys/FastChat 0.2.36, fastchat.llm_judge; Zheng et al., Judging LLM-as-a-Judge (2023)"
    deviations: ClassVar[str] = (
        "The model's own chat template; one temperature unless by_category; prompts in our words unless the source brings FastChat's; "
        "reference answers from the source and not under the judge's name. FastChat takes the first of several verdicts, any number "
        "as a rating, and drops missing ones in silence: here contradictions and ratings outside 1 to 10 are null, and all are counted."
    )

    grading: str = hyper(SINGLE, choices=(SINGLE, PAIRWISE), doc="each answer alone, or beside the baseline's in both orders")
    temperature: float = hyper(0.7, low=0.0, doc="of the answers")
    by_category: bool = hyper(False, doc="FastChat's own temperature for each category that it names, instead of the one above")
    top_p: float = hyper(1.0, low=0.01, high=1.0, doc="share of the probability that answers are drawn from")
    max_new_tokens: int = hyper(64, low=1, doc="limit of an answer, each turn")

    # ---------------------------------------------------------------- answers

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """A row per question: ``id`` and ``answers``, a text per turn."""
        return [{"id": id_, "answers": list(turns)} for id_, turns in self._answers(policy, source.questions(self.name), self.name).items()]

    def _answers(self, policy: Policy, questions: Sequence[Question], stream: str) -> Answers:
        found = policy.answer(questions, self._sampling(questions), stream)
        return {question.id: turns for question, turns in zip(questions, found, strict=True)}

    def _sampling(self, questions: Sequence[Question]) -> list[Sampling]:
        own = _temperatures() if self.by_category else {}
        return [Sampling(own.get(question.category, self.temperature), self.max_new_tokens, self.top_p) for question in questions]

    def draws_baseline(self, source: Source) -> bool:
        """Whether answers are compared with those of the model that training starts from, because the source brings no others."""
        return self.grading == PAIRWISE and "baseline" not in source.files(self.name)

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """The baseline's answers, where they are compared with the model that training starts from.

        That questions, reference answers, prompts or a baseline's answers are missing is found here, and not after a training.
        """
        questions = questions_of(source, self.name)
        texts = {}
        if self.draws_baseline(source):
            baseline = self._answers(policy, questions, f"{self.name}/baseline")
            texts = {"baseline": {id_: list(turns) for id_, turns in baseline.items()}}
        calibration = Calibration(texts=texts)
        asked_turns(self._sheet(questions, {question.id: question.turns for question in questions}, source, calibration))
        return calibration

    # ---------------------------------------------------------------- judgments

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """An item per graded turn: ``id`` is the question's with the turn after a slash.

        With single grading it has a ``score``, null where none was found; with pairwise grading the ``verdicts`` of the two orders (``win``,
        ``tie``, ``loss`` or null), the answer shown first in the first. ``ambiguous`` is there, and true, where a verdict said two things.
        A request holds the candidates up to the turn. Raises ``PrefbenchError`` as ``asked_turns`` does.
        """
        known = {question.id: question for question in source.questions(self.name)}
        sheet = self._sheet([known[row["id"]] for row in rows], {row["id"]: tuple(row["answers"]) for row in rows}, source, calibration)
        asked = asked_turns(sheet)
        replies = iter(checked_replies(judge, [request for turn in asked for request in turn.requests]))
        return [self._item(turn, [next(replies).text for _ in turn.requests]) for turn in asked]

    def _sheet(self, questions: Sequence[Question], answers: Answers, source: Source, calibration: Calibration) -> Sheet:
        prompts = judge_prompts(source.files(self.name).get("judge_prompts", OWN_PROMPTS), self.grading)
        baseline = self._baseline(questions, source, calibration) if self.grading == PAIRWISE else None
        return Sheet(questions, answers, baseline, prompts)

    def _baseline(self, questions: Sequence[Question], source: Source, calibration: Calibration) -> Answers:
        path = source.files(self.name).get("baseline")
        if path is None:
            fixed = {id_: tuple(turns) for id_, turns in calibration.texts.get("baseline", {}).items()}
            return answers_to(questions, fixed, "the calibration")
        models = model_answers(path)
        if len(models) > 1:
            raise PrefbenchError(f"{path}: holds the answers of {', '.join(models)}", "a baseline is one model: give a file of its own")
        return answers_to(questions, next(iter(models.values())), str(path))

    def _item(self, asked: AskedTurn, texts: Sequence[str]) -> dict[str, Any]:
        own, *others = (len(answer[asked.turn - 1]) for answer in asked.requests[0].answers)
        return {
            "harness": self.name,
            "id": f"{asked.question.id}/{asked.turn}",
            "question": asked.question.id,
            "turn": asked.turn,
            "category": asked.question.category,
            **(_graded(texts[0]) if self.grading == SINGLE else _compared(texts)),
            "length": own,
            **({"baseline_length": others[0]} if others else {}),
        }

    # ---------------------------------------------------------------- metrics

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """``mt_bench``, or ``mt_bench_win_rate`` (a tie is half a win) and ``mt_bench_flip_rate``, by question; see ``by_question``.

        Score and win rate also for each turn (``mt_bench_turn_1``) and category (``mt_bench[math]``).
        """
        if self.grading == SINGLE:
            return averages(items, "mt_bench", score_of)
        flips = by_question(items, flip_of)
        return averages(items, "mt_bench_win_rate", win_of) | ({"mt_bench_flip_rate": flips} if flips else {})

    def counts(self, items: Items) -> Mapping[str, int]:
        """``judged``, ``unparsed`` and, where there are any, ``ambiguous``: turns with a verdict, without one, and with contradicting ones."""
        value = score_of if self.grading == SINGLE else win_of
        judged = sum(value(item) is not None for item in items)
        ambiguous = sum(item.get("ambiguous", False) for item in items)
        counts = {"judged": judged, "unparsed": len(items) - judged - ambiguous}
        return counts | ({"ambiguous": ambiguous} if ambiguous else {})

    def judge_load(self, source: Source) -> JudgeLoad:
        """At most: every answer and every reply as long as it may be."""
        prompts = judge_prompts(source.files(self.name).get("judge_prompts", OWN_PROMPTS), self.grading)
        return largest_load(source.questions(self.name), prompts, self.grading, self.max_new_tokens)


def _temperatures() -> Mapping[str, float]:
    """FastChat's temperature of each category."""
    with stand_ins():
        from fastchat.llm_judge.common import temperature_config
    return dict(temperature_config)


def _graded(text: str) -> dict[str, Any]:
    found = read_rating(text)
    score = None if found.value is None else round(found.value, 4)
    return {"score": score} | ({"ambiguous": True} if found.ambiguous else {})


def _compared(texts: Sequence[str]) -> dict[str, Any]:
    found = [read_letter(text) for text in texts]
    meanings = (SHOWN_FIRST, SHOWN_SECOND)
    verdicts = [None if reading.value is None else meaning[reading.value] for reading, meaning in zip(found, meanings, strict=True)]
    return {"verdicts": verdicts} | ({"ambiguous": True} if any(reading.ambiguous for reading in found) else {})
