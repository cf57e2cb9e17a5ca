"""Mode ``reference``: what a second training recomputes of the reference log-probs, by what differs from the first one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import train
from benchmarks.trl.sides import Training, Workload
from benchmarks.trl.step import PRECOMPUTE, PREFBENCH
from benchmarks.trl.tables import Table
from benchmarks.trl.workload import SIZES, random_model

STEPS, PAIRS = 2, 16
CUT = 150
"""Tokens of prompt and answer to which every pair is cut."""
HEADER = ("what differs from the first training", "prefbench", "TRL, precompute")


def table(plan: Plan) -> Table:
    """Tokens through the reference: of a first training, then of others that find its caches."""
    size = (plan.sizes or ("xs",))[0]
    training = plan.training(plan.workload(size, "mild", PAIRS), steps=STEPS, warm_up=1)
    order: tuple[int, ...] = ()
    rows: list[list[str]] = []
    versions: dict[str, str] = {}
    for name, changed in variants(training, size):
        ours = train(PREFBENCH, changed)
        order = order or tuple(ours.trained.order)
        theirs = train(PRECOMPUTE, dataclasses.replace(changed, order=order))
        rows.append([name, str(ours.trained.reference_tokens), str(theirs.trained.reference_tokens)])
        plan.tell(" | ".join(rows[-1]))
        versions |= {**ours.trained.versions, **theirs.trained.versions}
    remarks = (
        f"Tokens that the reference was run on before the first step, padding included; {size}, {PAIRS} pairs of mild lengths. 0 is a hit.",
        "The order of the pairs is the same in all of TRL's trainings: its seed shuffles later.",
    )
    return Table("The reference, computed once", HEADER, rows, versions, remarks)


def variants(training: Training, size: str) -> Iterator[tuple[str, Training]]:
    """The first training, and others that differ from it in one thing."""
    yield "(the first)", training
    yield "nothing", training
    yield "objective", dataclasses.replace(training, objective="ipo")
    yield "seed", dataclasses.replace(training, seed=1)
    yield "learning rate", dataclasses.replace(training, learning_rate=training.learning_rate / 2)
    yield "weights", dataclasses.replace(training, folder=str(with_other_weights(Workload(Path(training.folder)), size).folder))
    yield "compute dtype", dataclasses.replace(training, dtype="bfloat16")
    yield "truncation", dataclasses.replace(training, max_length=CUT)


def with_other_weights(workload: Workload, size: str) -> Workload:
    """The same pairs and tokenizer with a model of another seed."""
    other = Workload(workload.folder.with_name(f"{workload.folder.name}-other-weights"))
    shutil.copytree(workload.folder, other.folder)
    random_model(SIZES[size].config(), seed=1).save_pretrained(other.model)
    return other
