"""``prefbench compare`` on the committed boards: what their numbers carry, what is refused, and the exit code for CI."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from prefbench.cli.main import app
from prefbench.errors import PrefbenchError

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
PREFWORLD, LORA, SCORED = (LEADERBOARDS / name for name in ("prefworld", "hh-small-lora", "hh-small-scored"))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_prefworld_board_says_what_its_numbers_carry() -> None:
    """The numbers are those of the board, paired; what is decided and what is not stands beside them."""
    rows = {row["row"]: row for row in json.loads(invoke(PREFWORLD, "--format", "json").stdout)}
    with (PREFWORLD / "board.csv").open(encoding="utf-8") as file:
        board = {(row["method"], row["scheduler"]): row for row in csv.DictReader(file)}
    assert len(rows) == len(board) - 1
    assert rows["ipo + uniform"]["difference"] == pytest.approx(float(board["ipo", "uniform"]["gold_win_rate_minus_dpo"]), rel=1e-4)
    assert rows["discopop + uniform"]["verdict"] == rows["sft"]["verdict"] == "worse"
    open_rows = [row for row in rows.values() if row["verdict"] == "no decision"]
    assert open_rows
    assert all(row["p_corrected"] > 0.05 and row["detectable"] > abs(row["difference"]) for row in open_rows)


def test_the_commands_page_shows_what_it_prints() -> None:
    page = (LEADERBOARDS.parent / "docs" / "commands" / "compare.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- compare: leaderboards/prefworld -->")[2].partition("<!-- end -->")[0]
    assert shown.strip() == invoke(PREFWORLD, "--format", "md").stdout.strip()


def test_a_board_of_three_seeds_is_screening_and_decides_little() -> None:
    text = invoke(LORA, "--format", "md").stdout
    assert "### hh-small-lora, version 1: Length-controlled win rate, %, minus dpo + uniform; p corrected for 3 (Holm)" in text
    assert text.count("3 (screening)") == text.count("no decision") == 3


def test_another_baseline_and_another_metric() -> None:
    (row, *_) = csv.DictReader(io.StringIO(invoke(LORA, "--baseline", "sft", "--metric", "margin", "--format", "csv").stdout))
    assert (row["against"], row["metric"]) == ("sft", "margin")


def test_another_track_is_refused_by_its_name() -> None:
    error = invoke(PREFWORLD, LORA).exception
    assert isinstance(error, PrefbenchError)
    assert "track.name: 'prefworld' -> 'hh-small-lora'" in str(error)


def test_the_same_folder_twice_is_refused() -> None:
    error = invoke(LORA, LORA).exception
    assert isinstance(error, PrefbenchError)
    assert str(error) == "a folder is named twice"


def test_a_copy_changed_nothing(tmp_path: Path) -> None:
    shutil.copytree(LORA, tmp_path / "again")
    result = invoke(LORA, tmp_path / "again", "--format", "json", "--fail-if", "changed")
    assert result.exit_code == 0
    assert {row["note"] for row in json.loads(result.stdout)} == {"identical"}


def test_a_row_that_only_one_run_has_is_named(tmp_path: Path) -> None:
    shutil.copytree(LORA, tmp_path / "less")
    for path in (tmp_path / "less" / "records").glob("ipo.*"):
        path.unlink()
    assert f"not compared, only in {LORA}: ipo + uniform" in invoke(LORA, tmp_path / "less").stderr


@pytest.mark.parametrize(("fail_if", "code"), [("worse", 1), ("changed", 1), (None, 0)])
def test_the_exit_code_is_for_ci(fail_if: str | None, code: int) -> None:
    assert invoke(SCORED, *(["--fail-if", fail_if] if fail_if else [])).exit_code == code


def test_no_decision_fails_nothing() -> None:
    assert invoke(LORA, "--fail-if", "worse").exit_code == invoke(LORA, "--fail-if", "changed").exit_code == 0


def test_a_metric_without_a_worse_side_cannot_fail_by_it() -> None:
    error = invoke(LORA, "--metric", "kl", "--fail-if", "worse").exception
    assert isinstance(error, PrefbenchError)
    assert str(error) == "no side of kl is worse"


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    result = invoke(LORA, "--plot", tmp_path / "forest.png")
    assert result.exit_code == 0
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
