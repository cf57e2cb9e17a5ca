"""What came of a row's trials, and the settings that follow."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from prefbench.config import Chosen
from prefbench.errors import DamagedError
from prefbench.store.files import lines_digest
from prefbench.tune.study import Attempt, Study, Trial, chosen_by, kept_preferences, read_study, write_study

RULES = {"learning_rate": [1e-4, 1e-2], "beta": [0.1, 10.0], "trials": 4, "seeds": [7, 8]}


def trial(rate: float, *attempts: Attempt) -> Trial:
    return Trial(Chosen(rate, 0.5), attempts)


def done(seed: int, *preferences: float | None) -> Attempt:
    return Attempt(seed, "done", preferences)


STUDY = Study(
    "dpo.uniform",
    "key",
    RULES,
    (
        trial(1e-3, done(7, 0.5, 0.7, None), done(8, 0.6, 0.8, 0.4)),
        trial(2e-3, done(7, 0.9, 0.9, 0.9), Attempt(8, "diverged")),
        trial(3e-3, done(7, 0.99, 0.99, 0.99), Attempt(8, "failed")),
        trial(4e-3, done(7, 0.65, 0.65, 0.65), done(8, 0.55, 0.55, 0.55)),
    ),
)


def test_a_trials_win_rate_is_the_mean_over_its_seeds_of_what_was_judged() -> None:
    assert [trial.win_rate for trial in STUDY.trials] == [pytest.approx(0.6), pytest.approx(0.45), None, pytest.approx(0.6)]


def test_divergence_counts_nothing_and_a_failure_is_no_result() -> None:
    """Without the first, a learning rate that diverges every other time would look as good as its lucky seeds."""
    assert (STUDY.diverged, STUDY.failed) == (1, 1)


def test_of_equals_the_first_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "dpo.uniform.jsonl.gz"
    write_study(path, STUDY)
    assert chosen_by(path, read_study(path)) == Chosen(1e-3, 0.5, lines_digest(path))


def test_where_all_trials_failed_nothing_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "dpo.uniform.jsonl.gz"
    write_study(path, Study("dpo.uniform", "key", RULES, STUDY.trials[2:3]))
    assert chosen_by(path, read_study(path)) is None


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_study(tmp_path / "a.jsonl.gz", STUDY)
    assert read_study(tmp_path / "a.jsonl.gz") == STUDY


@pytest.mark.parametrize("text", ["", "[]\n", '{"row": "dpo"}\n', '{"row": "a", "key": "b", "rules": {}}\n{"trial": 0}\n'])
def test_a_file_that_is_no_study(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DamagedError, match="damaged: no study"):
        read_study(path)


def test_preferences_are_kept_to_four_decimals() -> None:
    assert kept_preferences([{"preference": 0.123456}, {"preference": None}]) == (0.1235, None)
