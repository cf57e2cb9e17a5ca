"""What is trained: the pairs, the job, and K pairs as the forward and the objective see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from prefbench.api import Objective, PairBatch, Scheduler
from prefbench.config import TrainRules
from prefbench.data.tokens import TokenPairs
from prefbench.errors import PrefbenchError
from prefbench.streams import stream_seed
from prefbench.train.forward import Scorer, without_dropout
from prefbench.train.layout import Ids, MicroBatch, to_device
from prefbench.train.statistics import OF_SEQUENCES, sequence_names

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

    def take(self, rows: Sequence[int]) -> PairData:
        """Some of the pairs, in the order of their row numbers as given."""
        chosen = np.asarray(rows, dtype=np.int64)
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return PairData(self.tokens.take(rows), self.reference_chosen[chosen], self.reference_rejected[chosen], columns)


TWO_PASS, KEPT = "two-pass", "kept"
"""How a scheduler's choice is trained on: by a forward of its own, or through the graphs that were made when the pool was scored."""


@dataclass(frozen=True)
class TrainJob:
    """One policy to train in place, and everything that decides how. ``reference`` is run only for what an objective ``wants``."""

    scorer: Scorer
    data: PairData
    objective: Objective
    scheduler: Scheduler
    rules: TrainRules
    learning_rate: float
    seed: int
    report: Callable[[Mapping[str, Any]], None] = lambda _: None
    checkpoint: Checkpoint | None = None
    reference: Scorer | None = None
    selection: str = TWO_PASS
    compiled: bool = False

    def progress(self, step: int) -> float:
        """From 0 at the first step to 1 at the last."""
        return step / max(1, self.rules.steps - 1)

    @property
    def pool(self) -> int:
        """n: the pairs offered at each step."""
        return min(self.rules.pool, len(self.data))


def pair_micro_batches(job: TrainJob, ids: np.ndarray, budget: int | None = None, order: Sequence[int] | None = None) -> list[MicroBatch]:
    """The chosen answers of K pairs as sequences 0..K-1, the rejected as K..2K-1, cut into micro-batches of the track's size or another."""
    heads, sides = _tokens_of(job, ids, ids)
    return job.scorer.micro_batches(heads, sides, budget or job.rules.micro_batch_tokens, order)


def _tokens_of(job: TrainJob, prompts: np.ndarray, answers: np.ndarray) -> tuple[list[Ids], list[list[Ids]]]:
    """Some pairs' prompts, and the answers of as many on either side."""
    tokens = job.data.tokens
    sides: list[list[Ids]] = [[ids[i] for i in answers] for ids in (tokens.chosen_ids, tokens.rejected_ids)]
    return [tokens.prompt_ids[i] for i in prompts], sides


@torch.no_grad()
def mismatched_log_ratios(job: TrainJob, ids: np.ndarray) -> torch.Tensor | None:
    """log pi - log ref of the answers of the pair before, given each pair's prompt, the mean of both; shape (K,). None unless it is wanted."""
    if "mismatched_log_ratio" not in job.objective.wants:
        return None
    if job.reference is None or len(ids) < 2:
        raise PrefbenchError(
            f"objective {job.objective.name!r} wants mismatched answers, and a step has one pair",
            "raise train.pool, or the ratio",
            exit_code=1,
        )
    ratios = torch.empty(2 * len(ids), dtype=torch.float64, device=job.scorer.model.device)
    with without_dropout(job.scorer.model):
        for micro in job.scorer.micro_batches(*_tokens_of(job, ids, np.roll(ids, 1)), job.rules.micro_batch_tokens):
            ratios[micro.rows] = job.scorer.sequence_log_probs(micro) - job.reference.sequence_log_probs(micro)
    return ratios.reshape(2, len(ids)).mean(dim=0)


def pair_batch(job: TrainJob, ids: np.ndarray, leaves: torch.Tensor, step: int, mismatched: torch.Tensor | None = None) -> PairBatch:
    """K pairs as an objective sees them at a step; ``leaves`` (2K, S) holds the numbers of the chosen sequences, then of the rejected."""
    data, size = job.data, len(ids)

    def tensor(values: Any) -> torch.Tensor:
        return to_device(values, leaves.device, torch.float64)

    return PairBatch(
        policy_chosen=leaves[:size, 0],
        policy_rejected=leaves[size:, 0],
        reference_chosen=tensor(data.reference_chosen[ids]),
        reference_rejected=tensor(data.reference_rejected[ids]),
        chosen_tokens=tensor([len(data.tokens.chosen_ids[i]) for i in ids]),
        rejected_tokens=tensor([len(data.tokens.rejected_ids[i]) for i in ids]),
        prompt_tokens=tensor([len(data.tokens.prompt_ids[i]) for i in ids]),
        columns={name: tensor(data.columns[name][ids]) for name in job.objective.needs},
        statistics=_statistics(job.objective, leaves, size) | ({} if mismatched is None else {"mismatched_log_ratio": mismatched}),
        progress=job.progress(step),
        seed=stream_seed(job.seed, "update", str(step)),
    )


def _statistics(objective: Objective, leaves: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
    """The wanted numbers per pair; a prompt's are taken from the chosen sequence, the rejected has the same."""
    names = sequence_names(objective.wants)
    wanted = [name for name in objective.wants if name in OF_SEQUENCES]
    sides = {name: leaves[size:] if name.startswith("rejected_") else leaves[:size] for name in wanted}
    return {name: side[:, names.index(OF_SEQUENCES[name])] for name, side in sides.items()}
