"""Commands that cannot be meant as they are typed: what is printed, and that a finished run stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.place import Bad, Told, contents, each, put

CASES = [
    Bad("unknown-command", "No such command 'runn'", command="runn"),
    Bad("unknown-option", "No such option", "--seeds", command="run track.toml --sedes 3"),
    Bad("unknown-track", "no track named 'prefwrld', and no such file", "did you mean prefworld?", command="run prefwrld"),
    Bad("track-is-a-folder", "no track named 'sft', and no such file", "packaged tracks:", command="run sft"),
    Bad(
        "seeds-are-words",
        "--seeds 'none' is no number and no list of numbers",
        "write --seeds 5, or --seeds 0,1,7",
        command="run track.toml --seeds none",
    ),
    Bad("seeds-none", "--seeds '0' names no seed", "write --seeds 5", command="run track.toml --seeds 0"),
    Bad("seeds-negative", "--seeds '0,-3' names no seed", "write --seeds 5", command="run track.toml --seeds 0,-3"),
    Bad("jobs-zero", "Invalid value for '--jobs'", "", command="run track.toml --jobs 0"),
    Bad("format-unknown", "Invalid value for '--format'", "'json'", command="run track.toml --format xml"),
    Bad("plugin-missing", "--plugin", "give the path of a Python file", command="run track.toml --plugin nowhere.py"),
    Bad("method-unknown", "--only: no objective is called 'dppo'", "did you mean dpo?", command="run track.toml --only dppo"),
    Bad(
        "scheduler-unknown",
        "--scheduler: no scheduler is called 'unifrom'",
        "did you mean uniform?",
        command="run track.toml --scheduler unifrom",
    ),
    Bad("show-unknown", "no component is called 'hinje'", "did you mean hinge?", command="show hinje"),
    Bad("status-of-nothing", "nowhere has no records", "prefbench run", command="status nowhere"),
    Bad("board-of-nothing", "there is no track file", "name a run folder or a board folder", command="board show nowhere"),
    Bad("board-of-a-file", "there is no track file", "name a run folder or a board folder", command="board show pairs.jsonl"),
    Bad("board-check-nowhere", "no board under leaderboards/ has records", "name a run folder", command="board check"),
    Bad("out-is-a-file", "'pairs.jsonl' is a file", "", command="run track.toml --out pairs.jsonl"),
    Bad(
        "out-is-no-run-folder",
        "mine holds files, and is no run folder",
        "--out",
        put("mine/README.md", "my own notes"),
        command="run track.toml --out mine --in-process",
    ),
]


@each(CASES)
def test_a_command_that_cannot_be_meant_says_so_and_changes_nothing(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(bad)
    assert told.code == bad.code
    assert not told.changed


def test_the_files_of_a_folder_that_is_no_run_folder_stay(place: Path, tell: Callable[[Bad], Told]) -> None:
    tell(next(bad for bad in CASES if bad.name == "out-is-no-run-folder"))
    assert contents(place / "mine") == {"README.md": b"my own notes"}


def test_workers_hand_error_and_hint_back(place: Path) -> None:
    """As its own process, with a worker that reads the pairs: what was found there is told as if it were found here."""
    (place / "pairs.jsonl").write_text('{"prompt": "w1", "chosen": "w2"}\n')
    command = [sys.executable, "-c", "from prefbench.cli.main import main; main()", "run", "track.toml", "--out", "run", "--jobs", "1"]
    before = contents(place / "run")
    run = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 2
    assert "pairs.jsonl: 1 bad row: row 1 (no rejected)" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("hint: a row is one JSON object on one line")
    assert "Traceback" not in run.stderr
    after = contents(place / "run")
    assert "no rejected" in after.pop("logs/prepare.log").decode()
    assert after == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_that_cannot_be_written_is_named(place: Path, tell: Callable[[Bad], Told]) -> None:
    def locked(folder: Path) -> None:
        (folder / "locked").mkdir(mode=0o500)

    assert tell(Bad("locked", "'locked' is not writable", "", locked, "run track.toml --out locked")).code == 2
