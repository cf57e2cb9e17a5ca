"""Runs that survive: every fault is a real one, in real processes, and what the run was to give comes out all the same."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefbench.cli.run import exit_code
from prefbench.config import Selection
from prefbench.engine.tasks import Event
from prefbench.errors import PrefbenchError
from prefbench.planned import RunOptions, plan_run
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_sealed, write_sealed
from prefbench.train.log import EVERY
from tests.bad_input.place import TRACK, good_folder
from tests.test_run import results

ROOT = Path(__file__).parents[1]
LONGER = TRACK.replace("steps = 2\n", "steps = 1500\n").replace('schedulers = ["uniform"]', 'schedulers = ["uniform", "half"]')
CELLS = ["dpo.half.s0", "dpo.uniform.s0", "sft.-.s0"]

FAULTY = """
import os, resource, signal, time
from dataclasses import dataclass
import torch
from prefbench.api import Objective

@dataclass
class Faulty(Objective):
    fault: str = ""
    def per_pair(self, batch):
        if batch.progress > 0.3:
            getattr(self, self.fault)()
        return -batch.margin
    def hangs(self):
        time.sleep(600)
    def dies(self):
        os.kill(os.getpid(), signal.SIGKILL)
    def raises(self):
        raise ZeroDivisionError("halfway through")
    def allocates(self):
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + 2**28
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        torch.ones(2**30)
"""
FAULTS = ("hangs", "dies", "raises", "allocates")


def faulty_plugin(folder: Path, *faults: str) -> Path:
    """A plugin file with an objective for each fault, called like it."""
    path = folder / "faulty.py"
    classes = [f"@dataclass\nclass {fault.title()}(Faulty):\n    name = '{fault}'\n    fault: str = '{fault}'\n" for fault in faults]
    path.write_text("\n".join([FAULTY.replace("class Faulty(Objective):", "class Faulty(Objective):\n    name = 'faulty'"), *classes]))
    return path


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "PREFBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from prefbench.cli.main import main; main()", *arguments]


def on_one_core() -> None:
    """One worker with one thread, as the undisturbed run has it: another number of threads may sum in another order."""
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One cache for the module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A tiny model, its pairs, and a track that trains it for seconds."""
    folder = good_folder(tmp_path_factory.mktemp("good"))
    (folder / "track.toml").write_text(LONGER)
    return folder


@pytest.fixture(scope="module")
def finished(good, cache) -> Path:
    """The same after an undisturbed run, not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(cache))
        run(in_this_process(good), lambda _: None)
    return good


@pytest.fixture
def place(good, tmp_path) -> Path:
    """A folder with the model, the pairs and the track, and no run."""
    shutil.copytree(good, tmp_path / "place", ignore=shutil.ignore_patterns("run"))
    return tmp_path / "place"


def in_this_process(folder: Path, **changes: Any) -> RunOptions:
    return RunOptions(track=str(folder / "track.toml"), out=folder / "run", in_process=True, **changes)


def start(place: Path, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    told: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "preexec_fn": on_one_core}
    return subprocess.Popen(command(*arguments), cwd=place, env=environment(cache), **told)


def prefbench(
    place: Path, cache: Path, *arguments: str, preexec_fn: Callable[[], object] = on_one_core
) -> subprocess.CompletedProcess[str]:
    told: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "preexec_fn": preexec_fn}
    return subprocess.run(command(*arguments), check=False, cwd=place, env=environment(cache), **told)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "what the test waits for did not come"
        time.sleep(0.02)


RUN = ("run", "track.toml", "--out", "run")
CHECKPOINT = Path("run", "cells", "dpo.uniform.s0", "checkpoint.safetensors")

# ---------------------------------------------------------------- kill, interrupt, limits


def test_a_run_that_was_killed_in_the_middle_of_training_goes_on_from_its_checkpoint(place, cache, finished):
    running = start(place, cache, *RUN)
    wait_for((place / CHECKPOINT).exists)
    running.kill()
    running.communicate()
    assert not (place / "run" / "records" / "dpo.uniform.s0.json").exists()
    events: list[Event] = []
    run(in_this_process(place), events.append)
    steps = [event.data["step"] for event in events if event.task == "dpo.uniform.s0" and event.kind == "progress" and "step" in event.data]
    assert steps[0] > EVERY  # gone on with, not started over
    assert not (place / CHECKPOINT).exists()
    assert results(place) == results(finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_run_in_good_order_and_says_how_to_go_on(place, cache, finished, number, code):
    running = start(place, cache, *RUN)
    wait_for((place / CHECKPOINT).exists)
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    assert running.returncode == code
    assert "stopped: interrupted; go on with:\n  prefbench run track.toml --out run" in said
    assert "Traceback" not in said
    record = Folder(place / "run").read_record("dpo.uniform.s0")
    assert (record["status"], record["result"]) == ("interrupted", {})
    assert prefbench(place, cache, *RUN, "--in-process").returncode == 0
    assert results(place) == results(finished)


def test_a_time_limit_ends_the_run_with_a_code_of_its_own_and_the_same_command_goes_on(place, finished):
    limited = run(in_this_process(place, max_minutes=1e-3), lambda _: None)
    assert limited.stopped == "the time that --max-minutes gives is up"
    assert exit_code(limited) == 4
    assert results(place) != results(finished)
    assert exit_code(run(in_this_process(place), lambda _: None)) == 0
    assert results(place) == results(finished)


def test_two_runs_in_one_folder_are_one_too_many(place, cache):
    running = start(place, cache, *RUN)
    try:
        wait_for((place / "run" / "track.toml").exists)
        with pytest.raises(PrefbenchError, match="another `prefbench run` is at work in") as refused:
            run(in_this_process(place), lambda _: None)
    finally:
        running.kill()
        running.communicate()
    assert "--out" in refused.value.hint


# ---------------------------------------------------------------- workers that fail alone


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, cache) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run in which every fault happens once, in a worker that the next cell would get too."""
    folder = good_folder(tmp_path_factory.mktemp("faulty"))
    methods = ", ".join(f'"{fault}"' for fault in FAULTS)
    (folder / "track.toml").write_text(TRACK.replace('methods = ["dpo"]', f'methods = [{methods}, "dpo"]'))
    faulty_plugin(folder, *FAULTS)
    return folder, prefbench(folder, cache, *RUN, "--plugin", "faulty.py", "--stall-minutes", "0.05")


@pytest.mark.parametrize(
    ("fault", "status", "type_", "message"),
    [
        ("hangs", "timeout", "Stalled", "said nothing for 3 seconds"),
        ("dies", "failed", "WorkerDied", "exit code -9"),
        ("raises", "failed", "ZeroDivisionError", "halfway through"),
        ("allocates", "oom", "RuntimeError", "can't allocate memory"),
    ],
)
def test_a_fault_costs_its_cell_alone(faulty, fault, status, type_, message):
    folder, said = faulty
    record = Folder(folder / "run").read_record(f"{fault}.uniform.s0")
    assert (record["status"], record["error"]["type"]) == (status, type_)
    assert message in record["error"]["message"]
    assert f"failed: {fault}.uniform.s0: {type_}" in said.stderr
    assert Folder(folder / "run").read_record("dpo.uniform.s0")["status"] == "done"
    assert said.returncode == 1
    assert "Traceback" not in said.stderr


def test_an_error_names_its_last_frames_and_its_log(faulty):
    folder, _ = faulty
    error = Folder(folder / "run").read_record("raises.uniform.s0")["error"]
    assert error["frames"][-1].startswith("faulty.py:")
    assert "ZeroDivisionError: halfway through" in (folder / "run" / error["log"]).read_text()


def test_what_failed_is_left_alone_until_it_is_asked_for(faulty):
    folder, _ = faulty
    given = in_this_process(folder, plugin_files=(folder / "faulty.py",), selection=Selection(only=("raises",)))
    left = plan_run(given)
    assert left.pending == []
    assert left.failed == {"raises.uniform.s0": "ZeroDivisionError: halfway through"}
    assert exit_code(run(given, lambda _: None)) == 1
    again = dataclasses.replace(given, retry_failed=True)
    assert [cell.id for cell in plan_run(again).pending] == ["raises.uniform.s0"]
    (folder / "faulty.py").write_text((folder / "faulty.py").read_text().replace("raise ZeroDivisionError", "return str"))
    assert plan_run(given).states["raises.uniform.s0"].status == "stale"  # a mended plugin need not be asked for


def test_fail_fast_stops_at_the_first_failure(place):
    (place / "track.toml").write_text(LONGER.replace('methods = ["dpo"]', 'methods = ["raises", "dpo"]'))
    ended = run(in_this_process(place, plugin_files=(faulty_plugin(place, "raises"),), fail_fast=True), lambda _: None)
    assert list(ended.failed) == ["raises.uniform.s0"]
    assert "--fail-fast" in ended.stopped
    assert not Folder(place / "run").record_path("dpo.uniform.s0").exists()


def test_when_shared_work_fails_every_cell_that_needs_it_has_a_record_with_the_cause(place):
    (place / "track.toml").write_text(LONGER.replace("max_length = 40", "max_length = 2"))
    ended = run(in_this_process(place), lambda _: None)
    record = Folder(place / "run").read_record("dpo.uniform.s0")
    assert record["error"]["type"] == "NeedsFailed"
    assert "longer than 2 tokens" in record["error"]["message"]
    assert Folder(place / "run").read_record("sft.-.s0")["status"] == "done"
    assert set(ended.failed) == {"dpo.uniform.s0", "dpo.half.s0"}


def test_a_cell_that_got_nowhere_does_not_cost_the_result_that_was_there(place):
    (place / "track.toml").write_text(TRACK)
    run(in_this_process(place), lambda _: None)
    before = results(place)
    (place / "track.toml").write_text(TRACK.replace("max_length = 40", "max_length = 2"))
    assert set(run(in_this_process(place), lambda _: None).failed) == {"dpo.uniform.s0"}
    assert results(place) == before
    (place / "track.toml").write_text(TRACK.replace("steps = 2", "steps = 3"))
    run(in_this_process(place, max_minutes=0.0), lambda _: None)
    assert results(place) == before


def test_stored_choices_are_reused_and_damaged_ones_made_again(place, cache, monkeypatch, caplog):
    (place / "track.toml").write_text(TRACK)
    given = dataclasses.replace(in_this_process(place), in_process=False, jobs=1)
    run(given, lambda _: None)
    choices, record = place / "run" / "choices.json", Folder(place / "run").record_path("dpo.uniform.s0")
    write_sealed(choices, {**read_sealed(choices), "threads": 1, "seconds_by_threads": {"1": 12345.0}})
    record.unlink()
    run(given, lambda _: None)
    assert read_sealed(choices)["seconds_by_threads"] == {"1": 12345.0}
    choices.write_text(choices.read_text().replace("12345.0", "1.0"))
    record.unlink()
    run(given, lambda _: None)
    assert (place / "run" / "choices.json.damaged").exists()
    assert "12345.0" not in choices.read_text()


# ---------------------------------------------------------------- no room, no right

FULL_DISK = """
set -e
mount -t tmpfs -o size=300k tmpfs {folder}
set +e
{command} 2> {folder}.said
echo $? > {folder}.code
mount -o remount,size=100m {folder}
{command} 2> {folder}.again || cat {folder}.again
cp -r {folder} {folder}.kept
"""
READ_ONLY = """
set -e
mount -t tmpfs tmpfs {folder}
cp -r {finished}/run {folder}/run
rm {folder}/run/records/dpo.uniform.s0.json
mount -o remount,ro {folder}
set +e
{command} 2> {folder}.said
echo $? > {folder}.code
cp -r {folder} {folder}.kept
"""


def in_namespace(script: str) -> None:
    """Run a shell script where it may mount file systems that nobody else sees; skips where the system does not allow that."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode
    ):
        pytest.skip("this system lets nobody mount a file system of his own")
    subprocess.run(["unshare", "-rm", "sh", "-c", script], check=True, timeout=300)


def shell_command(place: Path, cache: Path, out: Path) -> str:
    variables = {name: value for name, value in environment(cache).items() if name.startswith(("PREFBENCH", "OMP", "PYTHONPATH"))}
    words = " ".join(f"{name}='{value}'" for name, value in variables.items())
    return f"{words} {sys.executable} -c 'from prefbench.cli.main import main; main()' run {place / 'track.toml'} --out {out} --in-process"


def test_a_full_disk_ends_the_run_with_a_clear_error_and_the_same_command_goes_on_when_there_is_room(place, cache, finished):
    small = place / "small"
    small.mkdir()
    in_namespace(FULL_DISK.format(folder=small, command=shell_command(place, cache, small / "run")))
    said = (place / "small.said").read_text()
    assert "cannot be written: No space left on device" in said
    assert "hint: free some space and run the same command again" in said
    assert "Traceback" not in said
    assert (place / "small.code").read_text().strip() == "1"
    found = Folder(place / "small.kept" / "run")
    assert {cell: record["result"] for cell, record in found.records().items()} == results(finished)


def test_a_folder_that_cannot_be_written_is_said_so_and_left_as_it_is(place, cache, finished):
    frozen = place / "frozen"
    frozen.mkdir()
    in_namespace(READ_ONLY.format(folder=frozen, finished=finished, command=shell_command(place, cache, frozen / "run")))
    said = (place / "frozen.said").read_text()
    assert "frozen/run' is not writable" in said
    assert "Traceback" not in said
    assert (place / "frozen.code").read_text().strip() == "2"
    assert sorted(Folder(place / "frozen.kept" / "run").records()) == [cell for cell in CELLS if cell != "dpo.uniform.s0"]


def test_a_used_up_quota_in_a_worker_stops_the_run_and_leaves_what_is_finished(place, cache, finished):
    """Files may have 20 kB: a checkpoint is larger, a record is not."""

    def limit() -> None:
        on_one_core()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    said = prefbench(place, cache, *RUN, preexec_fn=limit)
    assert said.returncode == 1
    assert "cannot be written: File too large" in said.stderr
    assert "hint: free some space" in said.stderr
    assert "Traceback" not in said.stderr
    assert set(results(place)) <= {"sft.-.s0"}
    assert prefbench(place, cache, *RUN).returncode == 0
    assert results(place) == results(finished)
