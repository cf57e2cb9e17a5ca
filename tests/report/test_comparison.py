"""Comparisons on synthetic folders: which rows are paired with which, their arithmetic, and what stands beside a difference."""

from __future__ import annotations

import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from prefbench.errors import PrefbenchError
from prefbench.report.comparison import IDENTICAL, Comparison, Difference, compare
from prefbench.report.comparison_rows import rows_for, title_of, verdict_word
from prefbench.report.evidence import read_evidence
from prefbench.report.layout import ordered
from prefbench.report.plot import differences_forest
from prefbench.report.stats import crossed
from prefbench.report.verdicts import ONE_SEED, p_value
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, World, name_of, record, write_board, write_cell, write_diverged


def compared(*folders: Path, metric: str | None = None, baseline: str | None = None) -> Comparison:
    return compare({folder: read_evidence(folder, HARNESSES) for folder in folders}, metric, baseline)


def row_of(comparison: Comparison, label: str) -> Difference:
    return next(row for row in comparison.rows if row.label == label)


def copied(folder: Path, row: tuple[str, str], name: str) -> None:
    """The row once more under another method's name, item for item."""
    found = Folder(folder)
    for seed in range(3):
        write_cell(found, (name, row[1], seed), found.items(name_of((*row, seed))))


def gold(folder: Path, method: str, scheduler: str = "uniform") -> np.ndarray:
    return np.array([[item["gold"] for item in Folder(folder).items(name_of((method, scheduler, seed)))] for seed in range(3)])


def test_every_row_is_subtracted_from_dpo_by_seed_and_question(tmp_path: Path) -> None:
    write_board(tmp_path)
    comparison = compared(tmp_path)
    expected = crossed(gold(tmp_path, "ipo") - gold(tmp_path, "dpo"))
    assert comparison.against == "dpo + uniform"
    assert [row.label for row in comparison.rows] == ["ipo + uniform", "dpo + random", "sft"]
    estimate = row_of(comparison, "ipo + uniform").estimate
    assert estimate is not None
    assert astuple(estimate) == pytest.approx(astuple(expected))


def test_three_ps_are_corrected_together(tmp_path: Path) -> None:
    write_board(tmp_path)
    comparison = compared(tmp_path)
    ps = {row.label: p_value(row.estimate) for row in comparison.rows if row.estimate}
    low, middle, high = sorted(ps, key=lambda label: ps[label])
    by_hand = {low: 3 * ps[low], middle: max(3 * ps[low], 2 * ps[middle]), high: max(3 * ps[low], 2 * ps[middle], ps[high])}
    for label, corrected in by_hand.items():
        verdict = row_of(comparison, label).verdict
        assert verdict is not None
        assert verdict.corrected == pytest.approx(min(corrected, 1.0))


def test_a_clear_difference_is_better_or_worse_and_a_small_one_is_open(tmp_path: Path) -> None:
    rows = {("dpo", "uniform"): 0.5, ("good", "uniform"): 0.8, ("bad", "uniform"): 0.2, ("twin", "uniform"): 0.5}
    write_board(tmp_path, World(rows=rows, seeds=10, questions=100))
    comparison = compared(tmp_path)
    words = {row.label: verdict_word(comparison.metric, row) for row in comparison.rows}
    assert words == {"good + uniform": "better", "bad + uniform": "worse", "twin + uniform": "no decision"}


def test_a_method_against_itself_under_another_name_is_no_decision(tmp_path: Path) -> None:
    write_board(tmp_path)
    copied(tmp_path, ("dpo", "uniform"), "alias")
    for metric in ("gold_win_rate", "length_controlled_win_rate"):
        comparison = compared(tmp_path, metric=metric)
        row = row_of(comparison, "alias + uniform")
        assert row.verdict is not None
        assert row.estimate is not None
        assert (row.estimate.value, row.estimate.se, row.verdict.p, row.verdict.corrected) == (0.0, 0.0, 1.0, 1.0)
        assert verdict_word(comparison.metric, row) == "no decision"
        assert row.notes == (IDENTICAL,)


def test_a_fitted_metric_is_compared_too(tmp_path: Path) -> None:
    write_board(tmp_path)
    row = row_of(compared(tmp_path, metric="length_controlled_win_rate"), "ipo + uniform")
    assert row.value is not None
    assert row.baseline is not None
    assert row.estimate is not None
    assert row.estimate.value == pytest.approx(row.value.value - row.baseline.value)


def test_two_folders_are_compared_row_by_row_the_second_against_the_first(tmp_path: Path) -> None:
    write_board(tmp_path / "a")
    write_board(tmp_path / "b", World(rows={("dpo", "uniform"): 0.9, ("new", "uniform"): 0.6}))
    comparison = compared(tmp_path / "a", tmp_path / "b")
    (row,) = comparison.rows
    assert row.label == "dpo + uniform"
    assert row.estimate is not None
    assert astuple(row.estimate) == pytest.approx(astuple(crossed(gold(tmp_path / "b", "dpo") - gold(tmp_path / "a", "dpo"))))
    only_a = [f"{tmp_path / 'a'}: {label}" for label in ("dpo + random", "ipo + uniform", "sft")]
    assert sorted(comparison.unpaired) == sorted([*only_a, f"{tmp_path / 'b'}: new + uniform"])


def test_a_copy_of_a_run_is_identical_in_every_row(tmp_path: Path) -> None:
    write_board(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    comparison = compared(tmp_path / "a", tmp_path / "b")
    assert [row.notes for row in comparison.rows] == [(IDENTICAL,)] * 4


def test_a_row_that_was_set_differently_in_the_other_run_says_how(tmp_path: Path) -> None:
    write_board(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    folder = Folder(tmp_path / "b")
    for seed in range(3):
        path = folder.record_path(name_of(("dpo", "uniform", seed)))
        folder.write_record(
            path.stem, {**folder.read_record(path.stem), "method": {**folder.read_record(path.stem)["method"], "learning_rate": 0.5}}
        )
    assert row_of(compared(tmp_path / "a", tmp_path / "b"), "dpo + uniform").notes == (IDENTICAL, "method.learning_rate: 0.0001 -> 0.5")


def test_folders_without_a_shared_row_need_a_baseline(tmp_path: Path) -> None:
    write_board(tmp_path / "a", World(rows={("dpo", "uniform"): 0.6}))
    write_board(tmp_path / "b", World(rows={("ipo", "uniform"): 0.7}))
    with pytest.raises(PrefbenchError, match="share no row"):
        compared(tmp_path / "a", tmp_path / "b")
    comparison = compared(tmp_path / "a", tmp_path / "b", baseline="dpo")
    assert [row.label for row in comparison.rows] == ["ipo + uniform"]


def test_pooled_rows_of_one_name_carry_their_folders(tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_board(tmp_path / place, World(rows={("dpo", "uniform"): 0.6, ("sft", "-"): 0.5}))
    comparison = compared(tmp_path / "a", tmp_path / "b", baseline="dpo")
    assert comparison.against == f"{tmp_path / 'a'}: dpo + uniform"
    assert {row.label for row in comparison.rows} == {
        f"{tmp_path / p}: {r}" for p, r in (("a", "sft"), ("b", "sft"), ("b", "dpo + uniform"))
    }


@pytest.mark.parametrize(("baseline", "label"), [("dpo + random", "dpo + random"), ("sft", "sft"), ("ipo", "ipo + uniform")])
def test_the_baseline_is_a_label_or_a_method_with_uniform(tmp_path: Path, baseline: str, label: str) -> None:
    write_board(tmp_path)
    assert compared(tmp_path, baseline=baseline).against == label


def test_an_unknown_baseline_and_an_unknown_metric_get_the_nearest_name(tmp_path: Path) -> None:
    write_board(tmp_path)
    with pytest.raises(PrefbenchError, match="no row 'dpo \\+ randm'") as error:
        compared(tmp_path, baseline="dpo + randm")
    assert error.value.hint == "did you mean dpo + random?"
    with pytest.raises(PrefbenchError, match="no row 'dpoo'") as error:
        compared(tmp_path, baseline="dpoo")
    assert error.value.hint == "did you mean dpo?"
    with pytest.raises(PrefbenchError, match="no metric 'gold_winrate'") as error:
        compared(tmp_path, metric="gold_winrate")
    assert error.value.hint == "did you mean gold_win_rate?"


def test_a_folder_without_any_result_says_so(tmp_path: Path) -> None:
    write_diverged(write_board(tmp_path, World(rows={})), ("dpo", "uniform", 0))
    with pytest.raises(PrefbenchError, match="no metric to compare"):
        compared(tmp_path)


def test_a_row_without_a_result_is_last_and_gets_no_verdict(tmp_path: Path) -> None:
    write_diverged(write_board(tmp_path), ("simpo", "uniform", 0))
    comparison = compared(tmp_path)
    assert comparison.rows[-1].label == "simpo + uniform"
    assert comparison.rows[-1].verdict is None
    assert comparison.rows[-1].notes == (f"no result in {tmp_path}",)
    assert comparison.family == 3
    for format in ("table", "json"):
        assert rows_for(comparison, format)[-1]["verdict"] == "no decision"


def test_a_seed_that_one_row_lacks_is_left_out_and_said(tmp_path: Path) -> None:
    write_diverged(write_board(tmp_path), ("ipo", "uniform", 2))
    row = row_of(compared(tmp_path), "ipo + uniform")
    assert row.estimate is not None
    assert row.estimate.seeds == 2
    assert row.notes == ("2 of 3 seeds are in both",)


def test_one_seed_decides_nothing_however_large_the_difference(tmp_path: Path) -> None:
    write_board(tmp_path, World(rows={("dpo", "uniform"): 0.1, ("ipo", "uniform"): 0.9}, seeds=1))
    comparison = compared(tmp_path)
    (row,) = rows_for(comparison, "table")
    assert (row["verdict"], row["note"], row["seeds"]) == ("no decision", ONE_SEED, "1 (screening)")
    assert "corrected for 0" in title_of(comparison)


def test_other_calibrations_are_refused_for_what_is_fitted_with_them_alone(tmp_path: Path) -> None:
    write_board(tmp_path / "a")
    folder = write_board(tmp_path / "b")
    folder.write_artefact("duel", {"weight": {f"q{q}": 1.0 + q % 2 for q in range(40)}})
    for method in ("dpo", "ipo"):
        for seed in range(3):
            write_cell(folder, (method, "uniform", seed), folder.items(name_of((method, "uniform", seed))))
    with pytest.raises(PrefbenchError, match="calibrations that differ"):
        compared(tmp_path / "a", tmp_path / "b", metric="length_controlled_win_rate")
    assert compared(tmp_path / "a", tmp_path / "b", metric="win_rate").rows


def test_printed_rows_are_short_for_people_and_whole_for_machines(tmp_path: Path) -> None:
    write_board(tmp_path)
    comparison = compared(tmp_path)
    short, long = (next(row for row in rows_for(comparison, format) if row["row"] == "dpo + random") for format in ("md", "csv"))
    estimate = row_of(comparison, "dpo + random").estimate
    assert estimate is not None
    assert (short["seeds"], short["verdict"]) == ("3 (screening)", "no decision")
    assert float(str(short["detectable"])) == pytest.approx(100 * float(str(long["detectable"])), abs=0.06)
    half = stats.t.ppf(0.975, estimate.df) * estimate.se
    assert (long["low"], long["high"]) == pytest.approx((estimate.value - half, estimate.value + half))
    assert (long["against"], long["metric"], long["seeds"], long["questions"]) == ("dpo + uniform", "gold_win_rate", 3, 40)


def test_the_plot_of_the_differences_is_the_same_png_every_time(tmp_path: Path) -> None:
    write_diverged(write_board(tmp_path), ("simpo", "uniform", 0))
    first, second = (differences_forest(compared(tmp_path)) for _ in range(2))
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_a_metric_without_a_better_side_is_higher_or_lower(tmp_path: Path) -> None:
    write_board(tmp_path, World(rows={("dpo", "uniform"): 0.1, ("ipo", "uniform"): 0.9}, seeds=8))
    comparison = compared(tmp_path)
    (row,) = comparison.rows
    (kl,) = ordered(["kl"])
    assert (verdict_word(comparison.metric, row), verdict_word(kl, row)) == ("better", "higher")


def test_settings_of_a_trivial_row_compare_without_an_origin(tmp_path: Path) -> None:
    write_board(tmp_path / "a", World(rows={("sft", "-"): 0.5}))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert record(("sft", "-", 0), "done", {})["method"]["origin"] is None
    assert compared(tmp_path / "a", tmp_path / "b").rows[0].notes == (IDENTICAL,)
