"""The scheduler's part of a step: the pool scored as it wants, its choice, and the rehearsals before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from prefbench.api import Pool, Scheduler
from prefbench.schedulers.draws import share_of
from prefbench.streams import stream
from prefbench.train.checked import checked_losses, checked_selection
from prefbench.train.device import autocast
from prefbench.train.forward import without_dropout
from prefbench.train.job import TrainJob, gather, mismatched_log_ratios, pair_batch, pair_micro_batches
from prefbench.train.layout import AS_ROWS, MicroBatch
from prefbench.train.log import EVERY
from prefbench.train.state import LoopState
from prefbench.train.statistics import HIDDEN_STATES, mean_hidden_states, sequence_names, sequence_values


def selected_size(scheduler: Scheduler, pool: int) -> int:
    """K: the pairs of a pool of n that are trained on."""
    return share_of(pool, scheduler.ratio)


def score_pool(state: LoopState, ids: np.ndarray, step: int) -> Pool:
    """The pool as the scheduler sees it; its statistics cost one forward without gradient, and nothing when it wants none."""
    job = state.job
    columns = {name: job.data.columns[name][ids] for name in job.scheduler.needs}
    statistics: dict[str, np.ndarray] = {}
    if job.scheduler.wants:
        with state.clocks.time("select"):
            statistics = pool_statistics(job, ids, step)
        state.log.pairs_forward += len(ids)
    return Pool(ids, columns, statistics, job.progress(step))


@torch.no_grad()
def pool_statistics(job: TrainJob, ids: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """What the scheduler wants of a pool under the policy as it is; no graph is left behind."""
    wants, names = job.scheduler.wants, sequence_names(job.objective.wants)
    kinds = [kind for kind in HIDDEN_STATES if kind in wants]
    values: list[tuple[MicroBatch, torch.Tensor]] = []
    states: dict[str, list[tuple[MicroBatch, torch.Tensor]]] = {kind: [] for kind in kinds}
    # Means over padding need some: those of the authors' code are what its micro-batches, one row per sequence, happen to be.
    scorer = dataclasses.replace(job.scorer, layout=AS_ROWS) if "padded_hidden_states" in wants else job.scorer
    with without_dropout(job.scorer.model):
        for micro in pair_micro_batches(dataclasses.replace(job, scorer=scorer), ids):
            with autocast(job.scorer.dtype):
                output = job.scorer.run(micro, output_hidden_states=bool(kinds))
            values.append((micro, sequence_values(job.scorer, job.reference, names, micro, output)))
            for kind in kinds:
                states[kind].append((micro, mean_hidden_states(output, micro, padded=kind != "hidden_states")))
        batch = pair_batch(job, ids, gather(values, 2 * len(ids)), step, mismatched_log_ratios(job, ids))
    found: dict[str, Callable[[], torch.Tensor]] = {
        "loss": lambda: checked_losses(job.objective, job.objective.per_pair(batch), len(ids)).double(),
        "margin": lambda: batch.margin,
        "chosen_log_prob": lambda: batch.policy_chosen,
        **{kind: partial(by_pair, parts) for kind, parts in states.items()},
    }
    return {name: found[name]().cpu().numpy() for name in wants}


def by_pair(parts: list[tuple[MicroBatch, torch.Tensor]]) -> torch.Tensor:
    """Numbers of micro-batches' sequences as (K, 2, ...): a pair's chosen sequence, then its rejected."""
    rows = torch.cat([micro.rows for micro, _ in parts])
    ordered = torch.cat([values for _, values in parts])[torch.argsort(rows)]
    return torch.stack(ordered.chunk(2), dim=1)


def choose(state: LoopState, pool: Pool, size: int) -> np.ndarray:
    """Positions of the K pairs that are trained on, once the scheduler has observed the pool."""
    scheduler = state.job.scheduler
    with state.clocks.time("select"):
        if state.previous is not None:
            scheduler.observe(*state.previous, pool)
        chosen = checked_selection(scheduler, scheduler.select(pool, size, state.select_rng), size, len(pool))
        state.previous = (pool, chosen)
    return chosen


def rehearse(state: LoopState, size: int) -> None:
    """Before the first step: pools are offered and observed while the policy stays as it is. Their order moves that of no training pool."""
    pools = state.epochs.pools(stream(state.job.seed, "rehearse"))
    for number in range(state.job.scheduler.rehearsals):
        choose(state, score_pool(state, next(pools), 0), size)
        if number % EVERY == 0:
            state.job.report({})
