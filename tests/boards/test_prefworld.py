"""What the committed Prefworld board shows, and what it must show if the harness is right."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from prefbench.store.folder import Folder

BOARD = Path(__file__).parents[2] / "leaderboards" / "prefworld"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    with (BOARD / "board.csv").open(encoding="utf-8") as file:
        return {(row["method"], row["scheduler"]): row for row in csv.DictReader(file)}


def test_dpo_is_clearly_above_sft(rows):
    assert float(rows["dpo", "uniform"]["gold_win_rate_low"]) > float(rows["sft", "-"]["gold_win_rate_high"])


def test_the_length_controlled_rate_is_nearer_to_the_truth_than_the_judges(rows):
    def distance(metric: str) -> float:
        return float(np.mean([abs(float(row[metric]) - float(row["gold_win_rate"])) for row in rows.values()]))

    assert distance("length_controlled_win_rate") < distance("win_rate")


def test_sft_against_itself_is_a_draw(rows):
    assert float(rows["sft", "-"]["gold_win_rate"]) == pytest.approx(0.5, abs=0.015)
    assert float(rows["sft", "-"]["held_out_accuracy"]) == 0.5


def test_half_the_pairs_cost_half_the_backward(rows):
    full, half = (float(rows["dpo", scheduler]["pairs_backward"]) for scheduler in ("uniform", "random-subset"))
    assert half == full / 2


def test_the_board_has_five_seeds_of_at_least_six_methods(rows):
    records = Folder(BOARD).records().values()
    assert {record["seed"] for record in records} == {0, 1, 2, 3, 4}
    assert len({record["method"]["label"] for record in records if record["method"]["objective"]}) >= 6
