"""What the committed boards of MADPO's tiers must show if its margins and weights do what they say."""

from __future__ import annotations

import pytest

from tests.boards.reading import read_rows

TIERS = ("high", "medium", "low")
MEASURED = ("gold_win_rate", "win_rate", "held_out_accuracy", "margin", "chosen_reward", "kl")


def read(board: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows by method and tier."""
    return {(row["method"], row["condition"]): row for row in read_rows(board)}


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    return read("prefworld-quality")


@pytest.fixture(scope="module")
def betas() -> dict[tuple[str, str], dict[str, str]]:
    return read("prefworld-quality-beta")


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


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("method", ["dpo", "madpo"])
def test_a_higher_beta_stays_nearer_to_the_reference(betas: dict[tuple[str, str], dict[str, str]], method: str, tier: str) -> None:
    divergences = [float(betas[f"{method}-{beta}", tier]["kl"]) for beta in ("0-15", "0-3", "0-6", "1-2")]
    assert divergences == sorted(divergences, reverse=True)


@pytest.mark.parametrize("method", ["dpo", "madpo"])
def test_two_boards_agree_on_a_row_of_nearly_the_same_settings(
    rows: dict[tuple[str, str], dict[str, str]], betas: dict[tuple[str, str], dict[str, str]], method: str
) -> None:
    """The tuner chose a beta of 1.21 and a rate of 5.05e-4 in the low tier."""
    assert measured(betas[f"{method}-1-2", "low"]) == pytest.approx(measured(rows[method, "low"]), rel=0.02)
