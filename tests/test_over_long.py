"""Pairs that are longer than a track allows: dropped or cut, counted in the record, and listed in the run folder by where they are from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefbench.planned import RunOptions
from prefbench.run import run
from prefbench.store.folder import Folder
from tests.bad_input.place import TRACK, good_folder, jsonl, rows

LONG = [
    {"prompt": "w1 w2 w3 w4 w5 w6", "chosen": "w7", "rejected": "w8"},
    {"prompt": "w1 w2", "chosen": "w7 w8 w9 w10 w11 w12", "rejected": "w8"},
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose first two pairs are too long, of six tokens and eight; all others have at most five."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    folder = good_folder(tmp_path)
    (folder / "pairs.jsonl").write_text(jsonl([*LONG, *rows(*range(60))]))
    return folder


def trained(folder: Path, rules: str) -> dict[str, int]:
    """Run the track with these rules; what the record says of the pairs."""
    track = TRACK.replace("max_length = 40", f"max_length = 5\n{rules}").replace("held_out_share = 0.3", 'held_out_file = "held_out.jsonl"')
    (folder / "held_out.jsonl").write_text(jsonl([{"prompt": "w44 w44", "chosen": "w1", "rejected": "w2"}]))
    (folder / "track.toml").write_text(track)
    run(RunOptions(track=str(folder / "track.toml"), out=folder / "run", in_process=True), lambda _: None)
    training = Folder(folder / "run").read_record("dpo.uniform.s0")["result"]["training"]
    return {name: value for name, value in training.items() if name.startswith(("pairs", "prompts", "answers")) and "seen" not in name}


def test_dropped_pairs_are_counted_and_listed(place: Path) -> None:
    counts = trained(place, "")
    assert (counts["pairs"], counts["pairs_dropped"]) == (60, 2)
    listed = json.loads((place / "run" / "over_long" / "s0.json").read_text())
    assert {name: sorted(origins) for name, origins in listed.items()} == {"pairs_dropped": ["pairs.jsonl row 1", "pairs.jsonl row 2"]}


def test_cut_pairs_are_counted_by_what_was_cut_and_listed(place: Path) -> None:
    counts = trained(place, 'over_long = "truncate"\nmax_prompt_length = 3')
    assert {name: counts[name] for name in ("pairs", "pairs_dropped", "prompts_cut", "answers_cut")} == {
        "pairs": 62,
        "pairs_dropped": 0,
        "prompts_cut": 1,
        "answers_cut": 1,
    }
    assert json.loads((place / "run" / "over_long" / "s0.json").read_text()) == {
        "prompts_cut": ["pairs.jsonl row 1"],
        "answers_cut": ["pairs.jsonl row 2"],
    }
