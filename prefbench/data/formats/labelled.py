"""A prompt, two texts and a label that says which is better; and OpenAI's comparisons of summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefbench.api import Pair
from prefbench.data.formats.base import Format, Row, bad, first_text, user_turn

# ---------------------------------------------------------------- prompt, two texts, label

PROMPTS = ("prompt", "instruction", "question", "input")
STEMS = ("response", "answer", "completion", "output", "text", "summary", "candidate")
ENDS = (("a", "b"), ("A", "B"), ("0", "1"), ("1", "2"))
SIDES = tuple(tuple(f"{stem}_{end}" for end in ends) for stem in STEMS for ends in ENDS)
LABELS = ("label", "preference", "preferred", "winner", "choice", "better", "better_response_id")
TIES = ("tie", "tie (bothbad)", "both", "neither", "draw", "equal", "same", "none", "1.5")


def parse(row: Row) -> Pair:
    """``prompt``, two texts such as ``response_a`` and ``response_b``, and a ``label`` that names one of them."""
    name = first_text(row, PROMPTS) or bad("no prompt")
    sides = _sides(row) or bad("no two texts")
    labels = [label for label in LABELS if row.get(label) is not None]
    if len(labels) != 1:
        bad(f"several labels: {', '.join(labels)}" if labels else "no label")
    better = _better(row[labels[0]], sides)
    return Pair(user_turn(row[name]), row[sides[better]], row[sides[1 - better]])


def _better(label: Any, sides: tuple[str, ...]) -> int:
    """Which side a label names: by its column, or by the end of it.

    Numbers beside ``_a`` and ``_b`` are refused: some data count from 0, some from 1, and in some 1 means that a is better.
    """
    text = str(int(label) if isinstance(label, float) and label.is_integer() else label).strip().lower()
    for place, side in enumerate(sides):
        end = side.lower().rsplit("_", 1)[1]
        if text in (side.lower(), end, f"model_{end}"):
            return place
    return bad("a tie" if text in TIES else f"label {label!r} names neither {sides[0]} nor {sides[1]}")


def _sides(row: Row) -> tuple[str, ...] | None:
    return next((names for names in SIDES if all(isinstance(row.get(name), str) for name in names)), None)


def _matches(row: Row) -> bool:
    return first_text(row, PROMPTS) is not None and _sides(row) is not None and any(label in row for label in LABELS)


LABELLED = Format("labelled", _matches, parse)

# ---------------------------------------------------------------- openai/summarize_from_feedback (Stiennon et al. 2020, arXiv 2009.01325)


def parse_summaries(row: Row) -> Pair:
    """A Reddit post of ``info`` as plain text that ends with ``TL;DR:``, as the paper prompts its models, and the two ``summaries``."""
    info = row.get("info")
    if not isinstance(info, Mapping) or not isinstance(info.get("post"), str) or not info["post"].strip():
        bad("no post in info")
    texts = _texts(row.get("summaries"))
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        bad("no two summaries")
    choice = row.get("choice")
    if choice not in (0, 1):
        bad(f"choice {choice!r} is neither 0 nor 1")
    heads = [("SUBREDDIT: r/", info.get("subreddit")), ("TITLE: ", info.get("title")), ("POST: ", info["post"])]
    prompt = "\n\n".join(f"{head}{value}" for head, value in heads if value)
    return Pair(f"{prompt}\n\nTL;DR:", texts[choice], texts[1 - choice])


def _texts(summaries: Any) -> list[Any]:
    """The texts of a list of objects, or of an object of lists, as ``datasets`` gives some versions of these data."""
    if isinstance(summaries, Mapping):
        return list(summaries.get("text") or ())
    listed = summaries if isinstance(summaries, list) else ()
    return [summary.get("text") if isinstance(summary, Mapping) else None for summary in listed]


SUMMARIES = Format("summaries", lambda row: all(name in row for name in ("info", "summaries", "choice")), parse_summaries)
