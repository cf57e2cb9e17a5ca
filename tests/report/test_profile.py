"""Where a cell's seconds went, from the clocks of its record."""

from __future__ import annotations

import pytest

from prefbench.report.profile import PROFILE, profile_rows, train_seconds


def record(method: str, seed: int, **clocks: float) -> dict[str, object]:
    return {"cell": f"{method}.uniform.s{seed}", "method": {"label": method}, "scheduler": {"label": "uniform"}, "clocks": clocks}


def test_seconds_of_steps_are_the_same_with_a_profile_and_without():
    assert train_seconds({"train": 7.0, "select": 2.0, "answer": 1.0}) == 7.0
    assert train_seconds({"train": 0.5, "forward": 2.0, "backward": 4.0, "optimiser": 0.5, "select": 2.0}) == 7.0


def test_a_row_holds_means_over_its_profiled_cells_that_add_up():
    cells = [
        record("dpo", 0, train=0.5, forward=2.0, backward=4.0, optimiser=0.5, data=0.25, answer=1.0, judge=0.5, io=0.25),
        record("dpo", 1, train=0.5, forward=3.0, backward=5.0, optimiser=0.5, data=0.25, answer=2.0, judge=0.5, io=0.25),
        record("ipo", 0, train=9.0, answer=1.0),
    ]
    (row,) = profile_rows(cells)
    assert (row["method"], row["cells"], row["forward"], row["backward"], row["answer"]) == ("dpo", 2, 2.5, 4.5, 1.5)
    assert row["other"] == 0.75
    assert row["seconds"] == pytest.approx(sum(row[name] for name in PROFILE)) == pytest.approx(10.5)


def test_a_run_without_profile_has_no_rows():
    assert profile_rows([record("dpo", 0, train=9.0)]) == []
