"""What is chosen by measuring, and kept: compiled layers, selections, and how many cells share a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from prefbench import measure, run
from prefbench.config import Row
from prefbench.engine.tasks import UNWATCHED, Event, OnEvent, Task
from prefbench.measure import cells_at_once, cells_that_fit, chosen_compilation, chosen_selection
from prefbench.orders import Site
from prefbench.run import RunOptions, choose, plan_run
from prefbench.train.job import KEPT, TWO_PASS
from prefbench.train.modes import Choice
from prefbench.workshop import Workshop
from tests.test_run import options

GIB = 2**30
RANKED = Row("dpo", "loss-ranked")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the module: the miniature world is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))


def workshop(folder: Path, cache: Path) -> Workshop:
    planned = plan_run(options(folder))
    run.keep_track(planned)  # which makes the folder a run's
    return Workshop(Site(planned.track, (), folder / "run", cache, planned.planner.dtype))


def select(shop: Workshop) -> Choice:
    return chosen_selection(shop, RANKED, 0, lambda _: None)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement of a selection, which finds kept graphs twice as fast."""
    calls: list[str] = []

    def choice(job: Any) -> Choice:
        calls.append(job.scheduler.name)
        return Choice(KEPT, "measured", {KEPT: 0.5, TWO_PASS: 1.0})

    monkeypatch.setattr(measure, "choose_selection", choice)
    return calls


def test_a_selection_is_measured_once_per_machine_and_a_run_folder_keeps_it(tmp_path, cache, measured, monkeypatch):
    monkeypatch.setattr(measure, "_key", lambda shop, row, job: "this machine")
    for folder in ("one", "other"):
        assert select(workshop(tmp_path / folder, cache)).mode == KEPT
    assert measured == ["loss-ranked"]
    monkeypatch.setattr(measure, "_key", lambda shop, row, job: "another machine")
    assert select(workshop(tmp_path / "one", cache)).mode == KEPT
    assert measured == ["loss-ranked"]


def test_another_model_objective_or_number_of_threads_is_another_measurement(tmp_path, cache, measured):
    shop = workshop(tmp_path, cache)
    job = measure.training_job(shop, RANKED, 0, shop.data(0).pairs, lambda _: None)
    keys = {measure._key(shop, RANKED, job), measure._key(shop, Row("dpo", "uniform"), job)}
    keys.add(measure._key(shop, RANKED, dataclasses.replace(job, rules=dataclasses.replace(job.rules, pool=3))))
    shop.__dict__["reference_weights"] = "others"
    assert len(keys | {measure._key(shop, RANKED, job)}) == 4


def test_a_short_training_is_not_compiled_and_that_is_kept(tmp_path, cache):
    shop = workshop(tmp_path, cache)
    choice = chosen_compilation(shop, Row("dpo", "uniform"), 0, lambda _: None)
    assert not choice.used
    assert shop.folder.compilation.exists()
    assert chosen_compilation(shop, Row("dpo", "uniform"), 0, lambda _: None) == choice


# ---------------------------------------------------------------- cells that share a GPU


@pytest.mark.parametrize(("cell", "cells"), [(5 * GIB, 3), (16 * GIB, 2), (30 * GIB, 1), (200 * GIB, 1)])
def test_cells_share_less_than_half_of_the_memory(cell, cells):
    assert cells_that_fit(80 * GIB, cell) == cells


def test_a_cells_memory_is_found_by_a_training_step(tmp_path, cache):
    assert 1 <= cells_at_once(workshop(tmp_path, cache), 0) <= measure.MOST


class Answers:
    """An engine whose workers answer every order alike."""

    watch = UNWATCHED

    def __init__(self, answer: int) -> None:
        self.answer, self.asked = answer, list[str]()

    def run(self, tasks: list[Task], on_event: OnEvent) -> None:
        for task in tasks:
            self.asked.append(task.payload.kind)
            on_event(Event("done", task.id, self.answer))

    def close(self) -> None:
        """Nothing is kept."""


def chosen(given: RunOptions, engine: Answers) -> tuple[int, int]:
    planned = plan_run(given)
    run.keep_track(planned)  # which makes the folder a run's
    return choose(planned, Site(planned.track, (), given.out, given.out, "float32"), given, engine, lambda _: None)


def test_a_gpu_gets_as_many_workers_as_it_holds_cells_found_out_once(tmp_path, monkeypatch):
    given = dataclasses.replace(options(tmp_path), in_process=False)
    monkeypatch.setattr(run, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(run, "usable_cores", lambda: 16)
    engine = Answers(2)
    assert chosen(given, engine) == (2, 8)
    assert chosen(given, engine) == (2, 8)
    assert engine.asked == ["room"]
    assert chosen(dataclasses.replace(given, jobs=1), engine) == (1, 16)
    assert chosen(dataclasses.replace(given, in_process=True), engine) == (1, 16)
