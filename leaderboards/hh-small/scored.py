"""AlpacaEval's instructions, what 24 models answered and how good that is: scored lists to train on, and the questions that nothing trains on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hh import is_held_out, read_lines

SURE = 1e-6
"""A probability nearer to 0 or 1 counts as this near: the judge's own log-probs end there."""


@dataclass(frozen=True)
class ScoredList:
    """A prompt, answers to it, and each answer's log-odds of beating GPT-4 Turbo's (nats): differences are log-odds between two answers."""

    prompt: str
    responses: tuple[str, ...]
    scores: tuple[float, ...]

    def row(self) -> dict[str, Any]:
        """The list as a JSON-able row."""
        return {"prompt": self.prompt, "responses": list(self.responses), "scores": list(self.scores)}

    def keep(self, usable: Callable[[str], bool]) -> ScoredList:
        """The list with the usable responses alone."""
        kept = [(text, score) for text, score in zip(self.responses, self.scores, strict=True) if usable(text)]
        return replace(self, responses=tuple(text for text, _ in kept), scores=tuple(score for _, score in kept))


def read_scored_lists(data: Path) -> list[ScoredList]:
    """Every prompt with its distinct answers; empty ones are left out."""
    lists = []
    for row in read_lines(data / "alpaca_eval_multi" / "responses.jsonl.gz"):
        scores = {answer["text"]: log_odds(answer["p_beats_gpt4"]) for answer in row["responses"] if answer["text"].strip()}
        lists.append(ScoredList(row["prompt"], tuple(scores), tuple(scores.values())))
    return lists


def log_odds(probability: float) -> float:
    """The logit in nats, to four decimals."""
    bounded = min(max(probability, SURE), 1 - SURE)
    return round(math.log(bounded) - math.log1p(-bounded), 4)


def split_lists(lists: Iterable[ScoredList], held_out_share: float) -> tuple[list[ScoredList], list[ScoredList]]:
    """Lists to train on, and those of the evaluation's questions."""
    training: list[ScoredList] = []
    held_out: list[ScoredList] = []
    for scored in lists:
        (held_out if is_held_out(scored.prompt, held_out_share) else training).append(scored)
    return training, held_out


def fit_lists(lists: Iterable[ScoredList], tokens: Callable[[str, str], int], limit: int) -> tuple[list[ScoredList], Counter[str]]:
    """The lists with the answers that have at most ``limit`` tokens with their prompt, where two with different scores are left; and the counts."""
    fitted, counts = [], Counter[str]()
    for scored in lists:
        short = scored.keep(lambda text, prompt=scored.prompt: tokens(prompt, text) <= limit)  # type: ignore[misc]
        usable = len(set(short.scores)) > 1
        counts.update({"lists": usable, "lists dropped": not usable, "answers too long": len(scored.responses) - len(short.responses)})
        if usable:
            fitted.append(short)
    return fitted, counts


# ---------------------------------------------------------------- questions


def alpaca_eval_rows(data: Path, held_out_share: float, fits: Callable[[list[str]], bool]) -> list[dict[str, Any]]:
    """AlpacaEval's rows that are held out and short enough for the model."""
    rows = read_lines(data / "alpaca_eval" / "eval_set.jsonl.gz")
    asked = [{"instruction": row["instruction"], "dataset": row["dataset"]} for row in rows]
    return [row for row in asked if is_held_out(row["instruction"], held_out_share) and fits([row["instruction"]])]


def mt_bench_rows(data: Path, fits: Callable[[list[str]], bool]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """MT-Bench's questions that are short enough for the model with both answers, and the reference answers to them."""
    questions = [row for row in json_lines(data / "mt_bench" / "question.jsonl") if fits(row["turns"])]
    known = {row["question_id"] for row in questions}
    references = [row for row in json_lines(data / "mt_bench" / "reference_answer_gpt-4.jsonl") if row["question_id"] in known]
    return questions, references


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
