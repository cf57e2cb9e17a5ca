"""Boards with conditions: rows under each, compared with the baseline of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from prefbench.identity import stage_key
from prefbench.plan import STAGES
from prefbench.report.board import board_csv, render
from prefbench.report.check import check
from prefbench.report.comparison import compare
from prefbench.report.evidence import read_evidence
from prefbench.report.page import page
from prefbench.report.rows import build
from prefbench.report.rules import differing_rules
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, World, write_board

CONDITIONS = "\n[conditions.clean]\n[conditions.noisy]\nsource = { noise = 0.2 }\n"
NOISY = {("dpo", "uniform"): 0.4, ("ipo", "uniform"): 0.55}
CLEAN = {("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.65}


def conditioned(root: Path) -> Folder:
    """A board of two rows under two conditions, and sft under none."""
    folder = write_board(root, World(rows={("sft", "-"): 0.5}))
    for label, rows in (("clean", CLEAN), ("noisy", NOISY)):
        other = write_board(root.parent / label, World(rows=rows))
        for cell, record in other.records().items():
            name = cell.replace(".s", f".{label}.s")
            shutil.copy(other.items_path(cell), folder.items_path(name))
            folder.write_record(name, under(record, name, label))
    folder.track.write_text(folder.track.read_text() + CONDITIONS)
    return folder


def under(record: dict[str, Any], name: str, label: str) -> dict[str, Any]:
    """The record as a run under a condition writes it, its source the condition's."""
    include = json.loads(json.dumps(record["include"]))
    include["train"]["source"] = {"noise": 0.2 if label == "noisy" else 0.0}
    keys: dict[str, str] = {}
    for before, stage in zip((None, *STAGES), STAGES, strict=False):
        include[stage] |= {before: keys[before]} if before else {}
        keys[stage] = stage_key(stage, include[stage])
    return {**record, "cell": name, "condition": {"label": label}, "include": include, "keys": keys}


def test_rows_stand_under_their_conditions_and_are_ranked_within_them(tmp_path: Path) -> None:
    board = build(read_evidence(conditioned(tmp_path / "board").root, HARNESSES))
    labels = ["ipo + uniform, clean", "dpo + uniform, clean", "ipo + uniform, noisy", "dpo + uniform, noisy", "sft"]
    assert [row.label for row in board.rows] == labels
    assert "condition" in board_csv(board).splitlines()[0]
    assert "| noisy | ipo | uniform | 3 (screening) |" in page(board)
    assert "- condition noisy: pairs with noise=0.2" in page(board)


def test_a_row_is_compared_with_the_baseline_under_its_own_condition(tmp_path: Path) -> None:
    folder = conditioned(tmp_path / "board").root
    rows = {row.label: row for row in build(read_evidence(folder, HARNESSES)).rows}
    assert 0.0 < rows["ipo + uniform, clean"].versus["gold_win_rate"].value < 0.1
    assert 0.1 < rows["ipo + uniform, noisy"].versus["gold_win_rate"].value < 0.2
    assert rows["sft"].versus == {}
    found = compare({folder: read_evidence(folder, HARNESSES)})
    assert [(row.label, row.against) for row in found.rows] == [
        ("ipo + uniform, clean", "dpo + uniform, clean"),
        ("ipo + uniform, noisy", "dpo + uniform, noisy"),
    ]
    assert found.unpaired == ("sft",)


def test_a_baseline_that_is_named_with_its_condition_is_that_of_all(tmp_path: Path) -> None:
    folder = conditioned(tmp_path / "board").root
    found = compare({folder: read_evidence(folder, HARNESSES)}, baseline="dpo + uniform, clean")
    assert {row.against for row in found.rows} == {"dpo + uniform, clean"}
    assert len(found.rows) == 4


def test_such_a_board_passes_its_check(tmp_path: Path) -> None:
    folder = conditioned(tmp_path / "board")
    render(folder.root, HARNESSES)
    assert [str(problem) for problem in check(folder.root, HARNESSES) if problem.file != "."] == []


def test_cells_of_one_condition_with_different_pairs_are_a_problem(tmp_path: Path) -> None:
    """Under different conditions pairs differ; under one they may not."""
    folder = conditioned(tmp_path / "board")
    record = folder.read_record("ipo.uniform.clean.s1")
    record["condition"] = {"label": "noisy"}
    folder.write_record("ipo.uniform.noisy.s1", {**record, "cell": "ipo.uniform.noisy.s1"})
    shutil.copy(folder.items_path("ipo.uniform.clean.s1"), folder.items_path("ipo.uniform.noisy.s1"))
    render(folder.root, HARNESSES)
    assert any("source under noisy.noise" in str(problem) for problem in check(folder.root, HARNESSES))


def test_folders_are_compared_by_the_conditions_that_both_have(tmp_path: Path) -> None:
    whole, part = conditioned(tmp_path / "board"), conditioned(tmp_path / "other")
    for path in (part.root / "records").glob("*.clean.*"):
        path.unlink()
    (part.root / "records" / "sft.-.s0.json").unlink()
    assert differing_rules(whole, part) == []
