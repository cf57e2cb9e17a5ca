"""AlpacaEval: one answer per question, compared with fixed answers of the model that training starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prefbench.api import Calibration, Fitted, Harness, Items, Judge, Policy, Question, Sampling, Source, hyper
from prefbench.errors import PrefbenchError
from prefbench.evaluate import length_control
from prefbench.evaluate.pairwise import OWN_PROMPT, STOCK_PROMPT, Comparison, preferences
from prefbench.evaluate.questions import questions_of

PANEL_TEMPERATURES = (1.0, 0.7, 1.0, 1.3)
"""Temperatures of the reference-level answers, in turn: half at the model's own, the others worse on purpose, each in its own way."""

GamedRows = dict[str, tuple[int, float | None]]
"""By question id: the baseline's length minus the answer's, in characters, and the answer's preference over the baseline."""

_OWN_KEYS = ("harness", "id", "preference", "length", "baseline_length", "strength")


@dataclass
class AlpacaEval(Harness):
    """AlpacaEval 2 through alpaca-eval: win rate, length-controlled win rate, and whatever else the source can tell about two answers.

    Rates are shares in [0, 1]; lengths are characters, as alpaca-eval counts them.
    """

    name: ClassVar[str] = "alpaca_eval"
    asks_judge: ClassVar[bool] = True
    source: ClassVar[str] = "tatsu-lab/alpaca_eval 0.6.6; Dubois et al., Length-Controlled AlpacaEval (2024)"
    deviations: ClassVar[str] = (
        "The baseline is the model that training starts from, on the source's questions. Difficulty is the logit of a panel's mean "
        "preference, keyed by question; the gamed baselines are the panel's longest and shortest answers. Every answer enters the prompt "
        "once and verbatim. A judge without log-probs casts a whole vote."
    )

    temperature: float = hyper(1.0, low=0.0, doc="of the graded answers and of the baseline's")
    max_new_tokens: int = hyper(64, low=1, doc="limit of an answer")
    panel: int = hyper(10, low=10, doc="reference-level answers per question that the difficulty is measured with")
    prompt: str = hyper(OWN_PROMPT, choices=(OWN_PROMPT, STOCK_PROMPT), doc="of the judge: ours, or that of AlpacaEval 2")

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """A row per question: ``id``, ``answer`` and its ``length``."""
        questions = source.questions(self.name)
        answers = self._answers(policy, questions, self.temperature, self.name)
        return [{"id": q.id, "answer": answer, "length": len(answer)} for q, answer in zip(questions, answers, strict=True)]

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """The baseline's answers; each question's difficulty; and what verbose and concise answers of equal merit are worth.

        The ``panel`` answers of the same model are judged against the baseline. ``difficulty`` is the logit of their mean preference,
        which half a vote keeps off 0 and 1. The gamed rows are the baseline made verbose and concise without another model: the longest
        and the shortest of the panel's answers at temperature 1, which differ from the baseline in luck and length only; each is (length
        difference, preference) by id.
        """
        questions = questions_of(source, self.name)
        baseline = self._answers(policy, questions, self.temperature, f"{self.name}/baseline")
        temperatures = [PANEL_TEMPERATURES[k % len(PANEL_TEMPERATURES)] for k in range(self.panel)]
        panel = [self._answers(policy, questions, t, f"{self.name}/panel/{k}") for k, t in enumerate(temperatures)]
        asked = [Comparison(q, b, a) for answers in panel for q, b, a in zip(questions, baseline, answers, strict=True)]
        judged = np.array(preferences(asked, judge, self.prompt), dtype=np.float64).reshape(self.panel, len(questions))
        lengths = np.array([[len(a) for a in answers] for answers in panel], dtype=np.int64).reshape(judged.shape)
        ids = [q.id for q in questions]
        fair = np.array(temperatures) == PANEL_TEMPERATURES[0]
        gamed = _gamed(np.array([len(b) for b in baseline]), lengths[fair], judged[fair], ids)
        return Calibration(
            texts={"baseline": dict(zip(ids, baseline, strict=True))},
            numbers={"difficulty": _difficulty(judged, ids), "gamed": gamed},
        )

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """An item per row: ``preference`` over the baseline (null without a verdict), both lengths, and the source's own comparisons.

        ``strength`` is the C of the length control, chosen here once: cross-validation picks another one under another scikit-learn, and
        a stored number has to be found again everywhere.
        """
        questions = {q.id: q for q in source.questions(self.name)}
        asked = [Comparison(questions[row["id"]], _baseline(calibration, row["id"]), row["answer"]) for row in rows]
        judged = preferences(asked, judge, self.prompt)
        items = [self._item(c, p, source) for c, p in zip(asked, judged, strict=True)]
        if length_control.refusal(items, calibration) is not None:
            return items
        strength = length_control.choose_strength(length_control.comparisons(items, calibration))
        return [{**item, "strength": strength} for item in items]

    def _item(self, comparison: Comparison, preference: float | None, source: Source) -> dict[str, Any]:
        known = source.compare(comparison.question, comparison.answer, comparison.baseline)
        return {
            "harness": self.name,
            "id": comparison.question.id,
            "preference": None if preference is None else round(preference, 4),
            "length": len(comparison.answer),
            "baseline_length": len(comparison.baseline),
            **{metric: round(value, 4) for metric, value in known.items()},
        }

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """``win_rate``, ``length``, and one metric for each comparison that the source made."""
        extra = dict.fromkeys(key for item in items for key in item if key not in _OWN_KEYS)
        columns = {"win_rate": "preference", "length": "length", **{key: key for key in extra}}
        return {metric: _column(items, key) for metric, key in columns.items()}

    def fitted(self, items: Items, calibration: Calibration) -> Mapping[str, Fitted]:
        """``length_controlled_win_rate``, unless ``length_control.refusal`` says why not; it counts questions in the order of the items."""
        if length_control.refusal(items, calibration) is not None:
            return {}
        return {"length_controlled_win_rate": length_control.length_controlled(items, calibration)}

    def counts(self, items: Items) -> Mapping[str, int]:
        """``judged`` and ``null``: questions with and without a preference."""
        null = sum(item["preference"] is None for item in items)
        return {"judged": len(items) - null, "null": null}

    def _answers(self, policy: Policy, questions: Sequence[Question], temperature: float, stream: str) -> list[str]:
        sampling = [Sampling(temperature, self.max_new_tokens)] * len(questions)
        return [turns[0] for turns in policy.answer(questions, sampling, stream)]


def _column(items: Items, key: str) -> dict[str, float]:
    return {item["id"]: item[key] for item in items if item.get(key) is not None}


def _baseline(calibration: Calibration, id_: str) -> str:
    try:
        answer: str = calibration.texts["baseline"][id_]
    except KeyError:
        message = f"alpaca_eval: the calibration holds no baseline answer to question {id_}"
        raise PrefbenchError(message, "calibrate the track again") from None
    return answer


def _difficulty(judged: np.ndarray, ids: Sequence[str]) -> dict[str, float]:
    """The logit of the mean preference (panel, Q) over the panel; a question that has no preference at all is left out."""
    votes = np.sum(~np.isnan(judged), axis=0)
    mean = np.nansum(judged, axis=0) / np.maximum(votes, 1)
    half = 0.5 / np.maximum(votes, 1)
    mean = np.clip(mean, half, 1.0 - half)
    logits = np.log(mean) - np.log1p(-mean)
    return {id_: round(float(logit), 6) for id_, logit, n in zip(ids, logits, votes, strict=True) if n > 0}


def _gamed(baseline: np.ndarray, lengths: np.ndarray, judged: np.ndarray, ids: Sequence[str]) -> dict[str, GamedRows]:
    """The verbose and the concise rows, from the baseline's lengths (Q,) and the lengths and preferences (panel, Q) of the answers."""
    rows = {}
    for kind, picked in (("verbose", lengths.argmax(axis=0)), ("concise", lengths.argmin(axis=0))):
        at = (picked, np.arange(len(ids)))
        difference = (baseline - lengths[at]).tolist()
        preference = [None if np.isnan(p) else round(p, 4) for p in judged[at].tolist()]
        rows[kind] = dict(zip(ids, zip(difference, preference, strict=True), strict=True))
    return rows
