"""The check of a board: a sound folder passes, and every kind of tampering is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefbench.identity import stage_key
from prefbench.report.board import render
from prefbench.report.check import check
from prefbench.report.problems import Problem
from prefbench.report.structure import ITEMS_LIMIT
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, Duel, name_of, write_board, write_cell, write_diverged

CELL = "dpo.uniform.s1"


@pytest.fixture
def sound(tmp_path: Path) -> Folder:
    """A rendered board with a diverged cell."""
    folder = write_board(tmp_path / "tiny")
    write_diverged(folder, ("ipo", "uniform", 3))
    render(folder.root, HARNESSES)
    return folder


def edit_record(folder: Folder, change: Callable[[dict[str, Any]], None], cell: str = CELL) -> None:
    """Someone who changes a record on purpose mends its seal as well."""
    record = folder.read_record(cell)
    change(record)
    folder.write_record(cell, record)


def problems(folder: Folder) -> list[Problem]:
    return check(folder.root, HARNESSES)


def only(folder: Folder) -> Problem:
    (problem,) = problems(folder)
    return problem


def test_a_sound_board_has_no_problems(sound: Folder) -> None:
    assert problems(sound) == []


def test_one_digit_of_board_csv(sound: Folder) -> None:
    path = sound.root / "board.csv"
    text = path.read_text()
    place = text.index("0.", text.index("\n"))
    path.write_text(text[: place + 2] + str((int(text[place + 2]) + 1) % 10) + text[place + 3 :])
    problem = only(sound)
    assert (problem.file, problem.what.split(",")[0]) == ("board.csv", "line 2")
    assert problem.expected != problem.found


def test_an_edited_page(sound: Folder) -> None:
    path = sound.root / "README.md"
    path.write_text(path.read_text().replace("ipo | uniform", "ipo | magical", 1))
    problem = only(sound)
    assert problem.file == "README.md"
    assert "uniform" in problem.expected
    assert "magical" in problem.found


@pytest.mark.parametrize("name", ["board.csv", "README.md", "forest.png"])
def test_a_file_that_is_not_there(sound: Folder, name: str) -> None:
    (sound.root / name).unlink()
    assert (only(sound).file, only(sound).found) == (name, "no file")


def test_a_changed_item(sound: Folder) -> None:
    items = sound.items(CELL)
    items[5]["preference"] = 1.0
    sound.write_items(CELL, items)
    problem = only(sound)
    assert (problem.file, problem.what) == (f"items/{CELL}.jsonl.gz", "sha256 of the lines")


def test_a_changed_item_whose_hash_was_changed_too(sound: Folder) -> None:
    items = sound.items(CELL)
    items[5]["preference"] = 1.0
    digest = sound.write_items(CELL, items)
    edit_record(sound, lambda record: record["result"].update(items_sha256=digest))
    assert {problem.what for problem in problems(sound)} == {"metrics.win_rate", "metrics.length_controlled_win_rate"}


def test_a_changed_metric_of_a_record(sound: Folder) -> None:
    edit_record(sound, lambda record: record["result"]["metrics"]["win_rate"].update(value=0.99))
    problem = only(sound)
    assert (problem.file, problem.what, problem.found) == (f"records/{CELL}.json", "metrics.win_rate", "0.99")


def test_a_metric_that_no_item_carries(sound: Folder) -> None:
    edit_record(sound, lambda record: record["result"]["metrics"].update(charm={"value": 1.0, "n": 40}))
    assert (only(sound).what, only(sound).expected) == ("metrics.charm", "none")


def test_counts_that_hide_missing_verdicts(sound: Folder) -> None:
    edit_record(sound, lambda record: record["result"]["counts"]["duel"].update(judged=41))
    assert only(sound).what == "counts"


def test_a_removed_artefact(sound: Folder) -> None:
    sound.artefact_path("duel").unlink()
    found = problems(sound)
    assert {problem.file for problem in found} == {"artefacts"}
    assert f"sha256 for {CELL}" in {problem.what for problem in found}


def test_a_changed_artefact(sound: Folder) -> None:
    numbers = sound.artefacts()["duel"]
    numbers["weight"]["q0"] = 50.0
    sound.write_artefact("duel", numbers)
    assert {problem.file for problem in problems(sound)} == {"artefacts"}


def test_removed_items(sound: Folder) -> None:
    sound.items_path(CELL).unlink()
    assert (only(sound).file, only(sound).found) == (f"items/{CELL}.jsonl.gz", "no file")


def test_a_removed_record_leaves_its_items_behind(sound: Folder) -> None:
    sound.record_path(CELL).unlink()
    assert (only(sound).file, only(sound).what) == (f"items/{CELL}.jsonl.gz", "record")


def test_items_too_large_for_a_repository(sound: Folder) -> None:
    noise = np.random.default_rng(0)
    items = [{**item, "note": noise.bytes(600).hex()} for item in sound.items(CELL)]
    sound.write_items(CELL, items)
    assert "size" in {problem.what for problem in problems(sound)}
    assert sound.items_path(CELL).stat().st_size > ITEMS_LIMIT


def test_a_truncated_items_file(sound: Folder) -> None:
    path = sound.items_path(CELL)
    path.write_bytes(path.read_bytes()[:-20])
    assert (only(sound).file, only(sound).what) == (f"items/{CELL}.jsonl.gz", "content")


def test_a_record_that_is_not_json(sound: Folder) -> None:
    sound.record_path(CELL).write_text("{")
    assert f"records/{CELL}.json" in {problem.file for problem in problems(sound)}


def test_a_record_that_was_changed_by_accident(sound: Folder) -> None:
    path = sound.record_path(CELL)
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    problem = only(sound)
    assert problem.file == f"records/{CELL}.json"
    assert "sha256" in problem.found


def test_a_record_with_a_hole(sound: Folder) -> None:
    edit_record(sound, lambda record: record.pop("keys"))
    assert (only(sound).file, only(sound).found) == (f"records/{CELL}.json", "KeyError: 'keys'")


def test_an_include_list_that_is_not_that_of_its_key(sound: Folder) -> None:
    edit_record(sound, lambda record: record["include"]["train"].update(seed=99))
    assert only(sound).what == "keys.train"


def test_keys_that_do_not_chain(sound: Folder) -> None:
    def forge(record: dict[str, Any]) -> None:
        record["include"]["train"]["seed"] = 99
        record["keys"]["train"] = stage_key("train", record["include"]["train"])

    edit_record(sound, forge)
    assert only(sound).what == "include.answer.train"


def test_settings_that_are_not_those_of_the_keys(sound: Folder) -> None:
    edit_record(sound, lambda record: record["method"].update(options={"beta": 0.1}))
    assert only(sound).what == "method.options"


def test_a_record_of_another_version_of_the_track(sound: Folder) -> None:
    edit_record(sound, lambda record: record["track"].update(version=3))
    assert (only(sound).what, only(sound).expected, only(sound).found) == ("track.version", "2", "3")


def test_a_record_under_the_name_of_another_cell(sound: Folder) -> None:
    path = sound.record_path(CELL)
    path.rename(path.with_name("dpo.uniform.s7.json"))
    sound.items_path(CELL).rename(sound.items_path("dpo.uniform.s7"))
    assert (only(sound).file, only(sound).expected) == ("records/dpo.uniform.s7.json", "dpo.uniform.s7")


def test_seeds_of_one_row_with_different_settings(sound: Folder) -> None:
    def other_beta(record: dict[str, Any]) -> None:
        record["method"]["options"] = record["include"]["train"]["objective"]["options"] = {"beta": 0.1}
        chain(record)

    edit_record(sound, other_beta)
    render(sound.root, HARNESSES)
    assert [problem.what for problem in problems(sound)] == ["method, as in the row's other seeds"]


def chain(record: dict[str, Any]) -> None:
    """The keys that follow from what a record includes."""
    for before, stage in ((None, "train"), ("train", "answer"), ("answer", "judge"), ("judge", "score")):
        if before:
            record["include"][stage][before] = record["keys"][before]
        record["keys"][stage] = stage_key(stage, record["include"][stage])


@dataclass
class CarefulDuel(Duel):
    """The harness of a later version, which has an option more."""

    patience: int = 1


def with_options(folder: Folder, options: dict[str, Any], cell: str) -> None:
    """Let a cell's record say that the harness had these options."""

    def change(record: dict[str, Any]) -> None:
        record["include"]["answer"]["harnesses"] = {"duel": {"name": "duel", "options": options}}
        chain(record)

    edit_record(folder, change, cell)


def test_a_cell_that_was_run_with_another_setting_than_the_others(sound: Folder) -> None:
    for cell in sound.records():
        with_options(sound, {"patience": 2 if cell == CELL else 1}, cell)
    render(sound.root, HARNESSES)
    found = [problem for problem in problems(sound) if problem.what == "rules"]
    assert [(problem.file, problem.found) for problem in found] == [(f"records/{CELL}.json", "harness.duel.patience: 1 -> 2")]


@pytest.mark.parametrize(("patience", "fits"), [(1, True), (2, False)])
def test_a_row_of_a_later_version_fits_a_board_whose_records_do_not_know_an_option(sound: Folder, patience: int, fits: bool) -> None:
    for cell in sound.records():
        with_options(sound, {"patience": patience} if cell == CELL else {}, cell)
    render(sound.root, HARNESSES)
    found = check(sound.root, {"duel": CarefulDuel()})
    assert {problem.what for problem in found} == (set() if fits else {"rules"})


def test_a_folder_that_is_no_board(tmp_path: Path) -> None:
    assert {problem.file for problem in check(tmp_path, HARNESSES)} == {"track.toml", "records"}


def test_a_new_cell_needs_a_new_rendering(sound: Folder) -> None:
    items = sound.items(CELL)
    write_cell(sound, ("dpo", "uniform", 3), items)
    assert {problem.file for problem in problems(sound)} == {"board.csv", "README.md"}
    render(sound.root, HARNESSES)
    assert problems(sound) == []
    assert name_of(("dpo", "uniform", 3)) in sound.records()


def test_a_mode_that_is_none(sound: Folder) -> None:
    edit_record(sound, lambda record: record.update(mode="blessed"))
    assert (only(sound).what, only(sound).found) == ("mode", "'blessed'")


@pytest.mark.parametrize("change", [{"was": "0" * 64, "reason": " "}, {"was": "before", "reason": "why"}, {"reason": "why"}])
def test_a_change_without_a_reason_or_without_what_was_there(sound: Folder, change: dict[str, str]) -> None:
    edit_record(sound, lambda record: record.update(changes=[change]))
    assert (only(sound).file, only(sound).what) == (f"records/{CELL}.json", "changes")
