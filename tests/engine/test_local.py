"""The engines: order, results, failures that stay where they are, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefbench.engine.local import InProcessEngine, ProcessEngine
from prefbench.engine.tasks import Event, Task, Watch, WorkerSpentError

ENTRY = "tests.engine.test_local:work"


def work(payload, report):
    """What the engines call: doubles a number, or does what a word says."""
    if payload == "raise":
        raise ValueError("no such number")
    if payload == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == "hang":
        time.sleep(600)
    if payload == "spent":
        raise WorkerSpentError("the last word")
    if payload == "print":
        os.write(2, b"from a library that is no Python\n")
        print("from Python")
    if payload == "until stopped":
        while True:
            report({})
            time.sleep(0.01)
    if payload == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report({"deaf": True})
        time.sleep(600)
    if payload == "pid":
        return os.getpid()
    if payload == "gpu":
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    if isinstance(payload, Path):  # a file to leave, for another task to find: neither ends without the other
        payload.touch()
        while len(list(payload.parent.iterdir())) < 2:
            time.sleep(0.01)
    report({"half": payload})
    return payload * 2 if isinstance(payload, int) else payload


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


def test_tasks_of_two_workers_run_at_the_same_time(tmp_path):
    """So that one cell trains while another's answers are drawn and judged."""
    events = run(ProcessEngine(ENTRY, 2, Watch(silence=60.0)), [Task("left", tmp_path / "left"), Task("right", tmp_path / "right")])
    assert {event.kind for event in ends(events).values()} == {"done"}


def test_workers_are_spread_over_the_gpus(tmp_path):
    engine = ProcessEngine(ENTRY, 3, gpus=["4", "5"])
    for _ in range(3):
        engine._start()
    assert sorted(worker.gpu for worker in engine._workers) == ["4", "4", "5"]
    assert ends(run(engine, [Task("t", "gpu")]))["t"].data in ("4", "5")


def test_a_task_starts_after_those_that_it_needs(engine):
    events = run(engine, [Task("last", 1, ("first", "second")), Task("first", 1), Task("second", 1)])
    assert [event.task for event in events if event.kind == "started"][-1] == "last"


def test_a_task_that_is_behind_another_waits_for_its_end_whatever_that_is(engine):
    events = run(engine, [Task("cell", 1, behind=("trial",)), Task("trial", "raise")])
    assert {name: event.kind for name, event in ends(events).items()} == {"cell": "done", "trial": "failed"}
    assert [event.task for event in events if event.kind == "started"] == ["trial", "cell"]


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
    assert events["grandchild"].data["message"] == "needs child, which failed: no such number"


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


# ---------------------------------------------------------------- what is watched


def test_a_worker_that_says_nothing_for_too_long_is_ended_and_replaced():
    events = ends(run(ProcessEngine(ENTRY, 1, Watch(silence=1)), [Task("hangs", "hang"), Task("after", 1)]))
    assert events["hangs"].data["type"] == "Stalled"
    assert events["after"].data == 2


@pytest.mark.parametrize("make", [InProcessEngine, lambda entry: ProcessEngine(entry, 1)], ids=["in process", "worker"])
def test_a_task_that_spends_its_worker_is_done_and_the_next_gets_another(make):
    events = ends(run(make(ENTRY), [Task("first", "spent"), Task("second", 1)]))
    assert [(event.kind, event.data) for event in events.values()] == [("done", "the last word"), ("done", 2)]


class After:
    """A reason to stop that comes up once it has been asked so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> str:
        self.left -= 1
        return "" if self.left > 0 else "enough"


@pytest.mark.parametrize("make", [InProcessEngine, lambda entry, watch: ProcessEngine(entry, 1, watch)], ids=["in process", "worker"])
def test_a_stop_reaches_a_running_task_where_it_reports_and_starts_no_other(make):
    events = run(make(ENTRY, Watch(stop=After(20))), [Task("running", "until stopped"), Task("waiting", 1)])
    assert [(event.kind, event.task) for event in events] == [("started", "running"), ("stopped", "running")]


def test_a_worker_that_does_not_stop_is_ended_after_the_grace():
    heard: list[Event] = []
    engine = ProcessEngine(ENTRY, 1, Watch(stop=lambda: "enough" if any(e.kind == "progress" for e in heard) else "", grace=0.5))
    start = time.monotonic()
    engine.run([Task("deaf", "deaf")], heard.append)
    engine.close()
    assert heard[-1].kind == "stopped"
    assert time.monotonic() - start < 60


def test_output_and_tracebacks_are_in_the_tasks_log_and_an_empty_log_is_no_file(tmp_path):
    watch = Watch(log=lambda task: tmp_path / "logs" / f"{task}.log")
    run(ProcessEngine(ENTRY, 1, watch), [Task("prints", "print"), Task("raises", "raise"), Task("silent", 1)])
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["prints.log", "raises.log"]
    assert (tmp_path / "logs" / "prints.log").read_text() == "from a library that is no Python\nfrom Python\n"
    assert "ValueError: no such number" in (tmp_path / "logs" / "raises.log").read_text()


ORPHAN = """
import os, sys, time
from prefbench.engine.local import ProcessEngine
from prefbench.engine.tasks import Task

def heard(event):
    if event.kind == "progress":
        os._exit(0)

if __name__ == "__main__":
    ProcessEngine("tests.engine.test_local:tell_and_wait", 1).run([Task("t", sys.argv[1])], heard)
"""


def tell_and_wait(payload, report):
    """Writes its process id into a file, says so, and works on for ten minutes."""
    with open(payload, "w") as file:
        file.write(str(os.getpid()))
    report({"here": True})
    time.sleep(600)


def test_a_worker_does_not_outlive_its_parent(tmp_path):
    (tmp_path / "orphan.py").write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, str(tmp_path / "orphan.py"), str(tmp_path / "pid")], check=True, env=environment, timeout=60)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker was still there ten seconds after its parent")
