"""The commands as a user types them, on a track that needs no time: what is printed, where, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_run import TRACK

SMALL = TRACK.replace("seeds = [0, 1]", "seeds = [0]").replace('schedulers = ["uniform", "loss-ranked"]', 'schedulers = ["uniform"]')


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a track and, after the first command, its run."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "small.toml").write_text(SMALL)
    return folder


def prefbench(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREFBENCH_CACHE": str(place / "cache"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from prefbench.cli.main import main; main()", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def done(place) -> subprocess.CompletedProcess[str]:
    return prefbench(place, "run", "small.toml", "--format", "json")


def test_data_goes_to_stdout_and_progress_to_stderr(place, done):
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["method"] for row in rows} == {"base", "sft", "dpo"}
    assert "3 of 3 cells to run" in done.stderr
    assert "dpo.uniform.s0: done" in done.stderr


def test_the_folder_is_named_after_the_track(place, done):
    assert (place / "runs" / "small" / "records" / "dpo.uniform.s0.json").exists()


def test_a_second_run_has_nothing_to_do_and_prints_the_same(place, done):
    again = prefbench(place, "run", "small.toml", "--format", "json")
    assert "0 of 3 cells to run" in again.stderr
    assert again.stdout == done.stdout


def test_plan_says_why_a_cell_would_run(place, done):
    plan = json.loads(prefbench(place, "plan", "small.toml", "--only", "hinge", "--format", "json").stdout)
    assert {row["cell"]: row["status"] for row in plan} == {"base.-.s0": "done", "sft.-.s0": "done", "hinge.uniform.s0": "planned"}
    assert plan[-1]["why"] == "not run yet"


def test_status_reads_the_records(place, done):
    rows = json.loads(prefbench(place, "status", "runs/small", "--format", "json").stdout)
    assert {row["status"] for row in rows} == {"done"}
    assert "prefbench run" in prefbench(place, "status", "runs/nowhere").stderr


def test_board_check_passes_on_a_run_and_finds_a_changed_digit(place, done):
    assert prefbench(place, "board", "check", "runs/small").returncode == 0
    csv = place / "runs" / "small" / "board.csv"
    text = csv.read_text()
    csv.write_text(text.replace("dpo,uniform,1", "dpo,uniform,2"))
    found = prefbench(place, "board", "check", "runs/small")
    csv.write_text(text)
    assert found.returncode == 1
    assert "board.csv" in found.stdout + found.stderr


def test_a_failing_cell_is_exit_code_1_and_named(place, done):
    (place / "raises.py").write_text(
        "from dataclasses import dataclass\nfrom prefbench.api import Objective\n\n@dataclass\nclass Raises(Objective):\n"
        "    name = 'raises'\n    def per_pair(self, batch):\n        raise ZeroDivisionError('halfway')\n"
    )
    run = prefbench(place, "run", "small.toml", "--out", "broken", "--only", "raises", "--plugin", "raises.py", "--in-process")
    assert run.returncode == 1
    assert "failed: raises.uniform.s0: ZeroDivisionError: halfway" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (("run", "prefwrld"), ("error: no track named 'prefwrld'", "hint: did you mean prefworld?"), 2),
        (("run", "small.toml", "--only", "dpoo"), ("no objective is called 'dpoo'", "did you mean dpo?"), 2),
        (("run", "small.toml", "--seeds", "none"), ("--seeds 'none'", "--seeds 5"), 2),
        (("run", "small.toml", "--plugin", "missing.py"), ("missing.py",), 2),
        (("run", "--jbos", "2"), ("No such option",), 2),
    ],
)
def test_a_mistake_is_two_lines_and_exit_code_2(place, arguments, told, code):
    run = prefbench(place, *arguments)
    assert run.returncode == code
    assert all(part in run.stderr for part in told)
    assert "Traceback" not in run.stderr


def test_help_needs_neither_torch_nor_a_plugin(place):
    code = "import sys; sys.argv[1:] = ['--help']\nfrom prefbench.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'transformers', 'numpy', 'prefbench.objectives') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("[]")


def test_doctor_finds_an_installation_sound(place):
    rows = json.loads(prefbench(place, "doctor", "small.toml", "--format", "json").stdout)
    assert {row["check"]: row["state"] for row in rows} == dict.fromkeys(
        ("python and packages", "device", "alpaca-eval", "fschat", "plugins", "cache", "track"), "ok"
    )
