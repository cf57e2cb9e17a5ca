"""Where workers come from: a server that imports once for all of them, ends with its parent, and passes nothing on that is out of date."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefbench.engine.local import ProcessEngine
from prefbench.engine.server import forks
from prefbench.engine.tasks import Event, Task

ENTRY = "tests.engine.test_server:told"

only_forked = pytest.mark.skipif(not forks(), reason="workers are spawned here")


def told(payload, report):
    """What a worker knows: a variable of its environment, and whether its garbage is collected."""
    import gc

    return os.environ.get(payload), gc.isenabled()


def ask(variable: str) -> tuple[str | None, bool]:
    engine, events = ProcessEngine(ENTRY, 1), list[Event]()
    try:
        engine.run([Task("ask", variable)], events.append)
    finally:
        engine.close()
    return events[-1].data


def test_a_worker_has_the_environment_that_its_parent_has_when_it_starts_and_not_that_of_an_older_server(monkeypatch):
    monkeypatch.setenv("KEY_OF_A_JUDGE", "first")
    assert ask("KEY_OF_A_JUDGE") == ("first", True)
    monkeypatch.setenv("KEY_OF_A_JUDGE", "second")
    assert ask("KEY_OF_A_JUDGE") == ("second", True)
    monkeypatch.delenv("KEY_OF_A_JUDGE")
    assert ask("KEY_OF_A_JUDGE") == (None, True)


PARENT = """
from prefbench.engine.local import ProcessEngine
from prefbench.engine.tasks import Task

if __name__ == "__main__":
    engine = ProcessEngine("slow:work", 2)
    engine.run([Task("a", 1), Task("b", 1)], lambda event: print(event.kind, event.data) if event.kind == "done" else None)
    engine.close()
"""
SLOW = """
import os, time
time.sleep(0.5)
IMPORTED_BY = os.getpid()

def work(payload, report):
    time.sleep(0.5)
    return IMPORTED_BY
"""


@only_forked
def test_two_workers_share_one_import(tmp_path: Path):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "slow.py").write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}
    told = subprocess.run([sys.executable, "parent.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    importers = {line.split()[1] for line in told.stdout.splitlines()}
    assert len(told.stdout.splitlines()) == 2
    assert len(importers) == 1


def test_the_folder_where_a_run_is_started_lends_the_workers_no_modules(tmp_path: Path):
    modules, here = tmp_path / "modules", tmp_path / "here"
    modules.mkdir()
    here.mkdir()
    (modules / "parent.py").write_text(PARENT)
    (modules / "slow.py").write_text("def work(payload, report):\n    return 'installed'\n")
    (here / "slow.py").write_text("def work(payload, report):\n    return 'lies about'\n")
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    told = subprocess.run([sys.executable, modules / "parent.py"], cwd=here, env=environment, capture_output=True, text=True, check=True)
    assert set(told.stdout.splitlines()) == {"done installed"}


@only_forked
def test_who_waits_for_a_run_that_ends_at_once_does_not_wait_for_the_server(tmp_path: Path):
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(60)\n")
    code = "import time; from prefbench.engine.server import begin_importing; begin_importing('endless:work'); time.sleep(0.5)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert time.monotonic() - start < 20
