"""Runs that survive: every fault is a real one, in real processes, and what the run was to give comes out all the same."""

from __future__ import annotations

import json
import os
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

from prefbench.report.check import check
from prefbench.run import plan_run, run
from prefbench.store.folder import Folder
from prefbench.train.device import usable_cores
from tests.test_run import TRACK, options, results

ROOT = Path(__file__).parents[1]
LONGER = TRACK.replace("steps = 4\npool", "steps = 400\npool").replace("seeds = [0, 1]", "seeds = [0]")
JOBS = str(usable_cores())
"""One thread each, as in this process: another number of threads may sum in another order."""
CELLS = ["base.-.s0", "dpo.loss-ranked.s0", "dpo.uniform.s0", "sft.-.s0"]

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


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One cache for the module: the miniature world is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache) -> Path:
    """A finished run of the longer miniature track, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(cache))
        run(options(folder, LONGER), lambda _: None)
    return folder


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with the longer track."""
    (tmp_path / "mini.toml").write_text(LONGER)
    return tmp_path


def prefbench(place: Path, cache: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    told = {"cwd": place, "env": environment(cache), "capture_output": True, "text": True, "timeout": 300, **more}
    return subprocess.run(command(*arguments), check=False, **told)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "what the test waits for did not come"
        time.sleep(0.02)


# ---------------------------------------------------------------- kill, interrupt, limits


def test_a_run_that_was_killed_in_the_middle_of_training_goes_on_from_its_checkpoint(place, cache, finished):
    running = subprocess.Popen(command("run", "mini.toml", "--out", "run", "--jobs", JOBS), cwd=place, env=environment(cache), stderr=-3)
    checkpoint = place / "run" / "cells" / "dpo.uniform.s0" / "checkpoint.safetensors"
    wait_for(checkpoint.exists)
    running.kill()
    running.wait()
    assert not (place / "run" / "records" / "dpo.uniform.s0.json").exists()
    again = prefbench(place, cache, "run", "mini.toml", "--out", "run", "--jobs", JOBS)
    assert again.returncode == 0, again.stderr
    assert not checkpoint.exists()
    assert results(place) == results(finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_run_in_good_order_and_says_how_to_go_on(place, cache, finished, number, code):
    arguments = ["run", "mini.toml", "--out", "run", "--jobs", JOBS]
    running = subprocess.Popen(command(*arguments), cwd=place, env=environment(cache), stderr=subprocess.PIPE, text=True)
    wait_for((place / "run" / "cells" / "dpo.uniform.s0" / "checkpoint.safetensors").exists)
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    assert running.returncode == code
    assert "stopped: interrupted" in said
    assert f"prefbench run mini.toml --out run --jobs {JOBS}" in said
    assert "Traceback" not in said
    record = Folder(place / "run").read_record("dpo.uniform.s0")
    assert (record["status"], record["result"]) == ("interrupted", {})
    assert prefbench(place, cache, *arguments).returncode == 0
    assert results(place) == results(finished)


def test_a_time_limit_ends_the_run_with_a_code_of_its_own_and_the_same_command_goes_on(place, cache, finished):
    limited = prefbench(place, cache, "run", "mini.toml", "--out", "run", "--in-process", "--max-minutes", "0.0001")
    assert limited.returncode == 4
    assert "stopped: the time that --max-minutes gives is up" in limited.stderr
    assert prefbench(place, cache, "run", "mini.toml", "--out", "run", "--in-process").returncode == 0
    assert results(place) == results(finished)


def test_two_runs_in_one_folder_are_one_too_many(place, cache):
    running = subprocess.Popen(command("run", "mini.toml", "--out", "run"), cwd=place, env=environment(cache), stderr=-3, stdout=-3)
    try:
        wait_for((place / "run" / "track.toml").exists)
        second = prefbench(place, cache, "run", "mini.toml", "--out", "run")
    finally:
        running.kill()
        running.wait()
    assert second.returncode == 2
    assert "error: another `prefbench run` is at work in run" in second.stderr
    assert "--out" in second.stderr


# ---------------------------------------------------------------- workers that fail alone


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, cache) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run in which every fault happens once, in a worker that the next cell would get too."""
    folder = tmp_path_factory.mktemp("faulty")
    methods = ", ".join(f'"{fault}"' for fault in FAULTS)
    text = TRACK.replace('methods = ["dpo"]', f'methods = [{methods}, "dpo"]').replace(', "loss-ranked"', "").replace("[0, 1]", "[0]")
    (folder / "mini.toml").write_text(text)
    plugin = faulty_plugin(folder, *FAULTS)
    arguments = ["run", "mini.toml", "--out", "run", "--plugin", str(plugin), "--jobs", "1", "--stall-minutes", "0.1"]
    return folder, prefbench(folder, cache, *arguments)


@pytest.mark.parametrize(
    ("fault", "status", "type_", "message"),
    [
        ("hangs", "timeout", "Stalled", "said nothing for 6 seconds"),
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


def test_what_failed_is_left_alone_until_it_is_asked_for(faulty, cache):
    folder, _ = faulty
    plugin = folder / "faulty.py"
    arguments = ["run", "mini.toml", "--out", "run", "--plugin", str(plugin), "--jobs", "1", "--only", "raises"]
    left = prefbench(folder, cache, *arguments)
    assert left.returncode == 1
    assert "0 of 3 cells to run" in left.stderr
    assert "failed: raises.uniform.s0: ZeroDivisionError: halfway through" in left.stderr
    assert "1 of 3 cells to run" in prefbench(folder, cache, *arguments, "--retry-failed").stderr


def test_fail_fast_stops_at_the_first_failure(tmp_path, cache):
    text = LONGER.replace('methods = ["dpo"]', 'methods = ["raises", "dpo"]')
    given = options(tmp_path, text, plugin_files=(faulty_plugin(tmp_path, "raises"),), fail_fast=True)
    ended = run(given, lambda _: None)
    assert list(ended.failed) == ["raises.uniform.s0"]
    assert "--fail-fast" in ended.stopped
    assert not Folder(given.out).record_path("dpo.uniform.s0").exists()


def test_when_shared_work_fails_every_cell_that_needs_it_has_a_record_with_the_cause(tmp_path):
    given = options(tmp_path, LONGER.replace("max_length = 80", "max_length = 5"))
    ended = run(given, lambda _: None)
    record = Folder(given.out).read_record("dpo.uniform.s0")
    assert record["error"]["type"] == "NeedsFailed"
    assert "longer than 5 tokens" in record["error"]["message"]
    assert Folder(given.out).read_record("sft.-.s0")["status"] == "done"
    assert set(ended.failed) == {"dpo.uniform.s0", "dpo.loss-ranked.s0"}


# ---------------------------------------------------------------- damage


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def copied(finished: Path, cache: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run, and the cache that it was made with, to be damaged."""
    shutil.copytree(finished, to / "copy")
    shutil.copytree(cache, to / "cache")
    monkeypatch.setenv("PREFBENCH_CACHE", str(to / "cache"))
    return to / "copy"


def rerun(folder: Path) -> None:
    given = options(folder, LONGER)
    ended = run(given, lambda _: None)
    assert ended.failed == {}
    assert check(given.out, plan_run(given).planner.harnesses()) == []


@pytest.mark.parametrize(
    "file",
    [
        "records/dpo.uniform.s0.json",
        "items/dpo.uniform.s0.jsonl.gz",
        "artefacts/alpaca_eval.json.gz",
    ],
)
def test_a_damaged_result_is_set_aside_and_made_again(finished, cache, tmp_path, monkeypatch, file):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    flip(folder / "run" / file)
    rerun(folder)
    assert results(folder) == results(finished)
    assert (folder / "run" / f"{file}.damaged").exists()
    assert (folder / "run" / file).read_bytes() == (finished / "run" / file).read_bytes() or file.startswith("records/")


STAGE_FILES = [
    "train.json",
    "policy/model.safetensors",
    "answer.json",
    "answers.mt_bench.jsonl.gz",
    "judge.json",
    "judged.alpaca_eval.jsonl.gz",
    "score.json",
]


@pytest.mark.parametrize("file", STAGE_FILES)
@pytest.mark.parametrize("change", [flip, lambda path: path.unlink()], ids=["damaged", "deleted"])
def test_a_stage_whose_files_are_damaged_or_gone_is_made_again(finished, cache, tmp_path, monkeypatch, file, change):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    change(folder / "run" / "cells" / "dpo.uniform.s0" / file)
    Folder(folder / "run").record_path("dpo.uniform.s0").unlink()
    rerun(folder)
    assert results(folder) == results(finished)


@pytest.mark.parametrize(
    "pattern", ["columns/reference/*.safetensors", "calibration/*.json.gz", "prefworld/*/pairs/*.gz", "prefworld/*/sft/*.safetensors"]
)
def test_a_damaged_cache_is_set_aside_and_made_again(finished, cache, tmp_path, monkeypatch, pattern):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    files = list((tmp_path / "cache").glob(pattern))
    assert files
    for file in files:
        flip(file)
    shutil.rmtree(folder / "run")
    rerun(folder)
    assert results(folder) == results(finished)
    assert list((tmp_path / "cache").rglob("*.damaged"))


def test_stored_choices_are_reused_and_damaged_ones_made_again(place, cache):
    arguments = ["run", "mini.toml", "--out", "run", "--only", "dpo", "--scheduler", "uniform"]
    assert prefbench(place, cache, *arguments).returncode == 0
    choices = place / "run" / "choices.json"
    chosen = choices.read_bytes()
    flip(choices)
    record = Folder(place / "run").record_path("dpo.uniform.s0")
    record.unlink()
    again = prefbench(place, cache, *arguments)
    assert "choices.json.damaged" in again.stderr
    assert json.loads(choices.read_text()).keys() == json.loads(chosen).keys()
    assert record.exists()


# ---------------------------------------------------------------- no room, no right

FULL_DISK = """
set -e
mount -t tmpfs -o size=700k tmpfs {folder}
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
    return f"{words} {sys.executable} -c 'from prefbench.cli.main import main; main()' run {place / 'mini.toml'} --out {out} --in-process"


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
    """Files may have 200 kB: a checkpoint is larger, a record is not."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731
    said = prefbench(place, cache, "run", "mini.toml", "--out", "run", "--jobs", JOBS, preexec_fn=limit)
    assert said.returncode == 1
    assert "cannot be written: File too large" in said.stderr
    assert "hint: free some space" in said.stderr
    assert "Traceback" not in said.stderr
    assert set(results(place)) <= {"base.-.s0", "sft.-.s0"}
    assert prefbench(place, cache, "run", "mini.toml", "--out", "run", "--jobs", JOBS).returncode == 0
    assert results(place) == results(finished)
