"""The questions that a harness asks; a source without any is told so before a cell is trained."""

from __future__ import annotations

from collections.abc import Sequence

from prefbench.api import Question, Source
from prefbench.errors import PrefbenchError

CHARACTERS_PER_TOKEN = 5
"""Of an answer that is as long as it may be, for what judging it costs at most."""


def questions_of(source: Source, harness: str) -> Sequence[Question]:
    """The source's questions for a harness. Raises PrefbenchError when there are none: its columns of the board would be missing without a word."""
    questions = source.questions(harness)
    if not questions:
        raise PrefbenchError(
            f"{harness}: the source has no questions",
            f"give the source some, such as the option {harness.removesuffix('_1')}_questions of files, or leave the harness out",
        )
    return questions
