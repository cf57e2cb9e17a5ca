"""What is trained: the pairs, the job, and K pairs as the forward and the objective see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prefbench.api import Objective, PairBatch, Scheduler
from prefbench.config import TrainRules
from prefbench.data.tokens import TokenPairs
from prefbench.streams import stream_seed
from prefbench.train.forward import MicroBatch, Scorer, micro_batches

if TYPE_CHECKING:
    from prefbench.train.state import Checkpoint


@dataclass(frozen=True)
class PairData:
    """N training pairs: tokens, summed reference log-probs (nats, float64, (N,)) and columns (float64, (N,)) by name."""

    tokens: TokenPairs
    reference_chosen: np.ndarray
    reference_rejected: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class TrainJob:
    """One policy to train in place, and everything that decides how."""

    scorer: Scorer
    data: PairData
    objective: Objective
    scheduler: Scheduler
    rules: TrainRules
    learning_rate: float
    seed: int
    report: Callable[[Mapping[str, Any]], None] = lambda _: None
    checkpoint: Checkpoint | None = None

    def progress(self, step: int) -> float:
        """From 0 at the first step to 1 at the last."""
        return step / max(1, self.rules.steps - 1)


def pair_micro_batches(job: TrainJob, ids: np.ndarray) -> list[MicroBatch]:
    """The chosen answers of K pairs as sequences 0..K-1, the rejected as K..2K-1, cut into micro-batches."""
    tokens = job.data.tokens
    prompts = [tokens.prompt_ids[i] for i in ids]
    responses = [tokens.chosen_ids[i] for i in ids] + [tokens.rejected_ids[i] for i in ids]
    return micro_batches(prompts * 2, responses, job.rules.micro_batch_tokens, job.scorer.model.device)


def gather(graphs: list[tuple[MicroBatch, torch.Tensor]], count: int) -> torch.Tensor:
    """Log-probs of all micro-batches in the order of their sequences, detached, float64, shape (count,)."""
    leaves = torch.empty(count, dtype=torch.float64, device=graphs[0][1].device)
    for micro, sums in graphs:
        leaves[micro.rows] = sums.detach()
    return leaves


def pair_batch(job: TrainJob, ids: np.ndarray, leaves: torch.Tensor, step: int) -> PairBatch:
    """K pairs as an objective sees them at a step; ``leaves`` holds the chosen log-probs, then the rejected."""
    data, size = job.data, len(ids)

    def tensor(values: Any) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float64).to(leaves.device)

    return PairBatch(
        policy_chosen=leaves[:size],
        policy_rejected=leaves[size:],
        reference_chosen=tensor(data.reference_chosen[ids]),
        reference_rejected=tensor(data.reference_rejected[ids]),
        chosen_tokens=tensor([len(data.tokens.chosen_ids[i]) for i in ids]),
        rejected_tokens=tensor([len(data.tokens.rejected_ids[i]) for i in ids]),
        prompt_tokens=tensor([len(data.tokens.prompt_ids[i]) for i in ids]),
        columns={name: tensor(data.columns[name][ids]) for name in job.objective.needs},
        progress=job.progress(step),
        seed=stream_seed(job.seed, "update", str(step)),
    )
