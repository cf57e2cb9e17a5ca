"""What the committed board of MADPO's tiers must show if its margins and weights do what they say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

BOARD = Path(__file__).parents[2] / "leaderboards" / "prefworld-quality"
TIERS = ("high", "medium", "low")
MEASURED = ("gold_win_rate", "win_rate", "held_out_accuracy", "margin", "chosen_reward", "kl")


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    """The rows by method and tier."""
    with (BOARD / "board.csv").open(encoding="utf-8") as file:
        return {(row["method"], row["condition"]): row for row in csv.DictReader(file)}


def measured(row: dict[str, str]) -> list[float]:
    return [float(row[name]) for name in MEASURED]


@pytest.mark.parametrize("tier", TIERS)
def test_a_threshold_that_hardly_any_margin_exceeds_leaves_amplification_alone(
    rows: dict[tuple[str, str], dict[str, str]], tier: str
) -> None:
    """At the paper's tau, MADPO without its regularisation is MADPO, and with nothing but its regularisation it is DPO."""
    assert measured(rows["madpo", tier]) == pytest.approx(measured(rows["madpo-amp-only", tier]), rel=1e-3)
    assert measured(rows["dpo", tier]) == pytest.approx(measured(rows["madpo-reg-only", tier]), rel=1e-3)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("other", ["madpo-c2", "madpo-noisy-1", "madpo-noisy-3", "dpo"])
def test_each_setting_of_the_weights_trains_another_policy(rows: dict[tuple[str, str], dict[str, str]], other: str, tier: str) -> None:
    assert measured(rows["madpo", tier]) != pytest.approx(measured(rows[other, tier]), rel=1e-3)


@pytest.mark.parametrize("tier", TIERS)
def test_a_lower_threshold_regularises_some_pairs(rows: dict[tuple[str, str], dict[str, str]], tier: str) -> None:
    assert measured(rows["madpo-tau2-reg-only", tier]) != pytest.approx(measured(rows["dpo", tier]), rel=1e-3)
