"""A board derived from records and items: its numbers, its order, what it shows of cells that did not end well, and its files."""

from __future__ import annotations

import csv
import dataclasses
import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from prefbench.errors import PrefbenchError
from prefbench.evaluate.alpaca_eval import AlpacaEval
from prefbench.report.board import Board, board_csv, long_rows, read_board, render, rows_for
from prefbench.report.evidence import read_evidence
from prefbench.report.rows import Row, build
from prefbench.report.stats import crossed
from prefbench.store.files import write_json, write_text
from tests.report.synthetic import HARNESSES, World, name_of, record, without_gold, write_board, write_diverged


def row_of(board: Board, method: str, scheduler: str) -> Row:
    return next(row for row in board.rows if (row.method, row.scheduler) == (method, scheduler))


def matrix(root: Path, method: str, scheduler: str, key: str, seeds: int = 3) -> np.ndarray:
    """The items of a row as they lie on disk, (S, Q)."""
    folder = write_board(root)
    return np.array([[item[key] for item in folder.items(name_of((method, scheduler, seed)))] for seed in range(seeds)])


def test_a_rows_metric_is_the_mean_over_its_seeds_with_the_crossed_interval(tmp_path: Path) -> None:
    values = matrix(tmp_path, "ipo", "uniform", "preference")
    estimate = row_of(read_board(tmp_path, HARNESSES), "ipo", "uniform").metrics["win_rate"]
    assert estimate.value == pytest.approx(values.mean())
    assert astuple(estimate) == pytest.approx(astuple(crossed(values)))


def test_the_difference_to_dpo_is_paired_by_seed_and_question(tmp_path: Path) -> None:
    difference = matrix(tmp_path, "ipo", "uniform", "gold") - matrix(tmp_path, "dpo", "uniform", "gold")
    board = read_board(tmp_path, HARNESSES)
    assert astuple(row_of(board, "ipo", "uniform").versus["gold_win_rate"]) == pytest.approx(astuple(crossed(difference)))
    assert row_of(board, "dpo", "uniform").versus == {}


def test_a_fitted_metric_is_compared_under_one_draw_of_questions(tmp_path: Path) -> None:
    write_board(tmp_path)
    board = read_board(tmp_path, HARNESSES)
    ours, dpo = row_of(board, "ipo", "uniform"), row_of(board, "dpo", "uniform")
    name = "length_controlled_win_rate"
    assert ours.versus[name].value == pytest.approx(ours.metrics[name].value - dpo.metrics[name].value)
    assert ours.metrics[name].low < ours.metrics[name].value < ours.metrics[name].high


def test_rows_are_sorted_by_the_truth_where_it_is_known(tmp_path: Path) -> None:
    write_board(tmp_path)
    board = read_board(tmp_path, HARNESSES)
    assert board.ranked_by is not None
    assert board.ranked_by.name == "gold_win_rate"
    assert [row.label for row in board.rows] == ["ipo + uniform", "dpo + uniform", "dpo + random", "sft"]


def test_a_board_without_gold_has_no_such_columns_and_ranks_by_the_length_controlled_rate(tmp_path: Path) -> None:
    write_board(tmp_path, without_gold(World()))
    board = render(tmp_path, HARNESSES)
    assert board.ranked_by is not None
    assert board.ranked_by.name == "length_controlled_win_rate"
    assert "gold" not in (tmp_path / "board.csv").read_text().splitlines()[0]
    assert "Gold" not in (tmp_path / "README.md").read_text()


def test_a_diverged_cell_stands_in_its_row_with_the_reason(tmp_path: Path) -> None:
    folder = write_board(tmp_path)
    write_diverged(folder, ("ipo", "uniform", 2))
    board = render(tmp_path, HARNESSES)
    row = row_of(board, "ipo", "uniform")
    assert row.seeds == (0, 1)
    assert row.unfinished == ("s2 diverged: mean loss 12000.0 at step 7 is beyond 10000",)
    assert "ipo + uniform: s2 diverged: mean loss 12000.0 at step 7 is beyond 10000" in (tmp_path / "README.md").read_text()


def test_a_row_without_any_result_is_last_and_still_there(tmp_path: Path) -> None:
    folder = write_board(tmp_path)
    write_diverged(folder, ("simpo", "uniform", 0))
    board = render(tmp_path, HARNESSES)
    assert board.rows[-1].label == "simpo + uniform"
    assert board.rows[-1].metrics == {}


def test_a_folder_with_no_result_at_all_still_renders(tmp_path: Path) -> None:
    write_diverged(write_board(tmp_path, World(rows={})), ("dpo", "uniform", 0))
    board = render(tmp_path, HARNESSES)
    assert [row.label for row in board.rows] == ["dpo + uniform"]


def test_board_csv_has_every_number_with_its_interval(tmp_path: Path) -> None:
    write_board(tmp_path)
    board = render(tmp_path, HARNESSES)
    rows = list(csv.DictReader((tmp_path / "board.csv").open()))
    best, row = rows[0], board.rows[0]
    assert list(best)[:7] == ["method", "scheduler", "seeds", "mode", "gold_win_rate", "gold_win_rate_low", "gold_win_rate_high"]
    assert float(best["gold_win_rate_low"]) == pytest.approx(row.metrics["gold_win_rate"].low, rel=1e-5)
    assert (best["train_seconds"], best["pairs_forward"], best["pairs_backward"]) == ("3", "320", "160")
    assert (best["duel_judged"], best["duel_null"]) == ("120", "0")
    assert (best["learning_rate"], best["options"]) == ("0.0001", "beta=0.3")
    assert rows[-1]["train_seconds"] == ""


def test_an_interval_ends_where_a_share_does(tmp_path: Path) -> None:
    write_board(tmp_path, World(rows={("dpo", "uniform"): 0.99}, seeds=2))
    assert row_of(read_board(tmp_path, HARNESSES), "dpo", "uniform").metrics["win_rate"].high <= 1.0


def test_rendering_is_deterministic(tmp_path: Path) -> None:
    names = ("board.csv", "README.md", "forest.png")
    found = []
    for place in ("a", "b"):
        write_board(tmp_path / place)
        render(tmp_path / place, HARNESSES)
        found.append([(tmp_path / place / name).read_bytes() for name in names])
    assert found[0] == found[1]


def test_rows_for_printing_are_short_for_people_and_whole_for_machines(tmp_path: Path) -> None:
    write_board(tmp_path)
    board = read_board(tmp_path, HARNESSES)
    assert rows_for(board, "json") == long_rows(board)
    assert list(rows_for(board, "table")[0])[:4] == ["method", "scheduler", "seeds", "gold %"]
    assert "gold_win_rate_low" in json.loads(json.dumps(rows_for(board, "csv")))[0]


def test_an_empty_board_has_a_header(tmp_path: Path) -> None:
    write_board(tmp_path, World(rows={}))
    assert board_csv(read_board(tmp_path, HARNESSES)) == "method,scheduler,seeds,mode\n"


def test_missing_items_of_a_finished_cell_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = write_board(tmp_path)
    folder.items_path("dpo.uniform.s0").unlink()
    with pytest.raises(PrefbenchError, match=r"dpo\.uniform\.s0\.jsonl\.gz: the items of a cell that is done are missing"):
        read_board(tmp_path, HARNESSES)


def test_a_folder_without_a_track_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PrefbenchError, match="there is no track file"):
        read_board(tmp_path, HARNESSES)


@pytest.mark.parametrize(("text", "message"), [("[track", "not a TOML file"), ("[track]\nname = 'tiny'", "needs a name and a version")])
def test_a_track_that_is_none_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    write_text(write_board(tmp_path).track, text)
    with pytest.raises(PrefbenchError, match=message):
        read_board(tmp_path, HARNESSES)


def test_a_row_of_which_one_seed_is_refused_has_no_mean_of_the_others(tmp_path: Path) -> None:
    """Seeds are refused where preferences look even: the mean of the others would be of those that do not."""
    write_board(tmp_path, World(rows={("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.7}))
    evidence = read_evidence(tmp_path, HARNESSES)
    name = "length_controlled_win_rate"
    assert [name in row.metrics for row in build(evidence).rows] == [True, True]
    cell = evidence.cells["ipo.uniform.s0"]
    fits = {metric: fit for metric, fit in cell.scores.fits.items() if metric != name}
    refused = dataclasses.replace(cell, scores=dataclasses.replace(cell.scores, fits=fits, refused={name: "nothing left"}))
    board = build(dataclasses.replace(evidence, cells={**evidence.cells, "ipo.uniform.s0": refused}))
    assert {row.method: name in row.metrics for row in board.rows} == {"dpo": True, "ipo": False}
    assert {row.method: name in row.versus for row in board.rows} == {"dpo": False, "ipo": False}


def test_a_refused_length_control_is_a_note_with_its_reason(tmp_path: Path) -> None:
    folder = write_board(tmp_path, World(rows={}))
    write_text(folder.track, folder.track.read_text().replace("duel", "alpaca_eval"))
    items = [{"harness": "alpaca_eval", "id": f"q{q}", "preference": q / 9, "length": 5 + q, "baseline_length": 5} for q in range(10)]
    cell = ("dpo", "uniform", 0)
    result = {"items_sha256": folder.write_items(name_of(cell), items), "training": {}}
    write_json(folder.record_path(name_of(cell)), {"schema": 1, **record(cell, "done", result)})
    board = render(tmp_path, {"alpaca_eval": AlpacaEval()})
    assert board.rows[0].refused == ("s0: no length_controlled_win_rate: 10 questions, fewer than 50",)
    assert "s0: no length_controlled_win_rate: 10 questions, fewer than 50" in (tmp_path / "README.md").read_text()
