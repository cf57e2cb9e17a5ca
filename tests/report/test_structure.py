"""What lies in a board folder, and how much: strays are named, what git ignores does not count, and a run folder may keep more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prefbench.report import structure as module
from prefbench.report.board import render
from prefbench.report.check import check
from prefbench.report.structure import is_board
from prefbench.store.files import write_text
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, write_board


@pytest.fixture
def board(tmp_path: Path) -> Folder:
    folder = write_board(tmp_path / "leaderboards" / "tiny")
    render(folder.root, HARNESSES)
    return folder


def strays(folder: Folder) -> list[str]:
    return [problem.file for problem in check(folder.root, HARNESSES)]


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("cells/dpo.uniform.s0/policy/model.safetensors", "cells/"),
        ("logs/calibrate.log", "logs/"),
        ("choices.json", "choices.json"),
        ("records/notes.txt", "records/notes.txt"),
        ("records/old/dpo.uniform.s0.json", "records/old/dpo.uniform.s0.json"),
        ("items/dpo.uniform.s0.jsonl", "items/dpo.uniform.s0.jsonl"),
        ("records/.dpo.uniform.s0.json.x.partial", "records/.dpo.uniform.s0.json.x.partial"),
        ("weights.bin", "weights.bin"),
    ],
)
def test_a_file_that_no_board_has_is_named(board: Folder, file: str, named: str) -> None:
    write_text(board.root / file, "{}")
    assert strays(board) == [named]


def test_a_folder_of_strays_is_one_problem(board: Folder) -> None:
    for number in range(3):
        write_text(board.root / "cells" / f"{number}.json", "{}")
    assert strays(board) == ["cells/"]


@pytest.mark.parametrize("file", ["prepare.py", "mt_bench_prompts.jsonl"])
def test_scripts_that_make_a_tracks_data_and_its_judges_prompts_belong_to_it(board: Folder, file: str) -> None:
    write_text(board.root / file, "")
    assert strays(board) == []


def test_what_its_judge_is_asked_belongs_to_a_track_and_other_texts_do_not(board: Folder) -> None:
    write_text(board.root / "mt_bench_prompts.jsonl", "{}")
    write_text(board.root / "pairs.jsonl", "{}")
    assert strays(board) == ["pairs.jsonl"]


def test_a_run_folder_keeps_what_it_goes_on_with(tmp_path: Path) -> None:
    run = write_board(tmp_path / "runs" / "tiny")
    render(run.root, HARNESSES)
    write_text(run.choices, "{}")
    write_text(run.cell("dpo.uniform.s0") / "train.json", "{}")
    assert not is_board(run.root)
    assert strays(run) == []


def test_what_git_ignores_is_no_part_of_a_board(board: Folder) -> None:
    subprocess.run(["git", "init", "-q", board.root.parents[1]], check=True)
    write_text(board.root.parents[1] / ".gitignore", "data/\n")
    write_text(board.root / "data" / "pairs.jsonl", "{}")
    write_text(board.root / "stray", "")
    assert strays(board) == ["stray"]


def test_a_board_too_large_for_a_repository(board: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(path.stat().st_size for path in board.root.rglob("*") if path.is_file())
    monkeypatch.setattr(module, "BOARD_LIMIT", size)
    assert strays(board) == []
    monkeypatch.setattr(module, "BOARD_LIMIT", size - 1)
    (problem,) = check(board.root, HARNESSES)
    assert (problem.what, problem.found) == ("size of all files", f"{size} bytes")
