"""What is chosen by measuring, and kept: compiled layers, selections, and how many cells share a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from prefbench import crew, measure, run
from prefbench.config import LoraRules, ModelRules, Row
from prefbench.crew import choose
from prefbench.engine.tasks import UNWATCHED, Event, OnEvent, Task
from prefbench.measure import cells_at_once, cells_that_fit, chosen_compilation, chosen_selection, training_job
from prefbench.orders import Site
from prefbench.planned import RunOptions, plan_run
from prefbench.train.device import Share
from prefbench.train.job import KEPT, TWO_PASS, TrainJob
from prefbench.train.layout import AS_ROWS
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


def job_of(shop: Workshop, row: Row) -> TrainJob:
    return training_job(shop, row, 0, shop.data(0).pairs, lambda _: None)


def select(shop: Workshop) -> Choice:
    return chosen_selection(shop, job_of(shop, RANKED), RANKED)


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
    monkeypatch.setattr(measure, "_key", lambda *_: "this machine")
    for folder in ("one", "other"):
        assert select(workshop(tmp_path / folder, cache)).mode == KEPT
    assert measured == ["loss-ranked"]
    monkeypatch.setattr(measure, "_key", lambda *_: "another machine")
    assert select(workshop(tmp_path / "one", cache)).mode == KEPT
    assert measured == ["loss-ranked"]


@pytest.mark.parametrize(("kills_after", "reason"), [(4, "the trial of kept graphs did not end"), (3, "measured")])
def test_a_trial_that_ran_out_of_memory_is_not_made_again_and_one_that_was_cut_short_is(tmp_path, cache, monkeypatch, kills_after, reason):
    """The system ends the process that takes too much; but a run that somebody killed ends as if it had not been."""
    monkeypatch.setattr(measure, "_key", lambda *_: f"a machine after {kills_after}")
    monkeypatch.setattr(measure, "kills_for_memory", lambda: 3)

    def killed(job: TrainJob) -> Choice:
        raise SystemExit(137)

    monkeypatch.setattr(measure, "choose_selection", killed)
    with pytest.raises(SystemExit):
        select(workshop(tmp_path, cache))
    monkeypatch.setattr(measure, "choose_selection", lambda job: Choice(KEPT, "measured"))
    monkeypatch.setattr(measure, "kills_for_memory", lambda: kills_after)
    assert select(workshop(tmp_path, cache)).reason == reason


def test_a_trial_that_does_not_end_is_made_twice_and_no_more(tmp_path, cache, monkeypatch):
    """A compiler that ends its process would do so in every cell."""
    monkeypatch.setattr(measure, "_key", lambda *_: "a machine that dies")
    tried: list[str] = []

    def dies(job: TrainJob) -> Choice:
        tried.append(job.scheduler.name)
        raise SystemExit(139)

    monkeypatch.setattr(measure, "choose_selection", dies)
    for _ in range(2):
        with pytest.raises(SystemExit):
            select(workshop(tmp_path, cache))
    assert select(workshop(tmp_path, cache)).reason == "the trial of kept graphs did not end"
    assert len(tried) == 2


@pytest.mark.parametrize("failure", [ValueError("no such kernel"), None], ids=["raises", "no memory"])
def test_what_may_be_otherwise_another_time_is_kept_by_its_run_folder_alone(tmp_path, cache, monkeypatch, failure):
    monkeypatch.setattr(measure, "_key", lambda *_: f"a machine with {failure}")

    def fails(job: TrainJob) -> Choice:
        if failure:
            raise failure
        return Choice(TWO_PASS, "no room", lasting=False)

    monkeypatch.setattr(measure, "choose_selection", fails)
    found = select(workshop(tmp_path / "one", cache))
    assert (found.mode, found.reason) == (TWO_PASS, "its trial failed: no such kernel" if failure else "no room")
    monkeypatch.setattr(measure, "choose_selection", lambda job: Choice(KEPT, "measured"))
    assert select(workshop(tmp_path / "one", cache)).mode == TWO_PASS
    assert select(workshop(tmp_path / "other", cache)).mode == KEPT


def test_whatever_the_seconds_and_the_memory_of_a_step_depend_on_is_another_measurement(tmp_path, cache):
    shop = workshop(tmp_path, cache)
    job = job_of(shop, RANKED)
    track, adapters = shop.track, LoraRules(rank=2)
    keys = [measure._key(shop, job), measure._key(shop, job, RANKED), measure._key(shop, job, Row("dpo", "uniform"))]
    keys.append(measure._key(shop, dataclasses.replace(job, rules=dataclasses.replace(job.rules, pool=3))))
    keys.append(measure._key(shop, dataclasses.replace(job, scorer=dataclasses.replace(job.scorer, layout=AS_ROWS))))
    shop.track = dataclasses.replace(track, lora=adapters)
    keys.append(measure._key(shop, job))
    shop.track = dataclasses.replace(track, model=ModelRules(attention="eager"))
    keys.append(measure._key(shop, job))
    shop.track = track
    shop.__dict__["reference_weights"] = "others"
    keys.append(measure._key(shop, job))
    assert len(set(keys)) == len(keys)


def test_a_row_that_scores_nothing_is_not_measured(tmp_path, cache, measured):
    shop = workshop(tmp_path, cache)
    row = Row("dpo", "uniform")
    assert chosen_selection(shop, job_of(shop, row), row).reason == "the scheduler scores nothing"
    assert not measured


def test_a_short_training_is_not_compiled_and_that_is_kept(tmp_path, cache):
    shop = workshop(tmp_path, cache)
    choice = chosen_compilation(shop, job_of(shop, Row("dpo", "uniform")))
    assert not choice.used
    assert shop.folder.compilation.exists()
    assert chosen_compilation(shop, job_of(shop, Row("dpo", "uniform"))) == choice


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


def chosen(given: RunOptions, engine: Answers) -> Share:
    planned = plan_run(given)
    run.keep_track(planned)  # which makes the folder a run's
    return choose(planned, Site(planned.track, (), given.out, given.out, "float32"), given, engine, lambda _: None)


def test_a_gpu_gets_as_many_workers_as_it_holds_cells_found_out_once(tmp_path, monkeypatch):
    given = dataclasses.replace(options(tmp_path), in_process=False)
    monkeypatch.setattr(crew, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(crew, "device_name", lambda: "a GPU")
    monkeypatch.setattr(crew, "usable_cores", lambda: 16)
    monkeypatch.setattr(crew, "gpus", lambda: ["0"])
    engine = Answers(2)
    assert chosen(given, engine) == Share(2, 8, 8)
    assert chosen(given, engine) == Share(2, 8, 8)
    assert engine.asked == ["room"]
    monkeypatch.setattr(crew, "device_name", lambda: "a smaller GPU")
    assert chosen(given, Answers(1)) == Share(1, 16, 16)
    assert chosen(dataclasses.replace(given, jobs=1), engine) == Share(1, 16, 16)
    assert chosen(dataclasses.replace(given, in_process=True), engine) == Share(1, 16, 16)


def test_every_gpu_gets_its_workers(tmp_path, monkeypatch):
    given = dataclasses.replace(options(tmp_path), in_process=False)
    monkeypatch.setattr(crew, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(crew, "device_name", lambda: "a GPU")
    monkeypatch.setattr(crew, "usable_cores", lambda: 16)
    monkeypatch.setattr(crew, "gpus", lambda: ["0", "1"])
    assert chosen(given, Answers(1)) == Share(2, 8, 8)
