"""README.md of a board and its plot: what a reader must find there."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.evaluate.held_out import HeldOut
from prefbench.report.board import read_board, short_rows
from prefbench.report.layout import Metric, fixed, significant
from prefbench.report.page import page
from prefbench.report.plot import forest
from prefbench.report.stats import Estimate
from tests.report.synthetic import HARNESSES, World, write_board, write_unjudged


def page_of(root: Path, world: World) -> str:
    write_board(root, world)
    return page(read_board(root, HARNESSES))


def test_the_page_has_the_rows_in_order_with_percentages_and_intervals(tmp_path: Path) -> None:
    text = page_of(tmp_path, World())
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert table[0].startswith("| Method | Scheduler | Seeds | Gold win rate | Gold win rate minus dpo's |")
    assert table[2].startswith("| ipo | uniform | 3 (screening) | ")
    assert " [" in table[2]


def test_the_page_says_what_a_seed_varies_how_it_was_tuned_and_how_to_make_it_again(tmp_path: Path) -> None:
    text = page_of(tmp_path, World())
    assert "A seed varies order, sampling." in text
    assert "Tuning: pre-tuned." in text
    assert "prefbench board check leaderboards/tiny " in text
    assert "prefbench run leaderboards/tiny/track.toml " in text


def test_seeds_that_the_track_does_not_run_by_itself_are_part_of_the_command(tmp_path: Path) -> None:
    assert " --seeds 2 " in page_of(tmp_path / "two", World(seeds=2))
    assert " --seeds 1 " in page_of(tmp_path / "one", World(seeds=1))


def test_rows_that_the_track_does_not_run_by_itself_are_part_of_the_commands(tmp_path: Path) -> None:
    """Typed as they stand, they train what the board holds; the track alone would train something else."""
    text = page_of(tmp_path, World(rows={("dpo", "uniform"): 0.6, ("mine", "uniform"): 0.7, ("dpo", "a+b"): 0.5}))
    assert "prefbench run leaderboards/tiny/track.toml --only dpo --scheduler a+b    #" in text
    assert "prefbench run leaderboards/tiny/track.toml --only dpo --only mine --scheduler uniform    #" in text


def test_a_method_of_a_single_file_is_called_so_and_asks_for_the_file(tmp_path: Path) -> None:
    folder = write_board(tmp_path, World(rows={("mine", "uniform"): 0.6}, seeds=1))
    record = folder.read_record("mine.uniform.s0")
    nowhere = {"distribution": "", "version": "", "source_sha256": "00"}
    folder.write_record("mine.uniform.s0", {**record, "method": {**record["method"], "origin": nowhere}})
    text = page(read_board(tmp_path, HARNESSES))
    assert "| a single file |" in text
    assert "--only mine --scheduler uniform --plugin FILE " in text


def test_a_row_is_charged_with_its_columns_and_names_them(tmp_path: Path) -> None:
    folder = write_board(tmp_path, World(rows={("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.6}, seeds=1))
    record = folder.read_record("dpo.uniform.s0")
    origin = {"distribution": "prefbench-x", "version": "2.0", "source_sha256": "00"}
    column = {"name": "difficulty", "options": {"epochs": 0.5}, "origin": origin}
    include = {**record["include"], "train": {**record["include"]["train"], "columns": {"hard": column}}}
    clocks = {"columns": 40.0, "select": 3.0, "train": 2.0}
    folder.write_record("dpo.uniform.s0", {**record, "include": include, "clocks": clocks})
    board = read_board(tmp_path, HARNESSES)
    assert "| hard = difficulty(epochs=0.5), prefbench-x 2.0 |" in page(board)
    assert {row["method"]: row["cost s"] for row in short_rows(board)} == {"dpo": 45.0, "ipo": 2.0}


def test_five_seeds_are_no_screening(tmp_path: Path) -> None:
    assert "creening" not in page_of(tmp_path, World(seeds=5))


def test_one_seed_is_marked_as_an_interval_of_questions_only(tmp_path: Path) -> None:
    assert "The interval of a single seed speaks of questions only." in page_of(tmp_path, World(seeds=1))


def test_missing_verdicts_are_never_silent(tmp_path: Path) -> None:
    text = page_of(tmp_path, World(nulls=("q3",)))
    assert "dpo + uniform: 3 of 120 duel verdicts null." in text


def test_the_plot_is_a_small_png_also_with_a_row_far_from_the_others(tmp_path: Path) -> None:
    write_board(tmp_path, World(rows={("base", "-"): 0.05, ("dpo", "uniform"): 0.6}))
    data = forest(read_board(tmp_path, HARNESSES))
    assert data.startswith(b"\x89PNG")
    assert len(data) < 80 * 1024


@pytest.mark.parametrize(("value", "text"), [(0.64951, "65.0"), (-0.0001, "0.0"), (0.12345, "12.3")])
def test_shares_are_shown_in_percent(value: float, text: str) -> None:
    metric = Metric("share", "Share", decimals=1, percent=True)
    assert metric.show(Estimate(value, value, value, 0.0, 1.0, 2, 2, 0.0)) == f"{text} [{text}, {text}]"


def test_a_value_without_spread_stands_alone() -> None:
    nan = float("nan")
    assert Metric("x", "X").show(Estimate(1.0, nan, nan, nan, 0.0, 1, 1, 0.0)) == "1.00"


def test_a_tie_that_rounding_noise_moved_is_rounded_like_the_tie() -> None:
    tie = 0.1250
    assert fixed(tie - 1e-16, 2) == fixed(tie + 1e-16, 2) == fixed(tie, 2)
    assert significant(0.1 + 0.2) == "0.3"


def test_a_board_that_nothing_judged_leads_with_held_out_accuracy(tmp_path: Path) -> None:
    """Without a win rate the accuracy ranks the rows, and the first table and the plot show it."""
    write_unjudged(tmp_path)
    board = read_board(tmp_path, {"held_out": HeldOut()})
    assert [row.method for row in board.rows] == ["dpo", "sft"]
    assert "| Held-out accuracy |" in page(board).split("\n\n")[2]
    assert len(forest(board)) > 5_000
