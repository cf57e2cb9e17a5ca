"""One cell, stage by stage: train, answer, judge, score. What a worker executes."""

from __future__ import annotations

import dataclasses
import math
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from logging import WARNING, Handler, LogRecord
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from prefbench.columns.compute import ColumnValues
from prefbench.config import Row
from prefbench.engine.allocator import keep_freed_memory
from prefbench.engine.memory import is_out_of_memory
from prefbench.engine.tasks import Report, TaskStoppedError, WorkerSpentError, describe_error
from prefbench.engine.worker import append
from prefbench.errors import StorageError, first_line
from prefbench.evaluate.checked import checked_items, checked_metrics, checked_rows
from prefbench.evaluate.kept_answers import KeptAnswers, Progress
from prefbench.identity import digest
from prefbench.measure import cells_at_once, chosen_compilation, chosen_selection, step_seconds, training_job
from prefbench.orders import Order, Site
from prefbench.plan import Cell
from prefbench.record import Outcome
from prefbench.report.card import CARD, Trained, model_card
from prefbench.report.metrics import score
from prefbench.store.files import read_lines, write_json, write_lines, write_text
from prefbench.store.sealed import lines_are_whole, logger, read_or_set_aside, read_sealed, set_aside, write_sealed
from prefbench.train.checkpoint import save_policy, weights_digest
from prefbench.train.compiled import Compilation
from prefbench.train.job import TrainJob
from prefbench.train.layout import Layout
from prefbench.train.loop import DivergedError, train
from prefbench.train.meter import Clocks, peak_memory_bytes, reset_peak_memory
from prefbench.train.modes import Choice
from prefbench.train.state import Checkpoint
from prefbench.workshop import Workshop

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
    keep_freed_memory()
    torch.set_num_threads(order.threads)
    logging.disable_progress_bar()  # a bar per model file would fill the log of a run
    shop = workshop(order.site)
    shop.report = report
    with telling_warnings(report):
        return perform(order, shop, report)


def prepare(shop: Workshop, report: Report) -> None:
    """Make what all cells share, and tell what was found."""

    def say(message: str) -> None:
        report({"message": message})

    shop.prepare(say)
    shop.remark(say)


def perform(order: Order, shop: Workshop, report: Report) -> Any:
    """Do what the order asks."""
    if order.kind == "prepare":
        prepare(shop, report)
        return None
    if order.kind == "measure":
        return step_seconds(shop, order.seed, list(order.candidates))
    if order.kind == "room":
        return room(shop, order.seed, report)
    if order.kind == "calibrate":
        shop.calibration(order.harness)
        return None
    if order.kind == "data":
        shop.data(order.seed, order.condition)
        list_over_long(shop, order.seed, order.condition, report)
        return None
    if order.kind == "column":
        assert order.row is not None
        shop.column(order.row, order.seed, order.column, report)
        return None
    if order.kind in ("compilation", "selection"):
        assert order.row is not None
        row_trial(order, order.row, shop, report)
        return None
    assert order.cell is not None
    return CellRun(shop, order.cell, report, order.profile).run()


def room(shop: Workshop, seed: int, report: Report) -> int:
    """Cells that this GPU holds at once; one where even that could not be tried, because a cell that fails is a row, and not the end of the run."""
    try:
        return cells_at_once(shop, seed)
    except Exception as error:
        report({"message": f"one cell at a time: {first_line(error)}"})
        return 1


def row_trial(order: Order, row: Row, shop: Workshop, report: Report) -> None:
    """Find out how a row is best trained. A column that fails is told here, and by the cells, which meet it again and fail of it."""
    try:
        columns = shop.columns(row, order.seed, report) if order.kind == "selection" else {}
        job = row_job(shop, row, order.seed, columns, report)
        if order.kind == "selection":
            chosen_selection(shop, job, row)
        else:
            chosen_compilation(shop, job)
    except Exception as error:
        report({"message": f"{order.kind} of {row.method} with {row.scheduler} could not be tried: {first_line(error)}"})


def row_job(shop: Workshop, row: Row, seed: int, columns: Mapping[str, ColumnValues], report: Report) -> TrainJob:
    """A row's training with its columns."""
    return training_job(shop, row, seed, shop.row_data(row, seed, columns), report)


def list_over_long(shop: Workshop, seed: int, condition: str, report: Report) -> None:
    """Tell how many of a seed's pairs were too long, and write where they are from into the run folder."""
    found = {name: rows for name, rows in shop.over_long(seed, condition).items() if rows}
    if found:
        path = shop.folder.over_long_path(seed, condition)
        source = shop.source_under(condition)
        pairs = source.pairs(seed)
        write_json(path, {name: [source.origin(pairs[row]) or f"pair {row}" for row in rows] for name, rows in found.items()})
        counts = ", ".join(f"{len(rows)} {name.replace('_', ' ')}" for name, rows in found.items())
        report({"message": f"longer than {shop.track.train.max_length} tokens: {counts} of {len(pairs)} pairs, listed in {path}"})


@contextmanager
def telling_warnings(report: Report) -> Iterator[None]:
    """What prefbench warns of in a worker, such as a damaged file, is told to whoever runs it."""
    before, logger.handlers = logger.handlers, [_Teller(report)]
    try:
        yield
    finally:
        logger.handlers = before


class _Teller(Handler):
    def __init__(self, report: Report) -> None:
        super().__init__(WARNING)
        self.report = report

    def emit(self, record: LogRecord) -> None:
        with suppress(TaskStoppedError):  # a warning, which a signal may bring at any line, is no place to stop: the next report is
            self.report({"warning": record.getMessage()})


class CellRun:
    """Carries one cell through its stages; a stage whose mark has the right key, and whose files are whole, is read instead of run."""

    def __init__(self, shop: Workshop, cell: Cell, report: Report, profile: bool = False) -> None:
        self.shop, self.cell, self.report, self.profile = shop, cell, report, profile
        self.folder = shop.folder.cell(cell.id)
        self.seconds: dict[str, float] = {}
        self.how: dict[str, str] = {}

    def run(self) -> Outcome:
        """Run what is missing. Raises WorkerSpentError, with the outcome, when memory ran out: what is left of it is anyone's guess."""
        reset_peak_memory()
        try:
            return self._outcome("done", self._result())
        except DivergedError as diverged:
            error = {"type": "Diverged", "message": str(diverged), "step": diverged.step, "frames": []}
            return self._outcome("diverged", error=error)
        except StorageError:
            raise  # the run's affair: no other cell could write either
        except Exception as error:
            append(self.shop.folder.log_path(self.cell.id), traceback.format_exception(error))
            if is_out_of_memory(error):
                raise WorkerSpentError(self._outcome("oom", error=describe_error(error))) from None
            return self._outcome("failed", error=describe_error(error))

    def _outcome(self, status: str, result: dict[str, Any] | None = None, error: dict[str, Any] | None = None) -> Outcome:
        return Outcome(status, result or {}, error, self.seconds, peak_memory_bytes(), self.how)

    def _result(self) -> dict[str, Any]:
        trained = self._stage("train", self._train, self._trained_is_whole)
        # With the weights: trained again, on another device say, a policy may not be the same to the last bit.
        kept = KeptAnswers(self.folder / "answers.jsonl", digest([self.cell.keys["answer"], trained["weights_sha256"]]))
        answered = self._stage(
            "answer",
            lambda clocks: self._answer(kept, clocks),
            lambda found: self._lines_are_whole("answers", found),
        )
        kept.remove()
        judged = self._stage("judge", self._judge, lambda found: self._lines_are_whole("judged", found))
        scored = self._stage("score", lambda _: self._score(trained["training"]), self._items_are_whole)
        weights = {"weights_sha256": trained["weights_sha256"], "training": trained["training"], "answers_sha256": answered}
        if self.cell.row.is_trial:  # hundreds of policies would fill a disk
            shutil.rmtree(self._policy_folder())
        return {**scored, **weights, "judged_sha256": judged}

    # ---------------------------------------------------------------- stages

    def _stage(self, name: str, make: Callable[[Clocks], Any], is_whole: Callable[[Any], bool]) -> Any:
        """The result of a stage: from its mark when it was finished under the same key, else made now and marked."""
        path, clocks = self.folder / f"{name}.json", Clocks(profiled=self.profile)
        mark = read_or_set_aside(path, read_sealed) or {}
        if mark.get("key") != self.cell.keys[name] or not is_whole(mark["result"]):
            self.report({"stage": name})
            with clocks.time(name):
                result = make(clocks)
            mark = {"key": self.cell.keys[name], "result": result, "seconds": clocks.seconds, "how": self.how if name == "train" else {}}
            write_sealed(path, mark)
        self.how |= mark.get("how", {})  # an older mark does not say
        for clock, seconds in mark["seconds"].items():
            self.seconds[clock] = self.seconds.get(clock, 0.0) + seconds
        return mark["result"]

    def _train(self, clocks: Clocks) -> dict[str, Any]:
        if not self.cell.trained:
            return {"weights_sha256": weights_digest(self._policy_folder()), "training": {}}
        row, seed = self.cell.row, self.cell.seed
        with clocks.time("data"):
            pairs = self.shop.data(seed, row.condition).pairs
        columns = self.shop.columns(row, seed, self.report)
        # What its columns cost, whichever cell or task computed them: a method is charged with all that it needs.
        clocks.seconds["columns"] = sum(column.seconds for column in columns.values())
        job = row_job(self.shop, row, seed, columns, self.report)
        selection, compilation = chosen_selection(self.shop, job, row), chosen_compilation(self.shop, job)
        self.how = how(job.scorer.layout, selection, compilation)
        checkpoint = Checkpoint.of(self.folder / "checkpoint.safetensors", self.cell.keys["train"], job.scorer.model)
        try:
            chosen = dataclasses.replace(job, checkpoint=checkpoint, selection=selection.mode, compiled=compilation.used)
            log = train(chosen, clocks)
        except DivergedError:
            checkpoint.remove()  # it would only diverge again
            raise
        with clocks.time("io"):
            save_policy(job.scorer.model, self.shop.tokenizer, self._policy_folder())
            write_lines(self.folder / "training.jsonl.gz", (without_nan(row) for row in log.table()))
            checkpoint.remove()
        counts = {"pairs": len(pairs), **{name: len(rows) for name, rows in self.shop.over_long(seed, row.condition).items()}}
        noted = {label: dict(column.facts) for label, column in columns.items() if column.facts}
        training = {**log.summary(), **counts, **({"columns": noted} if noted else {})}
        self._write_card(training, {})
        return {"weights_sha256": weights_digest(self._policy_folder()), "training": training}

    def _write_card(self, training: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """The model card of a trained policy. No stage depends on it: who reads the folder elsewhere does."""
        if self.cell.trained:
            shop = self.shop
            trained = Trained(self.cell, shop.track, shop.site.dtype, shop.reference_weights, training, metrics)
            write_text(self._policy_folder() / CARD, model_card(trained))

    def _policy_folder(self) -> Path:
        return self.folder / "policy" if self.cell.trained else self.shop.model_folder(self.cell.row.method)

    def _answer(self, kept: KeptAnswers, clocks: Clocks) -> dict[str, str]:
        folder, harnesses = self._policy_folder(), self.shop.harnesses
        clocks.seconds["answer"] = kept.seconds()  # of runs that were killed: what an answer costs does not depend on that
        with self.shop.policy(self.shop.load_scorer(folder), folder, self.cell.seed, Progress(self.report, kept)) as policy:
            rows = {name: checked_rows(name, harness.collect(policy, self.shop.source)) for name, harness in harnesses.items()}
        with clocks.time("io"):
            return {name: write_lines(self._lines("answers", name), found) for name, found in rows.items()}

    def _judge(self, clocks: Clocks) -> dict[str, str]:
        judged = {}
        calibrations = {name: self.shop.calibration(name) for name in self.shop.harnesses}
        with self.shop.asking() as judge:
            for name, harness in self.shop.harnesses.items():
                rows = read_lines(self._lines("answers", name))
                items = harness.judge(rows, judge, self.shop.source, calibrations[name])
                judged[name] = write_lines(self._lines("judged", name), checked_items(name, items))
        return judged

    def _score(self, training: Mapping[str, Any]) -> dict[str, Any]:
        items = [item for name in self.shop.harnesses for item in read_lines(self._lines("judged", name))]
        calibrations = {name: self.shop.calibration(name) for name in self.shop.harnesses}
        scores = checked_metrics(score(self.shop.harnesses, items, calibrations))
        self._write_card(training, scores["metrics"])
        return {
            **scores,
            "items_sha256": self.shop.folder.write_items(self.cell.id, items),
            "calibration_sha256": digest({name: c.numbers for name, c in calibrations.items() if c.numbers}),
        }

    def _lines(self, kind: str, harness: str) -> Path:
        return self.folder / f"{kind}.{harness}.jsonl.gz"

    # ---------------------------------------------------------------- what a finished stage left, against its mark

    def _trained_is_whole(self, result: Mapping[str, Any]) -> bool:
        folder = self._policy_folder()
        if weights_digest(folder) == result["weights_sha256"]:
            return True
        if self.cell.trained:
            set_aside(folder, f"{folder}: damaged: the weights are not those that were trained")
        return False

    def _lines_are_whole(self, kind: str, digests: Mapping[str, str]) -> bool:
        found = [lines_are_whole(self._lines(kind, name), expected) for name, expected in digests.items()]
        return all(found) and digests.keys() == self.shop.harnesses.keys()

    def _items_are_whole(self, result: Mapping[str, Any]) -> bool:
        return self.shop.folder.items_are_whole(self.cell.id, result["items_sha256"])


def how(layout: Layout, selection: Choice, compilation: Compilation) -> dict[str, str]:
    """What was chosen for a training by looking at its model and by measuring, and why: for its record."""
    return {
        "layout": layout.name,
        "layout_reason": layout.reason,
        "selection": selection.mode,
        "selection_reason": selection.reason,
        "compiled": "yes" if compilation.used else "no",
        "compiled_reason": compilation.reason,
    }


def without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """A log row for JSON: a share that no pair of the step had is null."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
