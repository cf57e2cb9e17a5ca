"""FastChat's own files: judge prompts and the answers of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api import Question
from prefbench.data.json_files import read_objects
from prefbench.errors import PrefbenchError

SINGLE, PAIRWISE = "single", "pairwise"
OWN_PROMPTS = Path(__file__).parents[1] / "prompts" / "mt_bench.jsonl"
"""The judge's prompts in FastChat's format, in prefbench's words."""

PROMPTS = {
    SINGLE: ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn"),
    PAIRWISE: ("pair-v2", "pair-math-v1", "pair-v2-multi-turn", "pair-math-v1-multi-turn"),
}
"""The prompts that each grading needs, by FastChat's names."""
_OUTPUT = {SINGLE: "[[rating]]", PAIRWISE: "[[A]]"}

Answers = Mapping[str, tuple[str, ...]]
"""A model's answers by question id, a text per turn."""


def judge_prompts(path: Path, grading: str) -> dict[str, dict[str, Any]]:
    """The prompts of a grading by name. Raises PrefbenchError when one is missing or asks for another kind of verdict."""
    found = {row.get("name"): row for row in read_objects(path)}
    missing = [name for name in PROMPTS[grading] if name not in found]
    if missing:
        hint = f"{grading} grading needs {', '.join(PROMPTS[grading])}, as in FastChat's judge_prompts.jsonl"
        raise PrefbenchError(f"{path}: has no prompt {', '.join(missing)}", hint)
    chosen = {name: found[name] for name in PROMPTS[grading]}
    expected = {"type": grading, "output_format": _OUTPUT[grading]}
    for name, prompt in chosen.items():
        odd = [f"{key} {prompt.get(key)!r}" for key, value in expected.items() if prompt.get(key) != value]
        odd += [f"no text under {key}" for key in ("system_prompt", "prompt_template") if not isinstance(prompt.get(key), str)]
        if odd:
            raise PrefbenchError(f"{path}: the prompt {name} has {' and '.join(odd)}", f"{grading} grading reads {_OUTPUT[grading]}")
    return chosen


def model_answers(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """The answers of each model of a ``model_answer`` file, the first choice of each question; a row repeated later wins."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for number, row in enumerate(read_objects(path), start=1):
        model = str(row.get("model_id") or path.name.split(".jsonl")[0])
        found.setdefault(model, {})[str(row.get("question_id"))] = _first_choice(path, number, row)
    return found


def _first_choice(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, ...]:
    choices = row.get("choices")
    turns = choices[0].get("turns") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    if row.get("question_id") is None or not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise PrefbenchError(
            f"{path}: row {number} is no answer", "give question_id and choices[0].turns, a text per turn, as FastChat's model_answer files"
        )
    return tuple(turns)


def answers_to(questions: Sequence[Question], answers: Answers, whose: str) -> dict[str, tuple[str, ...]]:
    """The answers to these questions. Raises PrefbenchError where one is missing or has too few turns."""
    short = [question.id for question in questions if len(answers.get(question.id, ())) < len(question.turns)]
    if short:
        more = f" and {len(short) - 1} more" if len(short) > 1 else ""
        message = f"mt_bench: {whose} has no whole answer to question {short[0]}{more}"
        raise PrefbenchError(message, "every question needs an answer with a text per turn")
    return {question.id: answers[question.id] for question in questions}
