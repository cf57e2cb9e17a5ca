"""The engines: order, results, failures that stay where they are, and workers that die."""

from __future__ import annotations

import os
import signal
import time

import pytest

from prefbench.engine.local import InProcessEngine, ProcessEngine
from prefbench.engine.tasks import Event, Task

ENTRY = "tests.engine.test_local:work"


def work(payload, report):
    """What the engines call: doubles a number, or does what a word says."""
    if payload == "raise":
        raise ValueError("no such number")
    if payload == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == "pid":
        return os.getpid()
    report({"half": payload})
    return payload * 2


def run(engine, tasks) -> list[Event]:
    events: list[Event] = []
    try:
        engine.run(tasks, events.append)
    finally:
        engine.close()
    return events


def ends(events: list[Event]) -> dict[str, Event]:
    return {event.task: event for event in events if event.kind in ("done", "failed")}


@pytest.fixture(params=["in process", "two workers"])
def engine(request):
    return InProcessEngine(ENTRY) if request.param == "in process" else ProcessEngine(ENTRY, 2)


def test_every_task_is_run_once_and_its_result_and_progress_are_heard(engine):
    events = run(engine, [Task(f"t{i}", i) for i in range(5)])
    assert {name: event.data for name, event in ends(events).items()} == {f"t{i}": 2 * i for i in range(5)}
    assert sorted(event.data["half"] for event in events if event.kind == "progress") == list(range(5))


def test_a_task_starts_after_those_that_it_needs(engine):
    events = run(engine, [Task("last", 1, ("first", "second")), Task("first", 1), Task("second", 1)])
    assert [event.task for event in events if event.kind == "started"][-1] == "last"


def test_a_failure_costs_its_task_and_those_that_need_it_and_no_other(engine):
    events = ends(run(engine, [Task("bad", "raise"), Task("child", 1, ("bad",)), Task("grandchild", 1, ("child",)), Task("good", 1)]))
    assert {name: event.kind for name, event in events.items()} == {
        "bad": "failed",
        "child": "failed",
        "grandchild": "failed",
        "good": "done",
    }
    assert events["bad"].data["message"] == "no such number"
    assert "test_local.py" in events["bad"].data["frames"][-1]
    assert events["grandchild"].data["message"] == "needs child, which failed"


def test_a_worker_that_dies_costs_one_task_and_is_replaced():
    events = ends(run(ProcessEngine(ENTRY, 1), [Task("a", 1), Task("dies", "die"), Task("b", 2)]))
    assert [events[name].kind for name in ("a", "dies", "b")] == ["done", "failed", "done"]
    assert events["dies"].data["type"] == "WorkerDied"
    assert "-9" in events["dies"].data["message"]


def test_workers_stay_warm_between_tasks_and_runs():
    engine = ProcessEngine(ENTRY, 1)
    pids: set[int] = set()
    for name in ("first", "second"):
        engine.run([Task(name, "pid")], lambda event: pids.add(event.data) if event.kind == "done" else None)
    engine.close()
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_closing_ends_the_workers():
    engine = ProcessEngine(ENTRY, 1)
    pids: list[int] = []
    engine.run([Task("pid", "pid")], lambda event: pids.append(event.data) if event.kind == "done" else None)
    engine.close()
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
