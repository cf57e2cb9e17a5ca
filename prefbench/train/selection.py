"""The scheduler's part of a step: the pool scored as it wants, its choice, and the rehearsals before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from prefbench.api import Pool, Scheduler
from prefbench.schedulers.draws import share_of
from prefbench.streams import stream
from prefbench.train.checked import checked_losses, checked_selection
from prefbench.train.device import autocast
from prefbench.train.forward import without_dropout
from prefbench.train.graphs import Graph, gather, kept_tokens
from prefbench.train.job import KEPT, TrainJob, mismatched_log_ratios, pair_batch, pair_micro_batches
from prefbench.train.layout import AS_ROWS
from prefbench.train.log import EVERY
from prefbench.train.seen import takes_stale
from prefbench.train.state import LoopState
from prefbench.train.statistics import HIDDEN_STATES, mean_hidden_states, sequence_names, sequence_values


@dataclass(frozen=True)
class Keep:
    """Wish for the graphs of a scoring; ``order`` is the one in which pairs are put into micro-batches, None the usual."""

    order: list[int] | None = None


def selected_size(scheduler: Scheduler, pool: int) -> int:
    """K: the pairs of a pool of n that are trained on."""
    return share_of(pool, scheduler.ratio)


def score_pool(state: LoopState, ids: np.ndarray, step: int, rehearsed: bool = False) -> tuple[Pool, list[Graph]]:
    """The pool as the scheduler sees it, and the graphs of its pairs where they are kept for the backward, which a rehearsal has none of.

    Its statistics cost one forward, and nothing when it wants none; of those that it takes stale, pairs that were never seen alone are scored.
    """
    job = state.job
    columns = {name: job.data.columns[name][ids] for name in job.scheduler.needs}
    if not job.scheduler.wants:
        return Pool(ids, columns, {}, job.progress(step)), []
    if takes_stale(job.scheduler):
        return Pool(ids, columns, _stale_statistics(state, ids, step), job.progress(step)), []
    keep = Keep(state.seen.order(ids)) if job.selection == KEPT and not rehearsed else None
    with _clock(state, keep):
        statistics, graphs = pool_statistics(job, ids, step, keep)
    state.seen.remember(ids, statistics)
    state.log.pairs_forward += len(ids)
    return Pool(ids, columns, statistics, job.progress(step)), graphs


@contextmanager
def _clock(state: LoopState, keep: Keep | None) -> Iterator[None]:
    """A scheduler's, but for a forward whose graphs are kept: that is training's own."""
    if keep is None:
        with state.clocks.time("select"):
            yield
    else:
        with state.clocks.time("train"), state.clocks.part("forward"):
            yield


def _stale_statistics(state: LoopState, ids: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """What the scheduler wants as it was when each pair was last scored or trained on."""
    wants, objective = state.job.scheduler.wants, state.job.objective
    new = ids[state.seen.unknown(ids)]
    if len(new) and (objective.batch_coupled or "mismatched_log_ratio" in objective.wants):
        new = ids  # their losses depend on the pairs beside them
    if len(new):
        with state.clocks.time("select"):
            state.seen.remember(new, pool_statistics(state.job, new, step)[0])
        state.log.pairs_forward += len(new)
    return {name: state.seen.values[name][ids] for name in wants}


def pool_statistics(job: TrainJob, ids: np.ndarray, step: int, keep: Keep | None = None) -> tuple[dict[str, np.ndarray], list[Graph]]:
    """What the scheduler wants of a pool under the policy as it is; with the graphs that led there if they are to be kept, else none is left."""
    with torch.set_grad_enabled(keep is not None), nullcontext() if keep else without_dropout(job.scorer.model):
        graphs, states = _scored(job, ids, keep)
    with torch.no_grad():
        found = _wanted(job, ids, step, graphs, states)
    return found, graphs if keep else []


def _scored(job: TrainJob, ids: np.ndarray, keep: Keep | None) -> tuple[list[Graph], dict[str, list[tuple[Graph, torch.Tensor]]]]:
    """A graph per micro-batch, and the mean hidden states of its sequences by kind."""
    names = sequence_names(job.objective.wants)
    kinds = [kind for kind in HIDDEN_STATES if kind in job.scheduler.wants]
    # Means over padding need some: those of the authors' code are what its micro-batches, one row per sequence, happen to be.
    scorer = dataclasses.replace(job.scorer, layout=AS_ROWS) if "padded_hidden_states" in kinds else job.scorer
    graphs: list[Graph] = []
    states: dict[str, list[tuple[Graph, torch.Tensor]]] = {kind: [] for kind in kinds}
    scored = dataclasses.replace(job, scorer=scorer)
    micros = pair_micro_batches(scored, ids, kept_tokens(job), keep.order) if keep else pair_micro_batches(scored, ids)
    for micro in micros:
        with autocast(job.scorer.dtype):
            output = job.scorer.run(micro, output_hidden_states=bool(kinds))
        graphs.append(Graph.of(micro, sequence_values(job.scorer, job.reference, names, micro, output)))
        for kind in kinds:
            with torch.no_grad():
                states[kind].append((graphs[-1], mean_hidden_states(output, micro, padded=kind != "hidden_states")))
    return graphs, states


def _wanted(
    job: TrainJob, ids: np.ndarray, step: int, graphs: list[Graph], states: dict[str, list[tuple[Graph, torch.Tensor]]]
) -> dict[str, np.ndarray]:
    """The statistics by name, on the host."""
    batch = pair_batch(job, ids, gather(graphs, 2 * len(ids)), step, mismatched_log_ratios(job, ids))
    found: dict[str, Callable[[], torch.Tensor]] = {
        "loss": lambda: checked_losses(job.objective, job.objective.per_pair(batch), len(ids)).double(),
        "margin": lambda: batch.margin,
        "chosen_log_prob": lambda: batch.policy_chosen,
        **{kind: partial(by_pair, parts) for kind, parts in states.items()},
    }
    return {name: found[name]().cpu().numpy() for name in job.scheduler.wants}


def by_pair(parts: list[tuple[Graph, torch.Tensor]]) -> torch.Tensor:
    """Numbers of micro-batches' sequences as (K, 2, ...): a pair's chosen sequence, then its rejected."""
    rows = torch.cat([graph.places() for graph, _ in parts])
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
        pool, _ = score_pool(state, next(pools), 0, rehearsed=True)
        choose(state, pool, size)
        if number % EVERY == 0:
            state.job.report({"rehearsed": number})
