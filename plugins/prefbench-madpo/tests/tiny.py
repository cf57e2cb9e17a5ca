"""A tiny real Llama, pairs for it, and what a column is handed, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from prefbench_madpo.reward_model import TokenPairs
from transformers import LlamaConfig, LlamaForCausalLM

from prefbench.api import Pair

GOOD, BAD = 10, 11
"""Of two otherwise random answers the one with more GOOD tokens is preferred."""


def tiny_llama() -> LlamaForCausalLM:
    """Two layers, width 16, 50 tokens; random weights, the same at every call, the global generator left as it is."""
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.3, max_position_embeddings=128)).eval()


def random_pairs(count: int) -> TokenPairs:
    """Texts of 2 to 20 random tokens."""
    rng = np.random.default_rng(3)
    texts = [rng.integers(5, 50, rng.integers(2, 21)).tolist() for _ in range(2 * count)]
    return TokenPairs(texts[:count], texts[count:])


@dataclass
class TinyContext:
    """The part of ``ColumnContext`` that a reward model needs."""

    pairs: Sequence[Pair]
    prompt_ids: Sequence[Sequence[int]]
    chosen_ids: Sequence[Sequence[int]]
    rejected_ids: Sequence[Sequence[int]]
    fresh_model: Callable[[], Any] = tiny_llama
    facts: dict[str, float] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def note(self, **facts: float) -> None:
        self.facts.update(facts)

    def report(self, message: str) -> None:
        self.messages.append(message)

    def reordered(self, order: Sequence[int]) -> TinyContext:
        """The same pairs in another order."""
        return TinyContext(*([values[i] for i in order] for values in (self.pairs, self.prompt_ids, self.chosen_ids, self.rejected_ids)))


def separable(count: int) -> TinyContext:
    """Pairs of equally long answers; the chosen one has a GOOD token somewhere and the rejected one a BAD one."""
    rng = np.random.default_rng(5)
    ids = [rng.integers(12, 50, rng.integers(2, 9)).tolist() for _ in range(3 * count)]
    chosen, rejected = ([[*text, mark, 1] for text in ids[start::3]] for start, mark in ((1, GOOD), (2, BAD)))
    pairs = [Pair(f"prompt {i}", f"chosen {i}", f"rejected {i}") for i in range(count)]
    return TinyContext(pairs, ids[0::3], chosen, rejected)
