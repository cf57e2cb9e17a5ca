"""Mode ``selective``: what training on half of the pairs costs beside training on all of them, prefbench with itself."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import OURS, Contender, Outcome, alternate
from benchmarks.trl.tables import Table, mebibytes
from prefbench.train.job import KEPT, TWO_PASS

LOSS_RANKED = {"scheduler": "prefbench.schedulers.loss_ranked:LossRanked", "scheduler_options": {"ratio": 0.5}}
SAMS = {"scheduler": "prefbench_sams:Sams", "scheduler_options": {"ratio": 0.5, "preset": "small"}}
ALL = Contender("dpo on all 16", OURS)
SELECTIVE = tuple(
    Contender(f"{name}, {mode}", OURS, {**scheduler, "selection": mode})
    for name, scheduler in (("dpo on the 8 of highest loss", LOSS_RANKED), ("dpo + sams, 8 of 16", SAMS))
    for mode in (TWO_PASS, KEPT)
)

STEPS, POOL, ROUNDS = 24, 16, 3
HEADER = ("model", "threads", "who", "s a step", "whole training s", "peak MiB", "time of a step", "of the whole", "memory")


def table(plan: Plan) -> Table:
    """Pools of 16 pairs, 8 of them trained on, beside all 16."""
    rows: list[list[str]] = []
    versions: dict[str, str] = {}
    steps = plan.steps or STEPS
    for size in plan.sizes or ("s",):
        training = plan.training(plan.workload(size, "mild", POOL * steps), steps=steps, batch=POOL)
        for threads in dict.fromkeys((plan.threads, 1)):
            plan.tell(f"{threads} threads")
            found = alternate((ALL, *SELECTIVE), dataclasses.replace(training, threads=threads), plan.rounds or ROUNDS, plan.tell)
            rows += [[size, str(threads), *cells] for cells in lines(found, training.warm_up)]
            versions |= found[ALL.name][0].trained.versions
    remarks = (
        "The whole training: from the first pool to the last step, the scheduler's own work included, the reference pass not.",
        "Time and memory: as shares of those of training on all with as many threads. A worker has one thread where a run has many cells.",
        "Two-pass: all are scored without gradient, then the chosen go forward and backward.",
        "Kept: each pair's graph is kept until it is chosen or not. A run measures both, and keeps graphs where that is clearly faster and fits.",
    )
    return Table("Half of the pairs", HEADER, rows, versions, remarks)


def lines(found: Mapping[str, Sequence[Outcome]], warm_up: int) -> list[list[str]]:
    """A line per contender."""
    whole, rows = measures(found[ALL.name], warm_up), []
    for name, outcomes in found.items():
        own = measures(outcomes, warm_up)
        shares = [""] * 3 if name == ALL.name else [f"{a / b:.2f}x" for a, b in zip(own, whole, strict=True)]
        rows.append([name, f"{own[0]:.3f}", f"{own[1]:.1f}", mebibytes(own[2]), *shares])
    return rows


def measures(outcomes: Sequence[Outcome], warm_up: int) -> tuple[float, float, float]:
    """Medians over rounds: seconds of a step, seconds of the whole training, bytes at the peak."""
    return (
        statistics.median(outcome.step_seconds(warm_up) for outcome in outcomes),
        statistics.median(outcome.trained.ends[-1] - outcome.trained.began for outcome in outcomes),
        statistics.median(outcome.trained.peak_bytes for outcome in outcomes),
    )
