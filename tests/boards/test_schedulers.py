"""What the committed board of schedulers must show if they do what they say: how many pairs they train on, and which."""

from __future__ import annotations

import pytest

from tests.boards.reading import read_rows

CHOOSING = "sams-25 sams-50 sams-75 sams-50-exploiting selective selective+sams-75 curriculum loss-ranked rho-loss".split()
RANDOM = "uniform random-25 random-50 random-75".split()
LEVELS = ("clean", "noise-20")


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    """The rows of DPO by scheduler and condition."""
    return {(row["scheduler"], row["condition"]): row for row in read_rows("prefworld-schedulers") if row["method"] == "dpo"}


def test_every_scheduler_stands_beside_random_choice_at_both_levels(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    assert set(rows) == {(scheduler, level) for scheduler in (*CHOOSING, *RANDOM) for level in LEVELS}
    assert {(row["seeds"], row["tuning"]) for row in rows.values()} == {("10", "tuned")}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("share", [25, 50, 75])
def test_sams_trains_on_as_many_pairs_as_the_random_subset_beside_it(
    rows: dict[tuple[str, str], dict[str, str]], share: int, level: str
) -> None:
    chosen, drawn = rows[f"sams-{share}", level], rows[f"random-{share}", level]
    assert chosen["pairs_backward"] == drawn["pairs_backward"] == str(78 * 32 * share // 100)
    assert rows["uniform", level]["pairs_backward"] == str(78 * 32)


def test_a_random_subset_has_the_flipped_share_of_all_pairs(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    for scheduler in RANDOM:
        assert float(rows[scheduler, "noise-20"]["flipped_percent"]) == pytest.approx(20, abs=1)


def test_pairs_that_are_easy_are_flipped_less_often_and_pairs_of_high_loss_more_often(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    assert float(rows["selective", "noise-20"]["flipped_percent"]) < 15
    assert float(rows["loss-ranked", "noise-20"]["flipped_percent"]) > 22
