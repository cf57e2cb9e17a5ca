"""A column's context of its own: a real model of a few thousand weights, made on the spot, and a dozen pairs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prefbench.api import Pair
from prefbench.errors import PrefbenchError
from prefbench.streams import stream
from prefbench.train.forward import Scorer, make_scorer, per_token_log_probs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BUDGET = 512
"""Tokens of a micro-batch."""
VOCABULARY, ENDS = 50, 1
"""Token ids of the model, and the one that ends an answer."""
BETA = 0.1
"""Of the DPO loss that a column's policies are trained with here."""
SCORES = ("score-gap", "reward-margin")
"""Columns that the pairs bring, for columns that are computed from others."""


@dataclass(frozen=True)
class TinyPairs:
    """Twelve pairs of random words, and their token ids."""

    pairs: tuple[Pair, ...]
    prompt_ids: tuple[tuple[int, ...], ...]
    chosen_ids: tuple[tuple[int, ...], ...]
    rejected_ids: tuple[tuple[int, ...], ...]


@dataclass
class TinyContext:
    """What ``ColumnContext`` promises, in small. ``notes`` are the numbers that the column has kept.

    Without ``may_train`` it trains no policies, as the core does for a column that does not say ``uses_objective``.
    """

    data: TinyPairs = field(default_factory=lambda: tiny_pairs())
    may_train: bool = True
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs, in the order of the values that are due."""
        return self.data.pairs

    @property
    def prompt_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the prompts."""
        return self.data.prompt_ids

    @property
    def chosen_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the chosen answers."""
        return self.data.chosen_ids

    @property
    def rejected_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the rejected answers."""
        return self.data.rejected_ids

    def log_probs(self) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """Per-token log-probs of chosen and rejected answers under the model that training starts from."""
        chosen, rejected = per_token_log_probs(_scorer(), self.prompt_ids, [self.chosen_ids, self.rejected_ids], BUDGET)
        return chosen, rejected

    def fresh_model(self) -> Any:
        """A copy of that model, to change at will."""
        return copy.deepcopy(_scorer().model)

    def train(self, rows: Sequence[int], epochs: float, seed: int) -> TinyPolicy:
        """A policy trained on these pairs with DPO, one step for each epoch begun. Raises PrefbenchError where it may not."""
        if not self.may_train:
            raise PrefbenchError("it trains policies without saying so", "write `uses_objective = True` in the class")
        model = self.fresh_model().train()
        policy = TinyPolicy(self.data, Scorer(model, "float32", split_head=True))
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(max(1, round(epochs))):
            optimiser.zero_grad()
            (-torch.nn.functional.logsigmoid(BETA * policy.gaps(rows)).mean()).backward()
            optimiser.step()
        return policy

    def note(self, **facts: float) -> None:
        """Keep numbers about the column."""
        self.notes.update(facts)

    def report(self, message: str) -> None:
        """What is going on; nobody looks here."""


@dataclass
class TinyPolicy:
    """A policy that was trained for a column's sake."""

    data: TinyPairs
    scorer: Scorer

    @torch.no_grad()
    def losses(self, rows: Sequence[int]) -> np.ndarray:
        """The DPO loss of each of these pairs, float64."""
        return np.logaddexp(0.0, -BETA * self.margins(rows))

    @torch.no_grad()
    def margins(self, rows: Sequence[int]) -> np.ndarray:
        """The raw log-ratio gap of each of these pairs, nats, float64."""
        gaps: np.ndarray = self.gaps(rows).numpy()
        return gaps

    def gaps(self, rows: Sequence[int]) -> torch.Tensor:
        """The same with gradient, shape (len(rows),)."""
        with torch.no_grad():
            reference = _log_prob_gaps(_scorer(), self.data, rows)
        return _log_prob_gaps(self.scorer, self.data, rows) - reference


def tiny_pairs(count: int = 12, seed: int = 0) -> TinyPairs:
    """Pairs of answers of 2 to 12 tokens; the pairs bring the columns ``SCORES``."""
    rng = stream(seed, "tiny pairs")

    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(token) for token in rng.integers(2, VOCABULARY, rng.integers(low, high)))

    rows = [(draw(2, 9), (*draw(1, 12), ENDS), (*draw(1, 12), ENDS)) for _ in range(count)]
    pairs = tuple(
        Pair(_text(prompt), _text(chosen), _text(rejected), {name: float(rng.normal(1.0, 1.5)) for name in SCORES})
        for prompt, chosen, rejected in rows
    )
    return TinyPairs(pairs, *zip(*rows, strict=True))


def _text(ids: Sequence[int]) -> str:
    return " ".join(f"w{token}" for token in ids)


@cache
def _scorer() -> Scorer:
    """The model that training starts from: a Llama of two layers whose log-probs differ."""
    return make_scorer(_llama(), "float32")


def _llama() -> PreTrainedModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"bos_token_id": None, "eos_token_id": ENDS, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**sizes, **tokens, initializer_range=0.3, max_position_embeddings=128)).eval()


def _log_prob_gaps(scorer: Scorer, data: TinyPairs, rows: Sequence[int]) -> torch.Tensor:
    """log p(chosen) - log p(rejected) of these pairs, float64, shape (len(rows),)."""
    sides = [[ids[row] for row in rows] for ids in (data.chosen_ids, data.rejected_ids)]
    sums = torch.zeros(2 * len(rows), dtype=torch.float64)
    for batch in scorer.micro_batches([data.prompt_ids[row] for row in rows], sides, BUDGET):
        sums = sums.index_add(0, batch.rows, scorer.sequence_log_probs(batch))
    return sums[: len(rows)] - sums[len(rows) :]
