"""Several scored responses to a prompt: the best against the worst, with the gap between their scores as a column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.api import Pair
from prefbench.data.formats.base import Format, Row, bad, first_text, number, user_turn

PROMPTS = ("prompt", "instruction", "question")
LISTS = ("responses", "completions", "answers", "candidates", "outputs", "generations")
TEXTS = ("text", "response", "content", "completion", "output", "answer")
SCORE_LISTS = ("scores", "ratings", "rewards")
SCORES = ("overall_score", "score", "rating", "reward")
"""Names of a response's score, the first that is there counts."""
SCORE_WORDS = frozenset({"score", "rating", "reward", "preference", "probability", "p", "utility"})
"""A word of one of these makes a name a score's, where no name is one of the above: ``p_beats_gpt4``, ``helpful-score``."""


def parse(row: Row) -> Pair:
    """``prompt`` and a list of responses, each with its score, or with a second list of scores; where all scores are equal there is no pair."""
    name = first_text(row, PROMPTS) or bad("no prompt")
    found = _responses(row)
    if len(found) < 2:
        bad("fewer than two responses")
    best, worst = max(found, key=lambda scored: scored[1]), min(found, key=lambda scored: scored[1])
    if best[1] == worst[1]:
        bad("all scores are equal")
    return Pair(user_turn(row[name]), best[0], worst[0], {"score-gap": best[1] - worst[1]})


def _responses(row: Row) -> list[tuple[str, float]]:
    """Text and score of each response; of those with equal scores, the first counts."""
    listed = row.get(_list_name(row) or bad("no list of responses"), ())
    if all(isinstance(response, Mapping) for response in listed):
        return [_scored(response, place) for place, response in enumerate(listed, start=1)]
    if not all(isinstance(response, str) for response in listed):
        bad("responses are neither texts nor objects")
    name = _score_list(row) or bad("no list of scores")
    if len(row[name]) != len(listed):
        bad(f"{len(listed)} responses and {len(row[name])} scores")
    return [(text, number({name: score}, name)) for text, score in zip(listed, row[name], strict=True)]


def _scored(response: Row, place: int) -> tuple[str, float]:
    text = first_text(response, TEXTS) or bad(f"response {place} has no text")
    if score := _score_name(response):
        return response[text], number(response, score)
    if "rank" in response:
        return response[text], -number(response, "rank")  # 1 is the best
    return bad(f"response {place} has no score, or several")


def _score_name(response: Row) -> str | None:
    """The name of the score; None where no name is one, or where several could be."""
    if known := next((name for name in SCORES if name in response), None):
        return known
    alike = [name for name in response if SCORE_WORDS & set(re.split(r"[^a-z0-9]+", name.lower()))]
    return alike[0] if len(alike) == 1 else None


def _list_name(row: Row) -> str | None:
    return next((name for name in LISTS if isinstance(row.get(name), list)), None)


def _score_list(row: Row) -> str | None:
    return next((name for name in SCORE_LISTS if isinstance(row.get(name), list)), None)


def _matches(row: Row) -> bool:
    name = _list_name(row)
    if name is None or first_text(row, PROMPTS) is None:
        return False
    listed: Sequence[Any] = row[name]
    return _score_list(row) is not None or (bool(listed) and all(isinstance(response, Mapping) for response in listed))


SCORED = Format("scored", _matches, parse)
