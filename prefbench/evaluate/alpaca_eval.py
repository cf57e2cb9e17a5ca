"""AlpacaEval 2 and AlpacaEval 1: the published baselines where the source has them, else the answers of the model that training starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from prefbench.api import Calibration, Fitted, Items, Judge, JudgeLoad, Policy, Source, hyper
from prefbench.errors import PrefbenchError
from prefbench.evaluate import length_control
from prefbench.evaluate.alpaca_eval_files import GamedRows, Outputs, read_tables
from prefbench.evaluate.annotators import load_annotator
from prefbench.evaluate.head_to_head import HeadToHead
from prefbench.evaluate.pairwise import Comparison
from prefbench.evaluate.questions import questions_of

PANEL_TEMPERATURES = (1.0, 0.7, 1.0, 1.3)
"""Temperatures of the reference-level answers, in turn: half at the model's own, the others worse on purpose, each in its own way."""


@dataclass
class AlpacaEval(HeadToHead):
    """AlpacaEval 2 through alpaca-eval: win rate, length-controlled win rate, and whatever else the source can tell about two answers.

    Rates are shares in [0, 1]; lengths are characters, as alpaca-eval counts them.
    """

    name: ClassVar[str] = "alpaca_eval"
    source: ClassVar[str] = "tatsu-lab/alpaca_eval 0.6.6; Dubois et al., Length-Controlled AlpacaEval (2024)"
    deviations: ClassVar[str] = (
        "Difficulty and gamed rows are keyed by question. Without reference outputs the baseline is the model that training starts from; "
        "difficulty is then the logit of a panel's mean preference, and the gamed baselines are the panel's longest and shortest answers. "
        "Every answer enters the prompt once and verbatim. A judge without log-probs casts a whole vote."
    )

    panel: int = hyper(
        10, low=10, doc="reference-level answers per question that the difficulty is measured with, without reference outputs"
    )

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """The baseline's answers; each question's difficulty; and what verbose and concise answers of equal merit are worth.

        Where the source has reference outputs they are the baseline, and difficulty and gamed rows are those of its files: without them there is
        no length control. Otherwise the ``panel`` answers of the starting model are judged against its baseline. ``difficulty`` is the logit of
        their mean preference, which half a vote keeps off 0 and 1. The gamed rows are the baseline made verbose and concise without another
        model: the longest and the shortest of the panel's answers at temperature 1, which differ from the baseline in luck and length only; each
        is (length difference, preference) by id.
        """
        load_annotator(self.annotator)
        found = self._references(source)
        return self._measured(policy, judge, source) if found is None else self._published(source, *found)

    def _published(self, source: Source, outputs: Outputs, baseline: Mapping[str, str]) -> Calibration:
        """From the source's files alone: nobody is asked."""
        files, questions = source.files(self.name), questions_of(source, self.name)
        if "gamed" not in files:
            return Calibration(texts={"baseline": dict(baseline)})
        difficulty = files.get("difficulty")
        tables = read_tables(Path(files["gamed"]), None if difficulty is None else Path(difficulty))
        tables.refuse_other_set(len(outputs.instructions or questions), f"{outputs.path.name}, whose order they follow,")
        return Calibration(texts={"baseline": dict(baseline)}, numbers=tables.numbers(outputs.places(questions)))

    def _measured(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """From the starting model's own answers, as the judge sees them."""
        questions = questions_of(source, self.name)
        baseline = self._answers(policy, questions, self.temperature, f"{self.name}/baseline")
        temperatures = [PANEL_TEMPERATURES[k % len(PANEL_TEMPERATURES)] for k in range(self.panel)]
        panel = [self._answers(policy, questions, t, f"{self.name}/panel/{k}") for k, t in enumerate(temperatures)]
        asked = [Comparison(q, b, a) for answers in panel for q, b, a in zip(questions, baseline, answers, strict=True)]
        preferences = [verdict.preference for verdict in self._verdicts(asked, judge)]
        judged = np.array(preferences, dtype=np.float64).reshape(self.panel, len(questions))
        lengths = np.array([[len(a) for a in answers] for answers in panel], dtype=np.int64).reshape(judged.shape)
        ids = [q.id for q in questions]
        fair = np.array(temperatures) == PANEL_TEMPERATURES[0]
        gamed = _gamed(np.array([len(b) for b in baseline]), lengths[fair], judged[fair], ids)
        return Calibration(
            texts={"baseline": dict(zip(ids, baseline, strict=True))},
            numbers={"difficulty": _difficulty(judged, ids), "gamed": gamed},
        )

    def calibration_load(self, source: Source) -> JudgeLoad:
        """The panel's comparisons, where there are no reference outputs."""
        return JudgeLoad() if source.files(self.name).get("references") else self._load(source, self.panel)

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """Items as for every baseline, with ``strength``, the C of the length control.

        It is chosen here once: cross-validation picks another one under another scikit-learn, and a stored number has to be found again
        everywhere.
        """
        items = super().judge(rows, judge, source, calibration)
        if length_control.refusal(items, calibration) is not None:
            return items
        strength = length_control.choose_strength(length_control.comparisons(items, calibration))
        return [{**item, "strength": strength} for item in items]

    def fitted(self, items: Items, calibration: Calibration) -> Mapping[str, Fitted]:
        """``length_controlled_win_rate``, unless ``length_control.refusal`` says why not; it counts questions in the order of the items."""
        if length_control.refusal(items, calibration) is not None:
            return {}
        return {"length_controlled_win_rate": length_control.length_controlled(items, calibration)}


@dataclass
class AlpacaEval1(HeadToHead):
    """AlpacaEval 1 through alpaca-eval: the win rate over text-davinci-003, by the judge's written ranking; no length control.

    Rates are shares in [0, 1]; lengths are characters, as alpaca-eval counts them.
    """

    name: ClassVar[str] = "alpaca_eval_1"
    prefix: ClassVar[str] = "alpaca_eval_1_"
    source: ClassVar[str] = "tatsu-lab/alpaca_eval 0.6.6, its annotator alpaca_eval_gpt4"
    deviations: ClassVar[str] = "Every answer enters the prompt once and verbatim. It grades the answers that AlpacaEval 2 grades."

    annotator: str = hyper(
        "alpaca_eval_gpt4", doc="prompt and parser of the judge: a name in alpaca-eval's evaluators_configs, or prefbench"
    )

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """The baseline's answers, from the source's file. Raises PrefbenchError where there is none."""
        load_annotator(self.annotator)
        found = self._references(source)
        if found is None:
            hint = "give the source alpaca_eval_1_references, the outputs of text_davinci_003, or leave the harness out"
            raise PrefbenchError(
                f"{self.name}: the source has no reference outputs, and AlpacaEval 1 is a comparison with one model's", hint
            )
        return Calibration(texts={"baseline": found[1]})


@dataclass
class Validation(HeadToHead):
    """What the tuner chooses settings by: the win rate over the model that training starts from, on prompts that are asked for nothing else.

    Rates are shares in [0, 1]. It has the options of the track's first AlpacaEval table; there is no length control.
    """

    name: ClassVar[str] = "validation"
    prefix: ClassVar[str] = "validation_"

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """The starting model's own answers, the baseline whatever the track's AlpacaEval compares with."""
        questions = questions_of(source, self.name)
        answers = self._answers(policy, questions, self.temperature, f"{self.name}/baseline")
        return Calibration(texts={"baseline": {q.id: answer for q, answer in zip(questions, answers, strict=True)}})


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
