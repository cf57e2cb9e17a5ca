"""The first column: per-token log-probs of every answer under the model that training starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prefbench.data.tokens import TokenPairs
from prefbench.engine.tasks import Report
from prefbench.identity import CORE_NUMERICS_VERSION, digest
from prefbench.store.sealed import read_or_set_aside, read_tensors, write_tensors
from prefbench.train.device import device
from prefbench.train.forward import Scorer, per_token_log_probs


@dataclass(frozen=True)
class ReferenceColumn:
    """Per-token log-probs (nats, float32): one array per answer, so that sums, means and discounted forms derive from one pass."""

    chosen: Sequence[np.ndarray]
    rejected: Sequence[np.ndarray]

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Summed log-probs of chosen and rejected answers, float64, shape (N,)."""
        return _sums(self.chosen), _sums(self.rejected)

    def take(self, rows: Sequence[int]) -> ReferenceColumn:
        """Those of some of the pairs."""
        return ReferenceColumn([self.chosen[row] for row in rows], [self.rejected[row] for row in rows])


def _sums(answers: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([answer.sum(dtype=np.float64) for answer in answers])


def reference_key(weights: str, tokens: TokenPairs, arithmetic: str) -> str:
    """What the column depends on: the weights, the set of pairs as token ids, the arithmetic of the scorer and the kind of device.

    No loss, seed or folder; nor the order of the pairs, so that seeds that differ in order alone share one column.
    """
    ids = [(tokens.prompt_ids[i], tokens.chosen_ids[i], tokens.rejected_ids[i]) for i in tokens.canonical_order()]
    return digest({"numerics": CORE_NUMERICS_VERSION, "weights": weights, "ids": ids, "arithmetic": arithmetic, "kernels": device().type})


def reference_column(
    scorer: Scorer, weights: str, tokens: TokenPairs, budget: int, cache: Path, report: Report = lambda _: None
) -> ReferenceColumn:
    """The column of these pairs under ``scorer``'s model: from the cache, or one gradient-free pass that is then cached; ``report`` hears of it."""
    path = cache / "columns" / "reference" / f"{reference_key(weights, tokens, scorer.arithmetic)}.safetensors"
    order, flat = tokens.canonical_order(), _cached(path)
    prompts = [tokens.prompt_ids[i] for i in order]
    answers = {name: [ids[i] for i in order] for name, ids in (("chosen", tokens.chosen_ids), ("rejected", tokens.rejected_ids))}
    if flat is None:
        scores = per_token_log_probs(scorer, prompts, list(answers.values()), budget, lambda count: report({"answers scored": count}))
        flat = {name: np.concatenate(values) for name, values in zip(answers, scores, strict=True)}
        write_tensors(path, {name: torch.from_numpy(values) for name, values in flat.items()})
    back = np.argsort(order)
    ordered = {name: _split(flat[name], ids) for name, ids in answers.items()}
    return ReferenceColumn(*([values[i] for i in back] for values in ordered.values()))


def _split(flat: np.ndarray, answers: Sequence[Sequence[int]]) -> list[np.ndarray]:
    return np.split(flat, np.cumsum([len(answer) for answer in answers])[:-1])


def _cached(path: Path) -> dict[str, np.ndarray] | None:
    found = read_or_set_aside(path, read_tensors)
    return found and {name: values.numpy() for name, values in found[0].items()}
