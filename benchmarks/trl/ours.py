"""prefbench's side of a comparison: one training in a process of its own. All that a benchmark of the core needs of prefbench is here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.trl.sides import StepClock, Trained, Training, counting_tokens, device_name, serve, tokens_digest
from benchmarks.trl.workload import Workload
from prefbench import __version__
from prefbench.api import Objective, Pair, Scheduler
from prefbench.columns.reference import reference_column
from prefbench.config import TrainRules
from prefbench.data.tokens import TokenPairs, tokenise_pairs
from prefbench.objectives.apo import ApoZero
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.ipo import Ipo
from prefbench.schedulers.uniform import Uniform
from prefbench.streams import stream
from prefbench.train.adapters import fresh_policy
from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest
from prefbench.train.device import device
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import PairData, TrainJob
from prefbench.train.loop import train
from prefbench.train.meter import Clocks, peak_memory_bytes
from prefbench.train.pools import Epochs

OBJECTIVES: dict[str, type[Objective]] = {"sigmoid": Dpo, "ipo": Ipo, "apo_zero": ApoZero}
"""By TRL's names of its loss types."""


def run(training: Training, options: Mapping[str, Any]) -> Trained:
    """Load, compute the reference column or find it cached, train."""
    workload, clock = Workload(Path(training.folder)), StepClock(training)
    scorer = make_scorer(load_model(workload.model, device()), training.dtype)
    tokens = read_tokens(workload, training.max_length)
    data, scored = with_reference(scorer, workload, tokens, training)
    job = training_job(training, scorer, data, clock, options)
    began = time.monotonic()
    log = train(job, Clocks())
    order = drawn_order(job)
    return Trained(
        ends=clock.ends,
        losses=[row["loss"] for row in log.table()],
        began=began,
        peak_bytes=peak_memory_bytes(),
        tokens_digest=tokens_digest(*([ids[i] for i in order] for ids in (tokens.prompt_ids, tokens.chosen_ids, tokens.rejected_ids))),
        order=order,
        reference_tokens=scored,
        versions={"prefbench": __version__, "torch": torch.__version__},
        device=device_name(),
    )


def read_tokens(workload: Workload, max_length: int) -> TokenPairs:
    """The pairs as the ``files`` source and the core read them."""
    pairs = [Pair(**json.loads(line)) for line in workload.pairs.read_text().splitlines()]
    return tokenise_pairs(load_tokenizer(workload.model), pairs, max_length)


def with_reference(scorer: Scorer, workload: Workload, tokens: TokenPairs, training: Training) -> tuple[PairData, int]:
    """The pairs with their reference log-probs, and the tokens that the reference was run on for them: none where they are cached."""
    weights, cache = weights_digest(workload.model), Path(training.scratch) / "prefbench"
    with counting_tokens() as counted:
        column = reference_column(scorer, weights, tokens, TrainRules().micro_batch_tokens, cache)
    return PairData(tokens, *column.sums()), counted["tokens"]


def training_job(training: Training, scorer: Scorer, data: PairData, clock: StepClock, options: Mapping[str, Any]) -> TrainJob:
    """What the core is asked to do: an objective of the training's name on all pairs of every pool, unless a scheduler is named."""
    rules = TrainRules(
        steps=training.steps, pool=training.batch, warmup=0, schedule="constant", max_length=training.max_length, dtype=training.dtype
    )
    return TrainJob(
        scorer=fresh_policy(scorer, None, training.seed),
        data=data,
        objective=OBJECTIVES[training.objective](),
        scheduler=scheduler_of(options),
        rules=rules,
        learning_rate=training.learning_rate,
        seed=training.seed,
        report=lambda _: clock.step(),
        reference=scorer,
    )


def scheduler_of(options: Mapping[str, Any]) -> Scheduler:
    """The scheduler of that name with its own options; every pair of every pool where none is named."""
    if "scheduler" not in options:
        return Uniform()
    from prefbench.registry import build, load_registry  # every plugin is imported here, which a training by name of loss does without

    return build(load_registry(()).get("scheduler", options["scheduler"]), options.get("scheduler_options", {}))


def drawn_order(job: TrainJob) -> list[int]:
    """The row numbers of the pairs that the steps of a job are offered, one after the other."""
    pools = islice(Epochs(job).pools(stream(job.seed, "data")), job.rules.steps)
    return [int(row) for row in np.concatenate(list(pools))]


if __name__ == "__main__":
    serve(run)
