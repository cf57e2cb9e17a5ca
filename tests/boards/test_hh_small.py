"""What the boards on real pairs must show if the harnesses are right: a coin decides nothing, and a model is as good as itself."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from prefbench.store.folder import Folder

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
LEARNED = ("hh-small", "hh-small-lora", "hh-small-scored")
COIN = "hh-small-coin"
WIN_RATES = ("win_rate", "mt_bench_win_rate")


def rows(board: str) -> dict[str, dict[str, str]]:
    with (LEADERBOARDS / board / "board.csv").open(encoding="utf-8") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def interval(row: dict[str, str], metric: str) -> tuple[float, float]:
    return float(row[f"{metric}_low"]), float(row[f"{metric}_high"])


@pytest.mark.parametrize("metric", WIN_RATES)
@pytest.mark.parametrize("method", ["dpo", "sft"])
def test_a_coin_finds_nobody_better(method: str, metric: str) -> None:
    low, high = interval(rows(COIN)[method], metric)
    assert low < 0.5 < high


@pytest.mark.parametrize("metric", ["flip_rate", "mt_bench_flip_rate"])
def test_a_coin_changes_its_mind_with_every_other_order(metric: str) -> None:
    for row in rows(COIN).values():
        assert float(row[metric]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("board", LEARNED)
@pytest.mark.parametrize("metric", WIN_RATES)
def test_other_draws_of_the_same_model_are_as_good(board: str, metric: str) -> None:
    low, high = interval(rows(board)["sft"], metric)
    assert low < 0.5 < high
    assert float(rows(board)["sft"]["held_out_accuracy"]) == 0.5


@pytest.mark.parametrize("board", [*LEARNED, COIN])
def test_every_cell_has_three_seeds_and_no_verdict_is_missing(board: str) -> None:
    records = Folder(LEADERBOARDS / board).records().values()
    assert {record["seed"] for record in records} == {0, 1, 2}
    assert all(record["status"] == "done" for record in records)
    for record in records:
        assert record["result"]["counts"]["alpaca_eval"] == {"judged": 200, "null": 0}


@pytest.mark.parametrize("method", ["dpo", "sft"])
@pytest.mark.parametrize("metric", ["held_out_accuracy", "margin", "chosen_reward"])
def test_what_asks_no_judge_does_not_depend_on_the_judge(method: str, metric: str) -> None:
    """The coin's rows were trained and measured once more."""
    assert float(rows(COIN)[method][metric]) == pytest.approx(float(rows("hh-small")[method][metric]), abs=1e-3)
