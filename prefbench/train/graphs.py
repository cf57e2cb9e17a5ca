"""The numbers of pairs' sequences with the graphs that lead back to the weights: made, narrowed to the pairs that are chosen, pulled at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prefbench.train.job import TrainJob, pair_micro_batches
from prefbench.train.layout import MicroBatch, to_device
from prefbench.train.recompute import recomputed_values
from prefbench.train.statistics import sequence_names, sequence_values

KEPT_TOKENS = 4096
"""Tokens of a micro-batch whose graph is kept, where a pair alone would leave a GPU idle."""


def kept_tokens(job: TrainJob) -> int:
    """On a CPU so few that each pair has a graph of its own, and the backward is of the chosen pairs and no other."""
    return 1 if job.scorer.model.device.type == "cpu" else KEPT_TOKENS


@dataclass(frozen=True)
class Graph:
    """S numbers of R of the sequences of some pairs. Of K pairs, the chosen answers are sequences 0..K-1, the rejected K..2K-1."""

    rows: tuple[int, ...]  # R numbers of sequences
    values: torch.Tensor  # (R, S) float64, nats, log-probs first

    @classmethod
    def of(cls, micro: MicroBatch, values: torch.Tensor) -> Graph:
        """The numbers of a micro-batch's sequences."""
        return cls(tuple(span.row for span in micro.spans), values)

    def places(self) -> torch.Tensor:
        """The sequences' numbers on the device."""
        return to_device(self.rows, self.values.device)


def graphs_of(job: TrainJob, micros: Sequence[MicroBatch]) -> list[Graph]:
    """A forward, a graph per micro-batch; kept for the backward or, as the track says, made again there."""
    names = sequence_names(job.objective.wants)
    values_of = recomputed_values if job.rules.gradient_accumulation else sequence_values
    return [Graph.of(micro, values_of(job.scorer, job.reference, names, micro)) for micro in micros]


def gather(graphs: Sequence[Graph], count: int) -> torch.Tensor:
    """Their numbers in the order of the sequences, detached, float64, shape (count, S)."""
    values = graphs[0].values
    leaves = torch.empty((count, values.shape[1]), dtype=torch.float64, device=values.device)
    for graph in graphs:
        leaves[graph.places()] = graph.values.detach()
    return leaves


def narrowed(graphs: Sequence[Graph], chosen: np.ndarray, pool: int) -> list[Graph]:
    """Of the graphs of a pool of pairs, what leads to the chosen ones, renumbered by their places among these; graphs that hold none are let go.

    A graph that holds a chosen pair beside others is kept whole: its backward costs as much as if all were chosen.
    """
    place_of = {int(row): place for place, row in enumerate([*chosen, *(chosen + pool)])}
    found = []
    for graph in graphs:
        inside = [at for at, row in enumerate(graph.rows) if row in place_of]
        if inside:
            values = graph.values.index_select(0, to_device(inside, graph.values.device))
            found.append(Graph(tuple(place_of[graph.rows[at]] for at in inside), values))
    return found


def pull(graphs: Sequence[Graph], pulls: torch.Tensor) -> None:
    """Backward: add to the weights' gradients what ``pulls`` (count, S), the gradient by number of each sequence, comes to."""
    torch.autograd.backward([graph.values for graph in graphs], [pulls[graph.places()] for graph in graphs])


def pull_at_log_probs(job: TrainJob, ids: np.ndarray) -> None:
    """Forward and backward of these pairs' log-probs, whatever the objective would make of them: what a step costs, for trials."""
    pull_at(graphs_of(job, pair_micro_batches(job, ids)))


def pull_at(graphs: Sequence[Graph]) -> None:
    """Backward from the log-probs."""
    torch.autograd.backward([graph.values[:, 0].sum() for graph in graphs])
