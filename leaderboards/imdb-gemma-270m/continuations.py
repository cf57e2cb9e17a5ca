"""Step 2: two sampled continuations of each negative review's opening, and beside them what the review itself says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from reviews import Opening, Sizes, decode, openings
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from prefbench.train.checkpoint import load_model, load_tokenizer
from prefbench.train.device import device

SEED = 0
SAMPLES = 2
BATCH = 100
"""Openings at a time, as in the notebooks: the samples of a seed depend on it."""


def continuations(folder: Path, reviews: Iterable[str], sizes: Sizes, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row per review: ``prompt``, and ``texts``, the two samples and the review's own words; prompt and text join as they stand."""
    tokenizer, model = load_tokenizer(folder), load_model(folder, device())
    found = openings(tokenizer, reviews, sizes)
    set_seed(SEED)
    rows = list[dict[str, Any]]()
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        for opening, texts in zip(batch, sample(model, tokenizer, batch, sizes), strict=True):
            rows.append({"prompt": opening.prompt, "texts": [*texts, opening.rest]})
        report(f"continuations: {len(rows)} of {len(found)}")
    return rows


@torch.inference_mode()
def sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch: Sequence[Opening], sizes: Sizes) -> list[list[str]]:
    """The samples of each opening, at temperature 1. Top-k and top-p are what the model's own generation settings say, as in the notebooks."""
    tokens = torch.tensor([opening.tokens for opening in batch], device=model.device)
    whole = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        do_sample=True,
        temperature=1.0,
        max_new_tokens=sizes.whole - sizes.prompt,
        num_return_sequences=SAMPLES,
    )
    texts = iter(decode(tokenizer, whole.tolist()))
    return [[next(texts)[len(opening.prompt) :] for _ in range(SAMPLES)] for opening in batch]
