"""Results brought to a board: what is added, what is left as it is, and everything that is refused before a byte is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefbench.errors import PrefbenchError
from prefbench.identity import stage_key
from prefbench.plan import STAGES
from prefbench.report.board import render
from prefbench.report.check import check
from prefbench.report.outcome import outcome
from prefbench.report.submission import Added, Submission, add
from prefbench.store.files import write_text
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, World, name_of, record, write_board, write_cell, write_diverged

CELL, DIVERGED = "dpo.uniform.s0", "ipo.uniform.s3"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run as it is left: never rendered, with a diverged cell and a failed one."""
    folder = write_board(tmp_path / "run")
    write_diverged(folder, ("ipo", "uniform", 3))
    error = {"type": "ValueError", "message": "no", "frames": [], "log": None}
    folder.write_record("hinge.uniform.s0", {**record(("hinge", "uniform", 0), "failed", {}), "error": error})
    return folder


@pytest.fixture
def board(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "leaderboards" / "tiny")


def bring(run: Folder, board: Folder, mode: str = "reproduced", reason: str = "") -> Added:
    return add(Submission(run, board, mode, reason), HARNESSES)


def bytes_of(folder: Folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}


def refusal(run: Folder, board: Folder, **options: str) -> str:
    """The message of a refusal, which leaves the board as it is."""
    before = bytes_of(board)
    with pytest.raises(PrefbenchError) as caught:
        bring(run, board, **options)
    assert bytes_of(board) == before
    return str(caught.value)


def judge_anew(folder: Folder, preference: float, cell: tuple[str, str, int] = ("dpo", "uniform", 0)) -> None:
    """The same cell with another verdict on its first question."""
    items = folder.items(name_of(cell))
    write_cell(folder, cell, [{**items[0], "preference": preference}, *items[1:]])


def change_rekeyed(folder: Folder, cell: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a record's keys include, and mend the keys."""
    found = folder.read_record(cell)
    change(found)
    for position, stage in enumerate(STAGES):
        if position:
            found["include"][stage][STAGES[position - 1]] = found["keys"][STAGES[position - 1]]
        found["keys"][stage] = stage_key(stage, found["include"][stage])
    folder.write_record(cell, found)


# ---------------------------------------------------------------- adding


def test_a_new_board_gets_the_finished_cells_and_passes_its_check(run: Folder, board: Folder) -> None:
    added = bring(run, board)
    assert len(added.actions) == 13
    assert set(added.actions.values()) == {"added"}
    assert added.left_out == {"hinge.uniform.s0": "failed"}
    assert check(board.root, HARNESSES) == []
    assert board.records()[CELL] == run.records()[CELL]
    assert DIVERGED in board.records()


def test_what_a_run_keeps_to_go_on_stays_with_it(run: Folder, board: Folder) -> None:
    write_text(run.cell(CELL) / "train.json", "{}")
    write_text(run.log_path("calibrate"), "")
    bring(run, board)
    parts = {"track.toml", "records", "items", "artefacts", "board.csv", "README.md", "forest.png"}
    assert {path.name for path in board.root.iterdir()} == parts


def test_the_same_run_once_more_changes_no_byte(run: Folder, board: Folder) -> None:
    bring(run, board)
    board.root.joinpath("forest.png").write_bytes(b"the same numbers drawn by another version")
    before = bytes_of(board)
    assert set(bring(run, board, reason="again").actions.values()) == {"left"}
    assert bytes_of(board) == before


def test_other_clocks_are_no_other_result(run: Folder, board: Folder) -> None:
    bring(run, board)
    run.write_record(CELL, {**run.read_record(CELL), "clocks": {"train": 99.0}})
    assert bring(run, board).actions[CELL] == "left"
    assert board.read_record(CELL)["clocks"] == {"train": 2.0, "answer": 1.0}


def test_a_further_seed_joins_its_row(run: Folder, board: Folder) -> None:
    bring(run, board)
    write_cell(run, ("dpo", "uniform", 3), run.items(CELL))
    actions = bring(run, board).actions
    assert [cell for cell, action in actions.items() if action == "added"] == ["dpo.uniform.s3"]
    assert "dpo,uniform,4,reproduced" in (board.root / "board.csv").read_text()


def test_an_attempt_that_was_cut_short_is_mended_by_the_next(run: Folder, board: Folder) -> None:
    bring(run, board)
    whole = bytes_of(board)
    board.record_path(CELL).unlink()
    (board.root / "board.csv").unlink()
    bring(run, board)
    assert bytes_of(board) == whole


# ---------------------------------------------------------------- replacing


def test_another_result_needs_a_reason(run: Folder, board: Folder) -> None:
    bring(run, board)
    judge_anew(run, 1.0)
    assert refusal(run, board).endswith(f"has another result for {CELL}")
    assert refusal(run, board, reason=" \n") == refusal(run, board)


def test_the_reasons_stand_in_the_record_with_what_was_there_before(run: Folder, board: Folder) -> None:
    bring(run, board)
    first = outcome(board.read_record(CELL))
    judge_anew(run, 1.0)
    assert bring(run, board, reason="a verdict was\nmistyped").actions[CELL] == "changed"
    second = outcome(board.read_record(CELL))
    judge_anew(run, 0.25)
    bring(run, board, reason="and mistyped again")
    stated = [{"was": first, "reason": "a verdict was mistyped"}, {"was": second, "reason": "and mistyped again"}]
    assert board.read_record(CELL)["changes"] == stated
    assert check(board.root, HARNESSES) == []


def test_a_cell_that_diverges_now_leaves_no_items_behind(run: Folder, board: Folder) -> None:
    bring(run, board)
    write_diverged(run, ("dpo", "uniform", 0))
    run.items_path(CELL).unlink()
    assert bring(run, board, reason="the loss bound was ignored").actions[CELL] == "changed"
    assert not board.items_path(CELL).exists()
    assert check(board.root, HARNESSES) == []


def test_the_same_result_under_new_keys_is_renewed_without_a_reason(run: Folder, board: Folder) -> None:
    world = World(rows={("dpo", "uniform"): 0.6}, seeds=1)
    shutil.rmtree(run.root)
    run = write_board(run.root, world)
    bring(run, board)
    change_rekeyed(run, CELL, lambda found: found["include"]["train"].update(packages="newer"))
    assert bring(run, board).actions == {CELL: "renewed"}
    assert board.read_record(CELL)["keys"] == run.read_record(CELL)["keys"]


# ---------------------------------------------------------------- who ran it


def test_submitted_cells_say_so_wherever_their_row_is_shown(run: Folder, board: Folder) -> None:
    write_cell(run, ("dpo", "uniform", 3), run.items(CELL))
    own, other = Folder(run.root.with_name("own")), Folder(run.root.with_name("other"))
    for folder, cells in ((own, [CELL]), (other, ["dpo.uniform.s3", "sft.-.s0"])):
        shutil.copytree(run.root, folder.root)
        for cell in run.records():
            if cell not in cells:
                folder.record_path(cell).unlink()
                folder.items_path(cell).unlink(missing_ok=True)
    bring(own, board)
    assert "ubmitted" not in (board.root / "README.md").read_text()
    bring(other, board, mode="submitted")
    text, table = (board.root / "README.md").read_text(), (board.root / "board.csv").read_text()
    assert "dpo,uniform,2,mixed," in table
    assert "sft,-,1,submitted," in table
    assert "| dpo | uniform | 2 (screening) | mixed |" in text
    assert "dpo + uniform: s3 submitted." in text


def test_a_submitted_result_that_is_reproduced_is_marked_so_and_never_back(run: Folder, board: Folder) -> None:
    bring(run, board, mode="submitted")
    assert board.read_record(CELL)["mode"] == "submitted"
    assert set(bring(run, board).actions.values()) == {"renewed"}
    assert board.read_record(CELL)["mode"] == "reproduced"
    assert set(bring(run, board, mode="submitted").actions.values()) == {"left"}
    assert board.read_record(CELL)["mode"] == "reproduced"


def test_another_board_cannot_launder_what_was_submitted_to_it(run: Folder, board: Folder) -> None:
    first = Folder(board.root.with_name("first"))
    bring(run, first, mode="submitted")
    bring(first, board)
    assert {found["mode"] for found in board.records().values()} == {"submitted"}


def test_a_submitted_result_does_not_replace_a_reproduced_one(run: Folder, board: Folder) -> None:
    bring(run, board)
    judge_anew(run, 1.0)
    assert "which a submitted one does not replace" in refusal(run, board, mode="submitted", reason="ours is better")


# ---------------------------------------------------------------- refusals


def test_a_run_that_fails_the_check_is_refused_with_its_first_problem(run: Folder, board: Folder) -> None:
    items = run.items(CELL)
    run.write_items(CELL, [{**items[0], "preference": 1.0}, *items[1:]])
    message = refusal(run, board)
    assert "does not pass the check" in message
    assert f"items/{CELL}.jsonl.gz: sha256 of the lines" in message
    assert not board.root.exists()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("version = 2", "version = 3", "track.version: 2 -> 3"),
        ('name = "tiny"', 'name = "other"', "track.name: 'tiny' -> 'other'"),
        ("steps = 10", "steps = 20", "train.steps: 10 -> 20"),
    ],
)
def test_other_rules_are_refused_by_name(run: Folder, board: Folder, old: str, new: str, rule: str) -> None:
    bring(run, board)
    write_text(run.track, run.track.read_text().replace(old, new))
    assert rule in refusal(run, board)


def test_a_track_file_with_further_rows_and_seeds_has_the_same_rules(run: Folder, board: Folder) -> None:
    bring(run, board)
    before = board.track.read_bytes()
    write_text(run.track, run.track.read_text().replace("[0, 1, 2]", "[0, 1, 2, 3]") + "\n[methods.mine]\nbeta = 0.1\n")
    bring(run, board)
    assert board.track.read_bytes() == before


def test_cells_that_saw_other_pairs_are_refused_whatever_their_track_file_says(run: Folder, board: Folder) -> None:
    for cell in run.records():
        change_rekeyed(run, cell, lambda found: found["include"]["train"].update(source={"pairs": "those"}))
    bring(run, board)
    other = Folder(run.root.with_name("other"))
    shutil.copytree(run.root / "artefacts", other.root / "artefacts")
    write_text(other.track, run.track.read_text())
    write_cell(other, ("ipo", "uniform", 5), run.items(CELL))
    change_rekeyed(other, "ipo.uniform.s5", lambda found: found["include"]["train"].update(source={"pairs": "others"}))
    message = refusal(other, board)
    assert "was run under other rules" in message
    assert "source.pairs: 'those' -> 'others'" in message


def test_other_artefacts_are_refused(run: Folder, board: Folder, tmp_path: Path) -> None:
    bring(run, board)
    other = write_board(tmp_path / "other", World(questions=41))
    assert "the artefacts of duel are not those of" in refusal(other, board)


def test_a_board_is_replaced_as_a_whole_for_a_reason_whatever_its_cells_had_in_common(run: Folder, board: Folder, tmp_path: Path) -> None:
    """As when the core computes otherwise than before: other artefacts, other settings in every record, and the reason in each."""
    bring(run, board)
    before = board.records()
    anew = write_board(tmp_path / "anew", World(questions=41))
    write_diverged(anew, ("ipo", "uniform", 3))
    assert "the artefacts of duel" in refusal(anew, board)
    bring(anew, board, reason="the core computes otherwise")
    assert check(board.root, HARNESSES) == []
    assert board.artefacts() == anew.artefacts()
    changed = [cell for cell, found in board.records().items() if outcome(found) != outcome(before[cell])]
    assert changed
    assert all(board.records()[cell]["changes"][-1]["reason"] == "the core computes otherwise" for cell in changed)


def test_a_board_is_not_replaced_by_a_run_that_lacks_one_of_its_cells(run: Folder, board: Folder, tmp_path: Path) -> None:
    bring(run, board)
    fewer = write_board(tmp_path / "fewer", World(questions=41))  # the diverged cell is missing
    assert "the artefacts of duel" in refusal(fewer, board, reason="the core computes otherwise")


def test_another_beta_under_the_label_of_a_row_is_refused(run: Folder, board: Folder) -> None:
    render(run.root, HARNESSES)
    bring(run, board)
    write_cell(run, ("dpo", "uniform", 3), run.items(CELL))

    def other_beta(found: dict[str, Any]) -> None:
        found["method"]["options"] = found["include"]["train"]["objective"]["options"] = {"beta": 0.1}

    for cell in run.records():
        if cell != "dpo.uniform.s3":
            run.record_path(cell).unlink()
            run.items_path(cell).unlink(missing_ok=True)
    change_rekeyed(run, "dpo.uniform.s3", other_beta)
    assert "method, as in the row's other seeds" in refusal(run, board)
