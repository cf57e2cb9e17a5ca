"""What the committed board of few pairs and many epochs must show if conditions, flips and the tuner do what they say."""

from __future__ import annotations

import pytest

from tests.boards.reading import read_rows

LOSSES = "dpo ipo hinge apo-zero apo-hinge-zero ams robust madpo simpo".split()
TUNED, FIXED = "tuned-rate", "fixed-rate"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    """The trained rows by method and condition."""
    return {(row["method"], row["condition"]): row for row in read_rows("prefworld-overfit") if row["condition"]}


def test_every_loss_has_both_rates_ten_seeds_and_a_fifth_of_its_labels_wrong(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    assert set(rows) == {(loss, condition) for loss in LOSSES for condition in (TUNED, FIXED)}
    assert {(row["seeds"], row["tuning"], row["pairs_backward"]) for row in rows.values()} == {("10", "tuned", "4800")}
    assert all(float(row["flipped_percent"]) == pytest.approx(20, abs=2) for row in rows.values())


def test_the_fixed_rate_is_the_tracks_and_the_tuned_ones_are_within_the_space(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    assert {float(rows[loss, FIXED]["learning_rate"]) for loss in LOSSES} == {2.5e-4}
    assert all(2e-5 <= float(rows[loss, TUNED]["learning_rate"]) < 2.5e-4 for loss in LOSSES)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_higher_rate_over_eight_epochs_goes_further_from_the_reference(rows: dict[tuple[str, str], dict[str, str]], loss: str) -> None:
    assert float(rows[loss, FIXED]["kl"]) > float(rows[loss, TUNED]["kl"])
