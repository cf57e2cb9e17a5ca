"""What the boards on real pairs must show if the harnesses are right: a coin decides nothing, and a model is as good as itself."""

from __future__ import annotations

import pytest

from prefbench.store.folder import Folder
from tests.boards.reading import LEADERBOARDS, read_rows

LEARNED = ("hh-small", "hh-small-lora", "hh-small-scored")
COIN = "hh-small-coin"
SEEDS = {"hh-small": range(5), "hh-small-lora": range(3), "hh-small-scored": range(3), COIN: range(3)}
PLAIN = (("uniform", ""), ("uniform", "clean"), ("-", ""))
WIN_RATES = ("win_rate", "mt_bench_win_rate")


def rows(board: str) -> dict[str, dict[str, str]]:
    """The rows by method, of labels as people gave them and pairs as they come."""
    return {row["method"]: row for row in read_rows(board) if (row["scheduler"], row.get("condition", "")) in PLAIN}


def measured(board: str, name: str, metric: str) -> list[float]:
    """A row's metric in the coin's seeds."""
    records = Folder(LEADERBOARDS / board).records()
    return [records[f"{name}.s{seed}"]["result"]["metrics"][metric]["value"] for seed in SEEDS[COIN]]


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
def test_every_seed_is_there_and_no_verdict_is_missing(board: str) -> None:
    records = Folder(LEADERBOARDS / board).records().values()
    assert {record["seed"] for record in records} == set(SEEDS[board])
    assert all(record["status"] == "done" for record in records)
    for record in records:
        assert record["result"]["counts"]["alpaca_eval"] == {"judged": 200, "null": 0}


@pytest.mark.parametrize(("coin", "judged"), [("dpo.uniform", "dpo.uniform.clean"), ("sft.-", "sft.-")])
@pytest.mark.parametrize("metric", ["held_out_accuracy", "margin", "chosen_reward"])
def test_what_asks_no_judge_does_not_depend_on_the_judge(coin: str, judged: str, metric: str) -> None:
    """The coin's rows were trained and measured once more."""
    assert measured(COIN, coin, metric) == pytest.approx(measured("hh-small", judged, metric), abs=1e-3)


def test_a_fifth_of_the_labels_is_flipped_where_the_board_says_so() -> None:
    flipped = {(row["condition"], row["flipped_percent"]) for row in read_rows("hh-small") if row["scheduler"] == "uniform"}
    assert {condition for condition, share in flipped if float(share or 0) == 0} == {"clean"}
    assert all(float(share) == pytest.approx(20, abs=2) for condition, share in flipped if condition == "noise-20")
