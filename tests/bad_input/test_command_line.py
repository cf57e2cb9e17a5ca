"""Commands that cannot be meant as they are typed: what is printed, and that a finished run stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_input.place import Bad, contents, each, put, told

CASES = [
    Bad("unknown-command", "No such command 'runn'", command="runn"),
    Bad("unknown-option", "No such option: --sedes", "--seeds", command="run track.toml --sedes 3"),
    Bad("unknown-track", "no track named 'prefwrld', and no such file", "did you mean prefworld?", command="run prefwrld"),
    Bad("track-is-a-folder", "no track named 'sft', and no such file", "packaged tracks:", command="run sft"),
    Bad("seeds-are-words", "--seeds 'none' is no number and no list of numbers", "write --seeds 5, or --seeds 0,1,7", command="run track.toml --seeds none"),
    Bad("seeds-none", "--seeds '0' names no seed", "write --seeds 5", command="run track.toml --seeds 0"),
    Bad("seeds-negative", "--seeds '0,-3' names no seed", "write --seeds 5", command="run track.toml --seeds 0,-3"),
    Bad("jobs-zero", "Invalid value for '--jobs'", "", command="run track.toml --jobs 0"),
    Bad("format-unknown", "Invalid value for '--format'", "'json'", command="run track.toml --format xml"),
    Bad("plugin-missing", "--plugin", "give the path of a Python file", command="run track.toml --plugin nowhere.py"),
    Bad("method-unknown", "--only: no objective is called 'dppo'", "did you mean dpo?", command="run track.toml --only dppo"),
    Bad("scheduler-unknown", "--scheduler: no scheduler is called 'unifrom'", "did you mean uniform?", command="run track.toml --scheduler unifrom"),
    Bad("show-unknown", "no component is called 'hinje'", "did you mean hinge?", command="show hinje"),
    Bad("status-of-nothing", "nowhere has no records", "prefbench run", command="status nowhere"),
    Bad("board-of-nothing", "there is no track file", "name a run folder or a board folder", command="board show nowhere"),
    Bad("board-of-a-file", "there is no track file", "name a run folder or a board folder", command="board show pairs.jsonl"),
    Bad("board-check-nowhere", "no board under leaderboards/ has records", "name a run folder", command="board check"),
    Bad("out-is-a-file", "'pairs.jsonl' is a file", "", command="run track.toml --out pairs.jsonl"),
    Bad("out-is-no-run-folder", "mine holds files, and is no run folder", "--out", put("mine/README.md", "my own notes"), command="run track.toml --out mine --in-process"),
]


@each(CASES)
def test_a_command_that_cannot_be_meant(bad: Bad, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(place)
    told(bad, place, monkeypatch, capsys)
    assert contents(place).items() >= before.items()
