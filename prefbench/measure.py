"""What is chosen by measuring: the threads of a worker, whether layers are compiled, and how a row's selection is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefbench.config import Row, resolved
from prefbench.engine.memory import kills_for_memory
from prefbench.engine.tasks import Report
from prefbench.errors import StorageError, first_line
from prefbench.identity import digest
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.compiled import Compilation, choose_compilation
from prefbench.train.device import device_name, seconds_by_threads, usable_cores
from prefbench.train.graphs import pull_at_log_probs
from prefbench.train.job import TWO_PASS, PairData, TrainJob
from prefbench.train.meter import available_memory_bytes, peak_memory_bytes, reset_peak_memory
from prefbench.train.modes import Choice, choose_selection, obstacle
from prefbench.train.selection import selected_size
from prefbench.train.state import trainable
from prefbench.workshop import Workshop

MOST = 3
"""Cells that share a GPU: two keep it busy while one of them is judged, more gain little."""
BEGUN, TIMES, OFTEN = "processes_killed_for_memory_before", "times_tried", 2
"""What stands in a choice's file while it is tried; after so many trials that did not come to an end no other is made."""
ROOM = 0.45
"""Share of the GPU's free memory for all of them."""


def training_job(shop: Workshop, row: Row, seed: int, data: PairData, report: Report) -> TrainJob:
    """A row's objective and scheduler on a seed's pairs, with a policy to train."""
    return TrainJob(
        scorer=shop.fresh_policy(seed),
        data=data,
        objective=shop.planner.objective(row),
        scheduler=shop.planner.scheduler(row),
        rules=shop.track.train,
        learning_rate=shop.planner.learning_rate(row),
        seed=seed,
        report=report,
        reference=shop.reference,
    )


def step_seconds(shop: Workshop, seed: int, candidates: list[int]) -> dict[int, float]:
    """Median seconds of a forward and backward over one pool, by thread count."""
    row = next(row for row in shop.track.rows if row.trained)
    tokens = shop.tokens(seed, row.condition)
    # The reference's log-probs: nothing of a step's cost depends on them, and they would take a pass over all pairs.
    unknown = np.zeros(len(tokens))
    job = training_job(shop, row, seed, PairData(tokens, unknown, unknown), lambda _: None)
    ids = np.arange(job.pool)
    return seconds_by_threads(lambda: pull_at_log_probs(job, ids), candidates)


def cells_at_once(shop: Workshop, seed: int) -> int:
    """How many cells may share this process's GPU, by the peak of a backward through a step's longest pairs and the optimiser's two moments."""
    row = next(row for row in shop.track.rows if row.trained)
    job = training_job(shop, row, seed, shop.data(seed, row.condition).pairs, lambda _: None)
    free = available_memory_bytes()
    reset_peak_memory()
    job.scorer.model.train()
    pull_at_log_probs(job, np.array(job.data.tokens.longest(selected_size(job.scheduler, job.pool))))
    moments = sum(2 * weight.nbytes for weight in trainable(job.scorer.model))
    return cells_that_fit(free, peak_memory_bytes() + moments)


def cells_that_fit(free: int, cell: int) -> int:
    """At least 1, at most MOST. Less than half of the memory is planned with, because a cell that answers takes half of what is free."""
    return max(1, min(MOST, int(ROOM * free / cell)))


def chosen_selection(shop: Workshop, job: TrainJob, row: Row) -> Choice:
    """How a row's selection is trained on: as its run folder says, else as was measured on this machine before, else as is measured now."""
    if reason := obstacle(job):
        return Choice(TWO_PASS, reason)
    cautious = Choice(TWO_PASS, "the trial of kept graphs did not end")
    known = _kept(
        shop, shop.folder.selection_path(row.method, row.scheduler), _key(shop, job, row), cautious, lambda: choose_selection(job)
    )
    return Choice(**known)


def chosen_compilation(shop: Workshop, job: TrainJob) -> Compilation:
    """Whether the layers of this run's policies are compiled: as its folder says, else as was tried on this machine before, else as is tried now
    with one of its rows."""
    cautious = Compilation(False, "the trial did not end")
    known = _kept(
        shop, shop.folder.compilation, _key(shop, job), cautious, lambda: choose_compilation(job, lambda: shop.fresh_policy(job.seed))
    )
    return Compilation(**known)


def _kept(shop: Workshop, own: Path, key: str, cautious: Choice | Compilation, find: Callable[[], Choice | Compilation]) -> dict[str, Any]:
    """A choice as plain data: from the run folder's file, the machine's, or found now and put into both.

    Of a trial that failed, or during which the system ended processes for memory, its worker perhaps, no other is made: the cautious choice stands.
    One that was cut short by anything else is made again, so that a run that was killed ends as if it had not been; but not for ever, because it
    may be the trial that ends its worker. What did not fit into memory may fit another time: no other run folder is told.
    """
    name = "compilation" if own == shop.folder.compilation else "selection"
    machines = shop.site.cache / "measured" / f"{name}-{key}.json"
    known = read_or_set_aside(own, read_sealed) or read_or_set_aside(machines, read_sealed)
    times = 0
    if known and BEGUN in known:
        times = known.get(TIMES, 1)
        known = dataclasses.asdict(cautious) if kills_for_memory() > known[BEGUN] or times >= OFTEN else None
    if known is None:
        write_sealed(own, {BEGUN: kills_for_memory(), TIMES: times + 1})
        found = _found(find, cautious)
        known = dataclasses.asdict(found)
        if found.lasting:
            write_sealed(machines, known)
    write_sealed(own, known)
    return known


def _found(find: Callable[[], Choice | Compilation], cautious: Choice | Compilation) -> Choice | Compilation:
    """What a trial finds; where it raises, the cautious choice with the reason. The training meets a plugin's mistake again, and tells it."""
    try:
        return find()
    except StorageError:
        raise
    except Exception as error:
        return dataclasses.replace(cautious, reason=f"its trial failed: {first_line(error)}", lasting=False)


def _key(shop: Workshop, job: TrainJob, row: Row | None = None) -> str:
    """What the seconds and the memory of a step depend on; of a selective one, its row too."""
    method = row and shop.planner.identify("objective", shop.planner.objective_of(row))
    include: dict[str, Any] = {
        "objective": method,
        "scheduler": row and shop.planner.identify_scheduler(shop.track.schedulers[row.scheduler].links),
        "source": dict(shop.source.identity()),
        "weights": shop.reference_weights,
        "loading": resolved(shop.track.model),
        "lora": resolved(shop.track.lora) if shop.track.lora else None,
        "rules": resolved(job.rules),
        "arithmetic": job.scorer.arithmetic,
        "machine": [device_name(), usable_cores(), torch.get_num_threads(), torch.__version__],
    }
    return digest(include)
