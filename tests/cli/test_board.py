"""``prefbench board``: check, show, render, add and diff, on a folder judged by an installed harness."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prefbench.cli.board import board, harnesses_of
from prefbench.errors import PrefbenchError
from prefbench.evaluate.held_out import HeldOut
from prefbench.report.metrics import score
from prefbench.store.files import write_text
from prefbench.store.folder import Folder
from tests.report.synthetic import TRACK, name_of, record

CELL = ("dpo", "uniform", 0)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(board, [str(argument) for argument in arguments])


def item(number: int) -> dict[str, Any]:
    log_ratios = {"margin": number - 3.0, "chosen_log_ratio": -1.0, "kl": 0.5 * number}
    return {"harness": "held_out", "id": f"p{number}", "correct": float(number > 3), "gold_correct": None, **log_ratios}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A board folder of one cell, rendered."""
    root = tmp_path / "leaderboards" / "tiny"
    found, items = Folder(root), [item(number) for number in range(12)]
    write_text(found.track, TRACK.replace('"duel"', '"held_out"\ndivergence_prompts = 12'))
    result = score({"held_out": HeldOut()}, items, {})
    digests = {"items_sha256": found.write_items(name_of(CELL), items), "calibration_sha256": EMPTY, "training": {}}
    found.write_record(name_of(CELL), record(CELL, "done", {**result, **digests}))
    assert invoke("render", root).exit_code == 0
    return root


EMPTY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""sha256 of ``{}``."""


def test_render_writes_what_check_accepts(folder: Path) -> None:
    result = invoke("check", folder)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "every number follows from its items" in result.stderr


def test_check_without_folders_checks_every_board_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parents[1])
    result = invoke("check")
    assert result.exit_code == 0
    assert "leaderboards/tiny: every number" in result.stderr


def test_check_without_any_board_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = invoke("check").exception
    assert isinstance(error, PrefbenchError)
    assert str(error) == "no board under leaderboards/ has records"


def test_check_prints_what_does_not_agree_and_fails(folder: Path) -> None:
    path = folder / "board.csv"
    path.write_text(path.read_text().replace("dpo,uniform,1", "dpo,uniform,5"))
    result = invoke("check", folder, "--format", "json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)
    assert problem["file"] == str(path)
    assert problem["what"] == "line 2, column 13"


def test_show_prints_every_number_as_csv(folder: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(invoke("show", folder, "--format", "csv").stdout))
    assert float(row["held_out_accuracy"]) == pytest.approx(8 / 12)
    assert float(row["kl"]) == pytest.approx(2.75)
    assert row["held_out_judged"] == "12"


@pytest.mark.parametrize("format", ["table", "md"])
def test_show_prints_a_short_table_for_people(folder: Path, format: str) -> None:
    text = invoke("show", folder, "--format", format).stdout
    assert "tiny, version 2" in text
    assert "dpo" in text


def test_harnesses_get_the_tracks_options_and_nothing_else_needs_to_be_installed(folder: Path) -> None:
    assert "nowhere" in (folder / "track.toml").read_text()
    assert harnesses_of(folder, None) == {"held_out": HeldOut(divergence_prompts=12)}


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The board, committed, in the current folder."""
    root = folder.parents[1]
    monkeypatch.setenv("PREFBENCH_CACHE", str(root.parent / "cache"))
    monkeypatch.chdir(root)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "leaderboards"], [*who, "commit", "-q", "-m", "boards"]):
        subprocess.run(["git", *arguments], check=True)
    return root


def test_add_goes_to_the_tracks_board_and_says_what_became_of_each_cell(repository: Path) -> None:
    shutil.copytree("leaderboards/tiny", "run")
    shutil.rmtree("leaderboards/tiny")
    result = invoke("add", "run", "--submitted", "--format", "json")
    assert json.loads(result.stdout) == [{"cell": "dpo.uniform.s0", "action": "added"}]
    assert "leaderboards/tiny: 1 added" in result.stderr
    assert invoke("check").exit_code == 0
    assert "submitted" in invoke("show", "leaderboards/tiny", "--format", "md").stdout


def test_a_tracks_name_does_not_lead_out_of_the_boards(repository: Path) -> None:
    shutil.copytree("leaderboards/tiny", "run")
    path = Path("run/track.toml")
    path.write_text(path.read_text().replace('"tiny"', '"../../tiny"'))
    assert "is no folder's name" in str(invoke("add", "run").exception)


def test_diff_finds_a_board_that_is_gone_and_fails(repository: Path) -> None:
    assert invoke("diff").exit_code == 0
    shutil.rmtree("leaderboards")
    result = invoke("diff", "--format", "json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)
    assert (row["board"], row["change"], row["name"]) == ("leaderboards/tiny", "removed", "dpo.uniform.s0")
