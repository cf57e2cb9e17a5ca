"""How a scheduler's choice is trained on, chosen by measuring: through the graphs of the scoring, or by a forward of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from prefbench.engine.memory import is_out_of_memory
from prefbench.train.device import median_of_rounds, usable_cores
from prefbench.train.graphs import graphs_of, kept_tokens, narrowed, pull_at
from prefbench.train.job import KEPT, TWO_PASS, TrainJob, pair_micro_batches
from prefbench.train.meter import available_memory_bytes, peak_memory_bytes, reset_peak_memory
from prefbench.train.seen import takes_stale
from prefbench.train.selection import Keep, pool_statistics, selected_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLEARLY = 0.9
"""Graphs are kept where a step then takes at most this share of the time: two runs of one machine are to choose alike."""
GRAPHS = 0.5
"""Share of the memory that is free that the graphs of all workers may take."""


@dataclass(frozen=True)
class Choice:
    """``mode``, why, and where it was measured the seconds of a step by mode and the bytes that kept graphs take beyond the other's.

    Not ``lasting``: it depends on what else is in memory.
    """

    mode: str
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    more_bytes: int = 0
    lasting: bool = True


def choose_selection(job: TrainJob) -> Choice:
    """The faster mode for this job's scheduler on this machine; the one that needs less memory where there is a reason for it."""
    if reason := obstacle(job):
        return Choice(TWO_PASS, reason)
    job.scorer.model.train()
    try:
        seconds, more = _measured(job)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Choice(TWO_PASS, "the graphs of a whole pool do not fit into memory", lasting=False)
    if more * usable_cores() / torch.get_num_threads() > GRAPHS * available_memory_bytes():
        return Choice(TWO_PASS, "the graphs of a whole pool, in every worker, might not fit into memory", seconds, more, lasting=False)
    faster = seconds[KEPT] <= CLEARLY * seconds[TWO_PASS]
    return Choice(KEPT if faster else TWO_PASS, "measured", seconds, more)


def obstacle(job: TrainJob) -> str:
    """Why graphs cannot be kept; empty where they can."""
    if not job.scheduler.wants:
        return "the scheduler scores nothing"
    if takes_stale(job.scheduler):
        return "the scheduler takes stale scores"
    if "padded_hidden_states" in job.scheduler.wants:
        return "means over padding depend on how micro-batches are cut"
    if job.rules.gradient_accumulation or job.rules.gradient_checkpointing:
        return "the track saves memory"
    if has_dropout(job.scorer.model):
        return "scores are without dropout, training is with it"
    return ""


def has_dropout(model: PreTrainedModel) -> bool:
    """Whether a forward in training draws anything: by its layers, adapters included, or by what its configuration calls a drop of any kind."""
    layers = any(isinstance(layer, torch.nn.Dropout) and layer.p > 0 for layer in model.modules())
    named = model.config.get_text_config().to_dict().items()
    return layers or any("drop" in name and isinstance(share, float) and share > 0 for name, share in named)


def _measured(job: TrainJob) -> tuple[dict[str, float], int]:
    """Median seconds of a selective step by mode, alternating, and how much more memory kept graphs take. The policy stays as it is."""
    ids = np.array(job.data.tokens.longest(job.pool))
    steps = {mode: _step(job, mode, ids) for mode in (TWO_PASS, KEPT)}
    peaks = {mode: _peak(step) for mode, step in steps.items()}
    seconds = median_of_rounds(list(steps.values()))
    job.scorer.model.zero_grad(set_to_none=True)
    return dict(zip(steps, seconds, strict=True)), peaks[KEPT] - peaks[TWO_PASS]


def _step(job: TrainJob, mode: str, ids: np.ndarray) -> Callable[[], None]:
    """Score the pool, and pull at the log-probs of K of its pairs: spread over the pool, as a choice would be.

    Where several pairs share a graph the chosen are put together, as they are once their last scores are known.
    """
    size = selected_size(job.scheduler, len(ids))
    chosen = np.linspace(0, len(ids) - 1, size).round().astype(np.int64)
    keep = Keep(None if kept_tokens(job) == 1 else [*chosen.tolist(), *np.delete(np.arange(len(ids)), chosen).tolist()])

    def step() -> None:
        _, graphs = pool_statistics(job, ids, 0, keep if mode == KEPT else None)
        graphs = narrowed(graphs, chosen, len(ids)) if graphs else graphs_of(job, pair_micro_batches(job, ids[chosen]))
        pull_at(graphs)

    return step


def _peak(step: Callable[[], None]) -> int:
    reset_peak_memory()
    step()
    return peak_memory_bytes()
