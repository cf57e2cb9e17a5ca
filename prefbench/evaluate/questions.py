"""The questions that a harness asks; a source without any is told so before a cell is trained."""

from __future__ import annotations

from collections.abc import Sequence

from prefbench.api import Question, Source
from prefbench.errors import PrefbenchError


def questions_of(source: Source, harness: str) -> Sequence[Question]:
    """The source's questions for a harness. Raises PrefbenchError when there are none: its columns of the board would be missing without a word."""
    questions = source.questions(harness)
    if not questions:
        raise PrefbenchError(
            f"{harness}: the source has no questions",
            f"give the source some, such as local's {harness}_questions, or leave the harness out",
        )
    return questions
