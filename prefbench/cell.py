"""One cell, stage by stage: train, answer, judge, score. What a worker executes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers.utils import logging

from prefbench.api import Objective, Scheduler
from prefbench.config import UNTRAINED, Row
from prefbench.engine.tasks import describe_error
from prefbench.evaluate.checked import checked_items, checked_metrics, checked_rows
from prefbench.identity import digest
from prefbench.plan import Cell, mark_key
from prefbench.report.metrics import score
from prefbench.store import provenance
from prefbench.store.files import read_json, read_lines, write_json, write_lines
from prefbench.train.checkpoint import save_policy, weights_digest
from prefbench.train.device import device, seconds_by_threads, usable_cores
from prefbench.train.forward import Scorer
from prefbench.train.job import TrainJob, pair_micro_batches
from prefbench.train.loop import DivergedError, train
from prefbench.train.meter import Clocks, peak_memory_bytes, reset_peak_memory
from prefbench.workshop import Site, Workshop

Report = Callable[[Mapping[str, Any]], None]
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclass(frozen=True)
class Order:
    """What a worker is asked to do: ``prepare``, ``measure`` (thread counts), ``calibrate`` (a harness), ``data`` (of a seed) or ``cell``."""

    kind: str
    site: Site
    threads: int
    seed: int = 0
    harness: str = ""
    candidates: tuple[int, ...] = ()
    cell: Cell | None = None


_workshops: dict[str, Workshop] = {}


def workshop(site: Site) -> Workshop:
    """This process's workshop for a site; a worker serves one run, and a process that goes on to another lets the first one go."""
    key = digest(repr(site))
    if key not in _workshops:
        _workshops.clear()
        _workshops[key] = Workshop(site)
    return _workshops[key]


def execute(order: Order, report: Report) -> Any:
    """What the engine calls in every worker; the result is plain data."""
    torch.set_num_threads(order.threads)
    logging.disable_progress_bar()  # a bar per model file would fill the log of a run
    shop = workshop(order.site)
    if order.kind == "prepare":
        shop.prepare(lambda message: report({"message": message}))
        return None
    if order.kind == "measure":
        return measure(shop, order.seed, list(order.candidates))
    if order.kind == "calibrate":
        shop.calibration(order.harness)
        return None
    if order.kind == "data":
        data = shop.data(order.seed)
        return {"pairs": len(data), "dropped": len(data.tokens.dropped)}
    assert order.cell is not None
    return CellRun(shop, order.cell, report).run()


def measure(shop: Workshop, seed: int, candidates: list[int]) -> dict[int, float]:
    """Median seconds of a forward and backward over one pool, by thread count."""
    row = next(row for row in shop.track.rows if row.scheduler != UNTRAINED)
    job = training_job(shop, row, seed, shop.fresh_policy(), lambda _: None)
    ids = np.arange(min(len(job.data), job.rules.pool))

    def step() -> None:
        torch.autograd.backward([job.scorer.sequence_log_probs(batch).sum() for batch in pair_micro_batches(job, ids)])

    return seconds_by_threads(step, candidates)


def training_job(shop: Workshop, row: Row, seed: int, scorer: Scorer, report: Report) -> TrainJob:
    """A row's objective and scheduler on a seed's pairs, with a policy to train."""
    track = shop.track
    method = track.methods[row.method]
    rate = track.train.learning_rate if method.learning_rate is None else method.learning_rate
    return TrainJob(
        scorer=scorer,
        data=shop.data(seed),
        objective=cast(Objective, shop.planner.component("objective", method.objective)),
        scheduler=cast(Scheduler, shop.planner.component("scheduler", track.schedulers[row.scheduler].scheduler)),
        rules=track.train,
        learning_rate=rate,
        seed=seed,
        report=report,
    )


class CellRun:
    """Carries one cell through its stages; a stage whose mark has the right key is read instead of run."""

    def __init__(self, shop: Workshop, cell: Cell, report: Report) -> None:
        self.shop, self.cell, self.report = shop, cell, report
        self.folder = shop.folder.cell(cell.id)
        self.seconds: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Run what is missing, write the record, and return its status and error."""
        reset_peak_memory()
        error: dict[str, Any] | None = None
        result: dict[str, Any] = {}
        try:
            result = self._result()
            status = "done"
        except DivergedError as diverged:
            status, error = "diverged", {"type": "Diverged", "message": str(diverged), "step": diverged.step, "frames": []}
        except OUT_OF_MEMORY as memory:
            status, error = "oom", describe_error(memory)
        except Exception as other:
            status, error = "failed", describe_error(other)
        self.shop.folder.write_record(self.cell.id, self._record(status, result, error))
        return {"status": status, "error": error}

    def _result(self) -> dict[str, Any]:
        trained = self._stage("train", self._train)
        answered = self._stage("answer", self._answer)
        judged = self._stage("judge", self._judge)
        scored = self._stage("score", self._score)
        weights = {"weights_sha256": trained["weights_sha256"], "training": trained["training"], "answers_sha256": answered}
        return {**scored, **weights, "judged_sha256": judged}

    # ---------------------------------------------------------------- stages

    def _stage(self, name: str, make: Callable[[Clocks], Any]) -> Any:
        """The result of a stage: from its mark when it was finished under the same key, else made now and marked."""
        path, clocks = self.folder / f"{name}.json", Clocks()
        mark = read_json(path) if mark_key(self.shop.folder, self.cell.id, name) == self.cell.keys[name] else {}
        if mark.get("key") != self.cell.keys[name]:
            self.report({"stage": name})
            with clocks.time(name):
                result = make(clocks)
            mark = {"key": self.cell.keys[name], "result": result, "seconds": clocks.seconds}
            write_json(path, mark)
        for clock, seconds in mark["seconds"].items():
            self.seconds[clock] = self.seconds.get(clock, 0.0) + seconds
        return mark["result"]

    def _train(self, clocks: Clocks) -> dict[str, Any]:
        if not self.cell.trained:
            return {"weights_sha256": weights_digest(self._policy_folder()), "training": {}}
        with clocks.time("columns"):
            self.shop.data(self.cell.seed)
        job = training_job(self.shop, self.cell.row, self.cell.seed, self.shop.fresh_policy(), self.report)
        log = train(job, clocks)
        with clocks.time("io"):
            save_policy(job.scorer.model, self.shop.tokenizer, self._policy_folder())
            write_lines(self.folder / "training.jsonl.gz", (without_nan(row) for row in log.rows))
        dropped = {"pairs": len(job.data), "pairs_dropped": len(job.data.tokens.dropped)}
        return {"weights_sha256": weights_digest(self._policy_folder()), "training": {**log.summary(), **dropped}}

    def _policy_folder(self) -> Path:
        return self.folder / "policy" if self.cell.trained else self.shop.model_folder(self.cell.row.method)

    def _answer(self, clocks: Clocks) -> dict[str, str]:
        policy = self.shop.policy(self.shop.load_scorer(self._policy_folder()), self.cell.seed)
        harnesses = self.shop.harnesses
        rows = {name: checked_rows(name, harness.collect(policy, self.shop.source)) for name, harness in harnesses.items()}
        with clocks.time("io"):
            return {name: write_lines(self.folder / f"answers.{name}.jsonl.gz", found) for name, found in rows.items()}

    def _judge(self, clocks: Clocks) -> dict[str, str]:
        judged = {}
        for name, harness in self.shop.harnesses.items():
            rows = read_lines(self.folder / f"answers.{name}.jsonl.gz")
            items = harness.judge(rows, self.shop.judge, self.shop.source, self.shop.calibration(name))
            judged[name] = write_lines(self.folder / f"judged.{name}.jsonl.gz", checked_items(name, items))
        return judged

    def _score(self, clocks: Clocks) -> dict[str, Any]:
        items = [item for name in self.shop.harnesses for item in read_lines(self.folder / f"judged.{name}.jsonl.gz")]
        calibrations = {name: self.shop.calibration(name) for name in self.shop.harnesses}
        return {
            **checked_metrics(score(self.shop.harnesses, items, calibrations)),
            "items_sha256": self.shop.folder.write_items(self.cell.id, items),
            "calibration_sha256": digest({name: c.numbers for name, c in calibrations.items() if c.numbers}),
        }

    # ---------------------------------------------------------------- record

    def _record(self, status: str, result: dict[str, Any], error: dict[str, Any] | None) -> dict[str, Any]:
        track, include = self.shop.track, self.cell.include["train"]
        return {
            "cell": self.cell.id,
            "track": {"name": track.name, "version": track.version, "seed_varies": list(track.seed_varies), "tuning": track.tuning},
            "method": self._method(include),
            "scheduler": {"label": self.cell.row.scheduler, **include.get("scheduler", {})},
            "seed": self.cell.seed,
            "status": status,
            "keys": dict(self.cell.keys),
            "include": {stage: dict(values) for stage, values in self.cell.include.items()},
            "result": result,
            "clocks": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "peak_memory_bytes": peak_memory_bytes(),
            "host": {
                "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
                "dtype": self.shop.site.dtype,
                "cores": usable_cores(),
                "threads": torch.get_num_threads(),
            },
            "packages": provenance.packages(),
            "git": provenance.git(),
            "error": error,
        }

    def _method(self, include: Mapping[str, Any]) -> dict[str, Any]:
        objective = include.get("objective", {"name": None, "options": {}, "origin": None})
        return {
            "label": self.cell.row.method,
            "objective": objective["name"],
            "options": objective["options"],
            "learning_rate": include.get("train", {}).get("learning_rate"),
            "origin": objective["origin"],
        }


def without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """A log row for JSON: a share that no pair of the step had is null."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
