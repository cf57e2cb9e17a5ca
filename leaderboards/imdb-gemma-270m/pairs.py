"""Step 4: from scored continuations to the pairs of the three tiers.

Scored continuations are a JSONL file, a row per prompt in the order of the reviews: ``prompt``; ``texts``, two sampled continuations and the
original review's; ``scores``, the classifier's of each. The tiers, labels and split are those of the notebooks behind arXiv 2510.05342 v1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prefbench.store.files import lines_bytes, write_bytes

SEED = 42
REPLACED = {"high": 0.0, "medium": 0.5, "low": 1.0}
"""Share of the prompts, the first ones, whose pair is the better sample and the original review instead of the two samples."""
HELD_OUT = 1 / 6
"""Share of the pairs, the last ones after shuffling, that is held out: 2,000 of 12,000."""


@dataclass(frozen=True)
class Scored:
    """A prompt with two samples and the original review, in this order, and their scores."""

    prompt: str
    texts: tuple[str, str, str]
    scores: tuple[float, float, float]


def read_scored(path: Path) -> list[Scored]:
    """Every row. Raises ValueError that names the first one which is not of this form."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):  # a text's lines would also end at a U+0085 within a review
        row = json.loads(line)
        if len(row.get("texts", ())) != 3 or len(row.get("scores", ())) != 3 or not isinstance(row.get("prompt"), str):
            raise ValueError(f"{path}: row {number} needs a prompt, three texts and three scores")
        rows.append(Scored(row["prompt"], tuple(row["texts"]), tuple(map(float, row["scores"]))))
    return rows


def candidates(row: Scored, replaced: bool) -> tuple[int, int]:
    """The two texts that are compared: the samples, or the better of them and the original."""
    return (int(row.scores[1] > row.scores[0]), 2) if replaced else (0, 1)


def tier(rows: Sequence[Scored], name: str) -> list[dict[str, object]]:
    """A tier's pairs in one order for all tiers: Gumbel(0, 1) noise on both scores, and the larger sum is chosen (Bradley-Terry)."""
    rng = np.random.default_rng(SEED)
    noise, order = rng.gumbel(size=(len(rows), 2)), rng.permutation(len(rows))
    replaced = round(REPLACED[name] * len(rows))
    pairs = []
    for place, row in enumerate(rows):
        first, second = candidates(row, place < replaced)
        if row.scores[first] + noise[place, 0] < row.scores[second] + noise[place, 1]:
            first, second = second, first
        pairs.append({"prompt": row.prompt, "chosen": row.texts[first], "rejected": row.texts[second]})
    return [pairs[place] for place in order]


def write_pairs(scored: Path, out: Path) -> dict[str, tuple[int, int]]:
    """Write ``TIER.train.jsonl`` and ``TIER.held-out.jsonl``; the counts of both by tier. Pairs of two equal texts are left out."""
    rows, counts = read_scored(scored), {}
    for name in REPLACED:
        pairs = [pair for pair in tier(rows, name) if pair["chosen"] != pair["rejected"]]
        border = len(pairs) - round(HELD_OUT * len(pairs))
        for split, part in (("train", pairs[:border]), ("held-out", pairs[border:])):
            write_bytes(out / f"{name}.{split}.jsonl", lines_bytes(part))
        counts[name] = (border, len(pairs) - border)
    return counts
