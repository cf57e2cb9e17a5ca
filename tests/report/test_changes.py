"""What changed on a board since a commit of a real repository: every change is a row, and the silent ones are refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from prefbench.errors import PrefbenchError
from prefbench.report.board import render
from prefbench.report.changes import FORGOTTEN, NO_REASON, NO_VERSION, REMOVED, Change, changes_since
from prefbench.report.submission import Submission, add
from prefbench.store.files import write_json, write_text
from prefbench.store.folder import Folder
from prefbench.store.sealed import sealed
from tests.report.synthetic import HARNESSES, write_board, write_cell, write_diverged

CELL = "dpo.uniform.s0"


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def commit(board: Folder) -> None:
    git(board.root.parents[1], "add", "-A")
    git(board.root.parents[1], "commit", "-q", "-m", "boards")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A rendered board, committed."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    folder = write_board(tmp_path / "repository" / "leaderboards" / "tiny")
    render(folder.root, HARNESSES)
    git(tmp_path, "init", "-q", "repository")
    commit(folder)
    return folder


def since(board: Folder, ref: str = "HEAD") -> list[Change]:
    return changes_since(board.root, ref)


def judge_anew(folder: Folder, preference: float = 1.0) -> None:
    items = folder.items(CELL)
    write_cell(folder, ("dpo", "uniform", 0), [{**items[0], "preference": preference}, *items[1:]])


def edit(board: Folder, change: dict[str, Any]) -> None:
    board.write_record(CELL, {**board.read_record(CELL), **change})


def test_a_board_as_committed_has_no_changes(board: Folder) -> None:
    assert since(board) == []


def test_a_changed_result_without_a_reason_is_refused_with_what_it_was_and_is(board: Folder) -> None:
    before = board.read_record(CELL)["result"]["metrics"]["win_rate"]["value"]
    first = board.items(CELL)[0]["preference"]
    judge_anew(board)
    changed = {change.what: change for change in since(board)}
    assert changed.keys() == {"win_rate", "length_controlled_win_rate"}
    assert (changed["win_rate"].name, changed["win_rate"].before, changed["win_rate"].refused) == (CELL, before, NO_REASON)
    assert changed["win_rate"].after == pytest.approx(before + (1.0 - first) / 40)


def test_a_changed_result_with_a_reason_is_shown_with_it(board: Folder) -> None:
    run = write_board(board.root.parents[2] / "run")
    judge_anew(run)
    add(Submission(run, board, reason="a verdict was mistyped"), HARNESSES)
    assert {(change.reason, change.refused) for change in since(board) if change.change == "changed"} == {("a verdict was mistyped", "")}


def test_the_reason_of_an_earlier_change_excuses_no_later_one(board: Folder) -> None:
    run = write_board(board.root.parents[2] / "run")
    judge_anew(run)
    add(Submission(run, board, reason="a verdict was mistyped"), HARNESSES)
    commit(board)
    changes = board.read_record(CELL)["changes"]
    judge_anew(board, 0.0)
    edit(board, {"changes": changes})
    assert {change.refused for change in since(board)} == {NO_REASON}
    assert {change.refused for change in since(board, "HEAD~1")} == {""}


def test_reasons_that_were_stated_cannot_be_taken_back(board: Folder) -> None:
    edit(board, {"changes": [{"was": "0" * 64, "reason": "once"}]})
    commit(board)
    edit(board, {"changes": []})
    assert [(change.what, change.refused) for change in since(board)] == [("changes", FORGOTTEN)]


def test_a_changed_hash_alone_is_a_changed_result(board: Folder) -> None:
    result = board.read_record(CELL)["result"]
    edit(board, {"result": {**result, "weights_sha256": "00"}})
    assert since(board) == [Change("changed", CELL, "the result's weights_sha256", refused=NO_REASON)]


def test_a_result_that_became_a_divergence_is_a_change(board: Folder) -> None:
    write_diverged(board, ("dpo", "uniform", 0))
    (status,) = [change for change in since(board) if change.what == "status"]
    assert (status.before, status.after, status.refused) == ("done", "diverged", NO_REASON)


def test_a_record_that_is_gone_is_refused(board: Folder) -> None:
    board.record_path(CELL).unlink()
    assert since(board) == [Change("removed", CELL, "record", refused=REMOVED)]


def test_a_board_that_is_gone_is_refused_record_by_record(board: Folder) -> None:
    git(board.root, "rm", "-rq", ".")
    assert not board.root.exists()
    removed = since(board)
    assert len(removed) == 12
    assert {change.refused for change in removed} == {REMOVED}


def test_new_cells_and_moved_rows_are_shown_and_allowed(board: Folder) -> None:
    items = [{**item, "gold": 1.0} for item in board.items(CELL)]
    write_cell(board, ("new", "uniform", 0), items)
    render(board.root, HARNESSES)
    found = since(board)
    assert found[0] == Change("added", "new.uniform.s0", "record", after="reproduced")
    moved = [(change.name, change.before, change.after) for change in found if change.change == "moved"]
    assert moved == [("ipo + uniform", 1, 2), ("dpo + uniform", 2, 3), ("dpo + random", 3, 4), ("sft", 4, 5)]
    assert not any(change.refused for change in found)


def test_other_clocks_and_another_mode_are_shown_and_allowed(board: Folder) -> None:
    edit(board, {"clocks": {"train": 9.0}, "mode": "submitted"})
    assert since(board) == [
        Change("changed", CELL, "mode", "reproduced", "submitted"),
        Change("changed", CELL, "the record's clocks"),
    ]


def test_rules_do_not_change_within_a_version(board: Folder) -> None:
    write_text(board.track, board.track.read_text().replace("steps = 10", "steps = 20"))
    assert since(board) == [Change("changed", "track.toml", "train.steps: 10 -> 20", refused=NO_VERSION)]


def test_the_rows_that_a_track_runs_are_not_its_rules(board: Folder) -> None:
    write_text(board.track, board.track.read_text() + "\n[methods.mine]\nbeta = 0.1\n")
    assert since(board) == []


def test_a_new_version_begins_anew(board: Folder) -> None:
    write_text(board.track, board.track.read_text().replace("steps = 10", "steps = 20").replace("version = 2", "version = 3"))
    board.record_path(CELL).unlink()
    found = since(board)
    assert [change.what for change in found] == ["track.version: 2 -> 3", "train.steps: 10 -> 20", "record"]
    assert not any(change.refused for change in found)


def test_a_lower_version_is_no_new_one(board: Folder) -> None:
    write_text(board.track, board.track.read_text().replace("version = 2", "version = 1"))
    assert [change.refused for change in since(board)] == [NO_VERSION]


def test_a_record_that_was_damaged_may_be_mended(board: Folder) -> None:
    whole = board.record_path(CELL).read_bytes()
    board.record_path(CELL).write_bytes(whole[:-30])
    commit(board)
    board.record_path(CELL).write_bytes(whole)
    assert since(board) == [Change("added", CELL, "record", after="reproduced")]


def test_a_record_of_an_older_schema_is_the_same_record(board: Folder) -> None:
    present = board.read_record(CELL)
    older = {key: value for key, value in present.items() if key != "mode"}
    write_json(board.record_path(CELL), {**older, "schema": 1})
    commit(board)
    write_json(board.record_path(CELL), sealed(present))
    assert since(board) == []


def test_a_folder_without_records_now_and_then_is_an_error(board: Folder) -> None:
    with pytest.raises(PrefbenchError, match="holds no records, neither now nor at HEAD"):
        changes_since(board.root.with_name("nothing"), "HEAD")
