"""One harness at several settings in one track: each under a label of its own, from the track file to the board."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.config import read_track
from prefbench.errors import PrefbenchError
from prefbench.planned import RunOptions
from prefbench.registry import load_registry
from prefbench.report.check import check
from prefbench.report.evidence import track_harnesses
from prefbench.report.layout import ordered
from prefbench.run import run
from prefbench.store.folder import Folder

TRACK = """
[track]
name = "sweep"
version = 1
seeds = [0]
[source]
name = "prefworld"
pair_count = 24
prompt_count = 40
question_count = 12
held_out_count = 12
dialogue_count = 2
base_steps = 4
sft_steps = 2
[judge]
name = "prefworld-annotator"
[train]
steps = 1
[[harness]]
name = "alpaca_eval"
max_new_tokens = 6
[[harness]]
name = "alpaca_eval"
label = "greedy"
temperature = 0.0
max_new_tokens = 6
[trivial]
rows = ["sft"]
"""


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(TRACK)
    return path


def test_a_sweep_is_answered_judged_and_shown_setting_by_setting(tmp_path: Path, track: Path) -> None:
    result = run(RunOptions(str(track), tmp_path / "run", in_process=True), lambda _: None)
    assert not result.failed
    (row,) = result.board.rows
    assert {"win_rate", "win_rate@greedy", "length", "length@greedy"} <= row.metrics.keys()
    assert row.metrics["length"].value != row.metrics["length@greedy"].value
    assert row.counts.keys() == {"alpaca_eval", "alpaca_eval.greedy"}
    assert check(tmp_path / "run", track_harnesses(Folder(tmp_path / "run"), load_registry())) == []


def test_two_tables_of_one_harness_need_a_label(track: Path) -> None:
    track.write_text(TRACK.replace('label = "greedy"\n', ""))
    with pytest.raises(PrefbenchError, match="alpaca_eval is there twice; tell the tables apart by a label"):
        read_track(track, load_registry())


def test_a_label_becomes_part_of_file_names(track: Path) -> None:
    track.write_text(TRACK.replace('"greedy"', '"at/0.7"'))
    with pytest.raises(PrefbenchError, match="cannot be part of a file name"):
        read_track(track, load_registry())


def test_a_labelled_metric_is_shown_as_the_metric_is() -> None:
    plain, labelled, other = ordered(["win_rate@t0.7", "mine", "win_rate"])
    assert (labelled.title, labelled.percent, labelled.high) == (f"{plain.title}, t0.7", plain.percent, plain.high)
    assert other.name == "mine"
