"""IMDb's reviews, and how the experiment cuts them: the sizes, the rows of each part, and the openings that a model continues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from prefbench.data.rows import Numbered, Table
from prefbench.errors import PrefbenchError

NEGATIVE, POSITIVE = 0, 1
"""The labels of a review."""


@dataclass(frozen=True)
class Sizes:
    """Which rows of the training split serve for what, and tokens, the tokenizer's start token among them. The defaults are the notebooks'."""

    tuned: range = range(18_000, 25_000)
    """Positive reviews to learn from."""
    watched: range = range(17_500, 18_000)
    """Positive reviews that say when to stop. Ours: the notebooks' own evaluation rows, as published, are none. Nothing else uses these."""
    continued: range = range(12_000)
    """Negative reviews to be continued."""
    prompt: int = 20
    whole: int = 196
    epochs: int = 5
    evaluated_every: int = 20  # steps


@dataclass(frozen=True)
class Review:
    """A review and whether it is positive (1) or negative (0)."""

    text: str
    label: int


def read_reviews(location: str) -> list[Review]:
    """Every row of a file or a data set, here or on the hub. Raises PrefbenchError that names the first that is no review."""
    return [_review(location, row) for row in Table(location).rows()]


def _review(location: str, numbered: Numbered) -> Review:
    number, row = numbered
    if isinstance(row, str) or not isinstance(row.get("text"), str) or row.get("label") not in (NEGATIVE, POSITIVE):
        hint = "give stanfordnlp/imdb's training split, in its own order"
        raise PrefbenchError(f"{location}: row {number} has no text with a label of 0 or 1", hint)
    return Review(row["text"], row["label"])


def texts(reviews: Sequence[Review], rows: range, label: int) -> list[str]:
    """The texts of some rows, counted from 0. Raises PrefbenchError where they are not there, or not all of the label."""
    found = [reviews[row] for row in rows if row < len(reviews)]
    if len(found) < len(rows) or any(review.label != label for review in found):
        hint = "give stanfordnlp/imdb's training split, in its own order: the negative reviews, then the positive ones"
        raise PrefbenchError(f"rows {rows.start} to {rows.stop} of {len(reviews)} reviews are due, all with the label {label}", hint)
    return [review.text for review in found]


@dataclass(frozen=True)
class Opening:
    """The first tokens of a review, their text, and what the review itself says then, up to the length of a whole text."""

    tokens: tuple[int, ...]
    prompt: str
    rest: str


def openings(tokenizer: PreTrainedTokenizerBase, reviews: Iterable[str], sizes: Sizes) -> list[Opening]:
    """The reviews' openings, in order. Left out are reviews that end with their opening, and openings that end within a character.

    All have as many tokens, so that a batch of them needs no padding; and what is decoded behind one follows its text without a seam.
    """
    found = (_opening(tokenizer, text, sizes) for text in reviews)
    return [opening for opening in found if opening]


def _opening(tokenizer: PreTrainedTokenizerBase, text: str, sizes: Sizes) -> Opening | None:
    encoded: Any = tokenizer(text, truncation=True, max_length=sizes.whole, return_offsets_mapping=True)
    tokens, ends = encoded["input_ids"], [end for _, end in encoded["offset_mapping"]]
    if len(tokens) <= sizes.prompt:
        return None
    opening = tuple(tokens[: sizes.prompt])
    prompt, rest = text[: ends[sizes.prompt - 1]], text[ends[sizes.prompt - 1] : ends[-1]]
    return Opening(opening, prompt, rest) if rest.strip() and decode(tokenizer, [opening]) == [prompt] else None


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Texts as they are written, without the tokenizer's special tokens."""
    return list(tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False))
