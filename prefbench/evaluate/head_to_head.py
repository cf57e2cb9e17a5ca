"""What AlpacaEval 2 and AlpacaEval 1 share: one answer per question, each compared with a baseline's by the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api import Calibration, Harness, Items, Judge, JudgeLoad, Policy, Question, Sampling, Source, hyper
from prefbench.errors import PrefbenchError, shortened
from prefbench.evaluate.alpaca_eval_files import Outputs, read_outputs
from prefbench.evaluate.annotators import OWN, load_annotator
from prefbench.evaluate.pairwise import Comparison, Verdict, verdicts
from prefbench.evaluate.questions import CHARACTERS_PER_TOKEN, questions_of

DECIMALS = 8
"""Kept of every preference: a win rate in percent is then right to a millionth."""

_OWN_KEYS = ("harness", "id", "preference", "flip", "length", "baseline_length", "strength")


@dataclass
class HeadToHead(Harness):
    """Answers against a baseline's. Rates are shares in [0, 1]; lengths are characters, as alpaca-eval counts them."""

    asks_judge: ClassVar[bool] = True
    prefix: ClassVar[str] = ""
    """What the names of its metrics begin with, so that two of them stand on one board."""

    temperature: float = hyper(1.0, low=0.0, doc="of the graded answers, and of the baseline's where prefbench makes it")
    max_new_tokens: int = hyper(64, low=1, doc="limit of an answer")
    top_p: float = hyper(1.0, low=0.01, high=1.0, doc="share of the probability that answers are drawn from")
    repetition_penalty: float = hyper(1.0, low=0.01, doc="factor against tokens that stand in the prompt or in the answer so far")
    annotator: str = hyper(OWN, doc="prompt and parser of the judge: prefbench for ours, or a name in alpaca-eval's evaluators_configs")
    both_orders: bool = hyper(False, doc="ask about every comparison in both orders, and take the mean")

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """A row per question: ``id``, ``answer`` and its ``length``. All versions of AlpacaEval grade the same draws."""
        questions = source.questions(self.name)
        answers = self._answers(policy, questions, self.temperature, "alpaca_eval")
        return [{"id": q.id, "answer": answer, "length": len(answer)} for q, answer in zip(questions, answers, strict=True)]

    def _references(self, source: Source) -> tuple[Outputs, dict[str, str]] | None:
        """The source's file of reference outputs, and its answers by question id; None where the source has none.

        Raises PrefbenchError that names a question without an answer.
        """
        path = source.files(self.name).get("references")
        if path is None:
            return None
        outputs, questions = read_outputs(Path(path)), questions_of(source, self.name)
        answers = outputs.by_id(questions)
        for question in questions:
            if question.id not in answers:
                raise PrefbenchError(
                    f"{self.name}: {outputs.path.name} has no reference output to {shortened(question.turns[0])} (question {question.id})",
                    "give the outputs to the questions that are asked, with the same instructions letter by letter",
                )
        return outputs, answers

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """An item per row: ``preference`` over the baseline (null without a verdict), both lengths, and the source's own comparisons.

        With ``both_orders`` also ``flip``: whether the two orders contradict each other.
        """
        questions = {q.id: q for q in source.questions(self.name)}
        asked = [Comparison(questions[row["id"]], self._baseline(calibration, row["id"]), row["answer"]) for row in rows]
        return [self._item(c, verdict, source) for c, verdict in zip(asked, self._verdicts(asked, judge), strict=True)]

    def _verdicts(self, comparisons: Sequence[Comparison], judge: Judge) -> list[Verdict]:
        """The judge's verdicts, by the annotator's prompt and parser."""
        return verdicts(comparisons, judge, load_annotator(self.annotator), self.both_orders)

    def _item(self, comparison: Comparison, verdict: Verdict, source: Source) -> dict[str, Any]:
        known = source.compare(comparison.question, comparison.answer, comparison.baseline)
        return {
            "harness": self.name,
            "id": comparison.question.id,
            "preference": None if verdict.preference is None else round(verdict.preference, DECIMALS),
            **({"flip": verdict.flip} if self.both_orders else {}),
            "length": len(comparison.answer),
            "baseline_length": len(comparison.baseline),
            **{metric: round(value, 4) for metric, value in known.items()},
        }

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """``win_rate``, ``length``, ``flip_rate`` of both orders, and one metric for each comparison that the source made."""
        extra = dict.fromkeys(key for item in items for key in item if key not in _OWN_KEYS)
        columns = {"win_rate": "preference", "flip_rate": "flip", "length": "length", **{key: key for key in extra}}
        values = {f"{self.prefix}{metric}": _column(items, key) for metric, key in columns.items()}
        return {metric: by_id for metric, by_id in values.items() if by_id}

    def counts(self, items: Items) -> Mapping[str, int]:
        """``judged`` and ``null``: questions with and without a preference."""
        null = sum(item["preference"] is None for item in items)
        return {"judged": len(items) - null, "null": null}

    def judge_load(self, source: Source) -> JudgeLoad:
        """A request per question and order, each with the question and two answers."""
        return self._load(source, 1)

    def _load(self, source: Source, answers: int) -> JudgeLoad:
        """Of comparing that many answers to every question with the baseline's."""
        annotator, questions = load_annotator(self.annotator), source.questions(self.name)
        found = self._references(source) if questions else None
        longest = CHARACTERS_PER_TOKEN * self.max_new_tokens
        texts = sum(len(question.turns[0]) + (len(found[1][question.id]) if found else longest) + longest for question in questions)
        times = answers * (2 if self.both_orders else 1)
        requests = times * len(questions)
        characters = times * texts + requests * annotator.characters
        return JudgeLoad(requests, characters, requests * annotator.reply_tokens, open_replies=0 if annotator.reply_tokens else requests)

    def _baseline(self, calibration: Calibration, id_: str) -> str:
        try:
            answer: str = calibration.texts["baseline"][id_]
        except KeyError:
            message = f"{self.name}: the calibration holds no baseline answer to question {id_}"
            raise PrefbenchError(message, "calibrate the track again") from None
        return answer

    def _answers(self, policy: Policy, questions: Sequence[Question], temperature: float, stream: str) -> list[str]:
        sampling = [Sampling(temperature, self.max_new_tokens, self.top_p, self.repetition_penalty)] * len(questions)
        return [turns[0] for turns in policy.answer(questions, sampling, stream)]


def _column(items: Items, key: str) -> dict[str, float]:
    """Floats by id: a flag counts 1 or 0."""
    return {item["id"]: float(item[key]) if isinstance(item[key], bool) else item[key] for item in items if item.get(key) is not None}
