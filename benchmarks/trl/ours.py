"""prefbench's side of a comparison: one training in a process of its own. All that it needs of prefbench is here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.trl.sides import StepClock, Trained, Training, Workload, counting_tokens, device_name, serve, tokens_digest
from prefbench import __version__
from prefbench.api import Objective, Pair, Scheduler
from prefbench.columns.reference import reference_column
from prefbench.config import TrainRules
from prefbench.data.tokens import TokenPairs, tokenise_pairs
from prefbench.engine.allocator import keep_freed_memory
from prefbench.engine.tasks import Report
from prefbench.engine.worker import resolve
from prefbench.objectives.apo import ApoZero
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.ipo import Ipo
from prefbench.schedulers.uniform import Uniform
from prefbench.streams import stream
from prefbench.train.adapters import fresh_policy
from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest
from prefbench.train.device import device
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import TWO_PASS, PairData, TrainJob
from prefbench.train.loop import train
from prefbench.train.meter import Clocks, peak_memory_bytes
from prefbench.train.pools import Epochs

OBJECTIVES: dict[str, type[Objective]] = {"sigmoid": Dpo, "ipo": Ipo, "apo_zero": ApoZero}
"""By TRL's names of its loss types."""


def run(training: Training, options: Mapping[str, Any]) -> Trained:
    """Load, compute the reference column or find it cached, train."""
    keep_freed_memory()  # as every worker does
    workload, clock = Workload(Path(training.folder)), StepClock(training)
    scorer = make_scorer(load_model(workload.model, device()), training.dtype)
    rules = rules_of(training)
    tokens = read_tokens(workload, rules)
    data, scored = with_reference(scorer, workload, tokens, rules.micro_batch_tokens, Path(training.scratch) / "prefbench")
    job = training_job(training, scorer, data, lambda _: clock.step(), options)
    began = time.monotonic()
    log = train(job, Clocks())
    order = drawn_order(job)
    return Trained(
        ends=clock.ends,
        processor_ends=clock.processor_ends,
        losses=[row["loss"] for row in log.table()],
        began=began,
        peak_bytes=peak_memory_bytes(),
        tokens_digest=tokens_digest(*([ids[i] for i in order] for ids in (tokens.prompt_ids, tokens.chosen_ids, tokens.rejected_ids))),
        order=order,
        reference_tokens=scored,
        versions={"prefbench": __version__, "torch": torch.__version__},
        device=device_name(),
    )


def read_tokens(workload: Workload, rules: TrainRules) -> TokenPairs:
    """The pairs as the core reads them."""
    return tokenise_pairs(load_tokenizer(workload.model), read_pairs(workload), rules.max_length, rules.prompt_length)


def read_pairs(workload: Workload) -> list[Pair]:
    """The pairs in the order of the file."""
    return [Pair(**json.loads(line)) for line in workload.pairs.read_text().splitlines()]


def with_reference(scorer: Scorer, workload: Workload, tokens: TokenPairs, budget: int, cache: Path) -> tuple[PairData, int]:
    """The pairs with their reference log-probs, and the tokens that the reference was run on for them: none where they are cached."""
    with counting_tokens() as counted:
        column = reference_column(scorer, weights_digest(workload.model), tokens, budget, cache)
    return PairData(tokens, *column.sums()), counted["tokens"]


def rules_of(training: Training) -> TrainRules:
    """The training as a track's rules; whatever they do not say is prefbench's default, a selection mode for instance."""
    return TrainRules(
        steps=training.steps,
        pool=training.batch,
        warmup=0,
        schedule="constant",
        max_length=training.max_length,
        over_long="truncate",
        dtype=training.dtype,
    )


def training_job(training: Training, scorer: Scorer, data: PairData, report: Report, options: Mapping[str, Any]) -> TrainJob:
    """What the core is asked to do: an objective by TRL's name, on all pairs of every pool unless a scheduler is named."""
    return TrainJob(
        scorer=fresh_policy(scorer, None, training.seed),
        data=data,
        objective=OBJECTIVES[training.objective](),
        scheduler=scheduler_of(options),
        rules=rules_of(training),
        learning_rate=training.learning_rate,
        seed=training.seed,
        report=report,
        reference=scorer,
        selection=options.get("selection", TWO_PASS),
        compiled=options.get("compiled", False),
    )


def scheduler_of(options: Mapping[str, Any]) -> Scheduler:
    """The scheduler that ``scheduler`` names as module:class, with the options that it is given; every pair of every pool where none is named."""
    named: Any = resolve(options["scheduler"]) if "scheduler" in options else Uniform
    scheduler: Scheduler = named(**options.get("scheduler_options", {}))
    return scheduler


def drawn_order(job: TrainJob) -> list[int]:
    """The row numbers of the pairs that the steps of a job are offered, one after the other."""
    pools = islice(Epochs(job).pools(stream(job.seed, "data")), job.rules.steps)
    return [int(row) for row in np.concatenate(list(pools))]


if __name__ == "__main__":
    serve(run)
