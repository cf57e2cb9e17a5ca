"""Folders that follow other rules are not compared, and the rule that differs is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.report.rules import differing_rules, refuse_other_rules
from prefbench.store.files import write_text
from prefbench.store.folder import Folder
from tests.report.synthetic import TRACK, write_board


def folders(tmp_path: Path, second_track: str) -> list[Path]:
    write_board(tmp_path / "a")
    write_text(write_board(tmp_path / "b").track, second_track)
    return [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("rule", "edited", "named"),
    [
        ('name = "tiny"', 'name = "large"', "track.name: 'tiny' -> 'large'"),
        ("version = 2", "version = 3", "track.version: 2 -> 3"),
        ("steps = 10", "steps = 20", "train.steps: 10 -> 20"),
        ('name = "duel"', 'name = "duel"\ntemperature = 0.5', "harness.duel.temperature: None -> 0.5"),
        ('name = "nowhere"', 'name = "elsewhere"', "source.name: 'nowhere' -> 'elsewhere'"),
        ('tuning = "pre-tuned"', 'tuning = "on the test set"', "track.tuning: 'pre-tuned' -> 'on the test set'"),
        ('seed_varies = ["order", "sampling"]', 'seed_varies = ["order"]', "track.seed_varies: ['order', 'sampling'] -> ['order']"),
    ],
)
def test_a_rule_that_differs_is_named_with_both_values(tmp_path: Path, rule: str, edited: str, named: str) -> None:
    assert rule in TRACK
    with pytest.raises(PrefbenchError) as error:
        refuse_other_rules(folders(tmp_path, TRACK.replace(rule, edited)))
    assert named in str(error.value)
    assert error.value.exit_code == 2


def test_name_and_version_come_first(tmp_path: Path) -> None:
    edited = TRACK.replace("version = 2", "version = 3").replace("steps = 10", "steps = 20")
    with pytest.raises(PrefbenchError, match=r"rules: track\.version: 2 -> 3; train\.steps: 10 -> 20$"):
        refuse_other_rules(folders(tmp_path, edited))


def test_seeds_rows_and_words_are_no_rules(tmp_path: Path) -> None:
    edited = TRACK.replace("seeds = [0, 1, 2]", "seeds = [7]").replace("Forty questions.", "40 questions.")
    first, second = folders(tmp_path, f'{edited}\n[methods.dpo]\nbeta = 0.2\n[[grid]]\nmethods = ["dpo"]\n[trivial]\nrows = ["base"]\n')
    assert first.joinpath("track.toml").read_text() != second.joinpath("track.toml").read_text()
    assert differing_rules(Folder(first), Folder(second)) == []


def test_other_data_under_the_same_track_is_refused(tmp_path: Path) -> None:
    paths = folders(tmp_path, TRACK)
    for path, pairs in zip(paths, ("00", "ff"), strict=True):
        folder = Folder(path)
        for cell, record in folder.records().items():
            train = {**record["include"]["train"], "source": {"name": "nowhere", "identity": {"sha256": {"pairs_file": pairs}}}}
            folder.write_record(cell, {**record, "include": {**record["include"], "train": train}})
    with pytest.raises(PrefbenchError, match=r"source\.identity\.sha256\.pairs_file: '00' -> 'ff'"):
        refuse_other_rules(paths)


def test_where_the_same_data_lie_is_no_rule(tmp_path: Path) -> None:
    paths = folders(tmp_path, TRACK.replace('name = "nowhere"', 'name = "nowhere"\npairs_file = "/elsewhere/pairs.jsonl"'))
    for path in paths:
        folder = Folder(path)
        for cell, record in folder.records().items():
            train = {**record["include"]["train"], "source": {"name": "nowhere", "identity": {}}}
            folder.write_record(cell, {**record, "include": {**record["include"], "train": train}})
    assert differing_rules(*map(Folder, paths)) == []


def asked(path: Path, questions: str, judge: str) -> None:
    """Let every cell say that it was asked these questions, and judged by that model."""
    folder = Folder(path)
    for cell, record in folder.records().items():
        include = record["include"]
        train = {**include["train"], "source": {"name": "nowhere", "identity": {}}}
        answer = {**include["answer"], "questions": {"duel": {"duel_questions": questions}}}
        judged = {**include["judge"], "judge": {"name": "local", "options": {"model": judge}}}
        folder.write_record(cell, {**record, "include": {**include, "train": train, "answer": answer, "judge": judged}})


def test_other_questions_under_the_same_file_name_are_refused(tmp_path: Path) -> None:
    first, second = folders(tmp_path, TRACK)
    asked(first, "00", "aa")
    asked(second, "ff", "aa")
    with pytest.raises(PrefbenchError, match=r"questions\.duel\.duel_questions: '00' -> 'ff'"):
        refuse_other_rules([first, second])


def test_a_judge_is_what_it_is_and_not_where_it_lies_or_what_it_may_cost(tmp_path: Path) -> None:
    first, second = folders(tmp_path, f'{TRACK}\n[judge]\nname = "local"\nmodel = "elsewhere"\n')
    write_text(Folder(first).track, f'{TRACK}\n[judge]\nname = "local"\nmodel = "judge"\nmicro_batch_tokens = 64\n')
    asked(first, "00", "aa")
    asked(second, "00", "aa")
    assert differing_rules(Folder(first), Folder(second)) == []
    asked(second, "00", "bb")
    assert differing_rules(Folder(first), Folder(second)) == ["judge.options.model: 'aa' -> 'bb'"]
