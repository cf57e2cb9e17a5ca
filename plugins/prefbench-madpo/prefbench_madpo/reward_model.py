"""A reward model: a causal LM without its vocabulary, and a linear head on the hidden state of a text's last token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Tokens = Sequence[int]


@dataclass(frozen=True)
class TokenPairs:
    """N pairs as token ids, each text a prompt with the answer that follows it."""

    chosen: Sequence[Tokens]
    rejected: Sequence[Tokens]

    def length(self, row: int) -> int:
        """Tokens of the longer text of a pair."""
        return max(len(self.chosen[row]), len(self.rejected[row]))

    def micro_batches(self, rows: Sequence[int], budget: int) -> Iterator[list[int]]:
        """The rows by length, as many at a time as fit ``budget`` tokens, padding included; a pair that does not fit comes alone."""
        batch: list[int] = []
        for row in sorted(rows, key=self.length):
            if batch and 2 * (len(batch) + 1) * self.length(row) > budget:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


class RewardModel(torch.nn.Module):
    """r(prompt, answer), one number per text. The head starts at zero: every reward is 0 and every preference even."""

    def __init__(self, language_model: Any) -> None:
        super().__init__()
        self.backbone = language_model.base_model.requires_grad_(True).eval()  # without dropout: nothing here is drawn
        width = language_model.get_output_embeddings().weight.shape[1]
        self.head = torch.nn.Parameter(torch.zeros(width, device=language_model.device))

    def forward(self, texts: Sequence[Tokens]) -> torch.Tensor:
        """The reward of each text, float32, shape (R,)."""
        tokens, mask = pad_right(texts)
        inputs = {"input_ids": tokens.to(self.head.device), "attention_mask": mask.to(self.head.device)}
        states = self.backbone(**inputs, use_cache=False).last_hidden_state
        rows = torch.arange(len(texts), device=states.device)
        last = inputs["attention_mask"].sum(dim=1) - 1  # of the text; the last position of all may be padding
        rewards: torch.Tensor = states[rows, last] @ self.head
        return rewards

    def margins(self, pairs: TokenPairs, rows: Sequence[int]) -> torch.Tensor:
        """r(chosen) - r(rejected) of each of these pairs, float64, shape (len(rows),), differentiable; one forward for all of them."""
        rewards: torch.Tensor = self([*(pairs.chosen[row] for row in rows), *(pairs.rejected[row] for row in rows)]).double()
        return rewards[: len(rows)] - rewards[len(rows) :]

    @torch.no_grad()
    def score(self, pairs: TokenPairs, rows: Sequence[int], budget: int) -> np.ndarray:
        """The same without gradient and within ``budget`` tokens at a time."""
        margins = dict[int, float]()
        for batch in pairs.micro_batches(rows, budget):
            margins.update(zip(batch, self.margins(pairs, batch).tolist(), strict=True))
        return np.array([margins[row] for row in rows], dtype=np.float64)


def pad_right(texts: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and the mask of real tokens, int64, shape (R, T) each."""
    width = max(len(text) for text in texts)
    tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    return tokens, mask
