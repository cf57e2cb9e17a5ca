"""What is chosen by measuring: the threads of a worker, whether layers are compiled, and how a row's selection is trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from prefbench.config import UNTRAINED, Row, resolved
from prefbench.engine.tasks import Report
from prefbench.identity import digest
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.compiled import Compilation, choose_compilation
from prefbench.train.device import device, seconds_by_threads, usable_cores
from prefbench.train.job import PairData, TrainJob, pair_micro_batches
from prefbench.train.modes import Choice, choose_selection, obstacle
from prefbench.workshop import Workshop


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
    row = next(row for row in shop.track.rows if row.scheduler != UNTRAINED)
    job = training_job(shop, row, seed, shop.data(seed).pairs, lambda _: None)
    ids = np.arange(min(len(job.data), job.rules.pool))

    def step() -> None:
        torch.autograd.backward([job.scorer.sequence_log_probs(batch).sum() for batch in pair_micro_batches(job, ids)])

    return seconds_by_threads(step, candidates)


def chosen_selection(shop: Workshop, row: Row, seed: int, report: Report) -> Choice:
    """How a row's selection is trained on: as its run folder says, else as was measured on this machine before, else as is measured now."""
    path = shop.folder.selection_path(row.method, row.scheduler)
    known = read_or_set_aside(path, read_sealed)
    if known is None:
        known = dataclasses.asdict(_machines_choice(shop, row, seed, report))
        write_sealed(path, known)
    return Choice(**known)


def _machines_choice(shop: Workshop, row: Row, seed: int, report: Report) -> Choice:
    job = training_job(shop, row, seed, shop.row_data(row, seed, shop.columns(row, seed, report)), report)
    if obstacle(job):
        return choose_selection(job)
    path = shop.site.cache / "measured" / f"selection-{_key(shop, row, job)}.json"
    known = read_or_set_aside(path, read_sealed)
    if known is None:
        job.scorer.model.train()
        known = dataclasses.asdict(choose_selection(job))
        write_sealed(path, known)
    return Choice(**known)


def chosen_compilation(shop: Workshop, row: Row, seed: int, report: Report) -> Compilation:
    """Whether the layers of this run's policies are compiled: as its folder says, else as was tried on this machine before, else as is tried now
    with one of its rows."""
    known = read_or_set_aside(shop.folder.compilation, read_sealed)
    if known is None:
        job = training_job(shop, row, seed, shop.data(seed).pairs, report)
        path = shop.site.cache / "measured" / f"compilation-{_key(shop, row, job)}.json"
        known = read_or_set_aside(path, read_sealed)
        if known is None:
            job.scorer.model.train()
            known = dataclasses.asdict(choose_compilation(job, lambda: shop.fresh_policy(seed)))
            write_sealed(path, known)
        write_sealed(shop.folder.compilation, known)
    return Compilation(**known)


def _key(shop: Workshop, row: Row, job: TrainJob) -> str:
    """What the seconds of a selective step depend on."""
    include: dict[str, Any] = {
        "objective": shop.planner.identify("objective", shop.track.methods[row.method].objective),
        "scheduler": shop.planner.identify_scheduler(shop.track.schedulers[row.scheduler].links),
        "weights": shop.reference_weights,
        "rules": resolved(job.rules),
        "machine": [str(device()), usable_cores(), torch.get_num_threads(), torch.__version__],
    }
    return digest(include)
