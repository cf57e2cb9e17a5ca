"""The check of tuned rows: settings that are not those of the study, studies that are gone, shorter, or saw a test seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefbench.config import Chosen
from prefbench.report.check import check
from prefbench.store.folder import Folder
from prefbench.tune.study import Attempt, Study, Trial, chosen_by, read_study, write_study
from tests.report.synthetic import HARNESSES, World, record, write_board

RULES = {"learning_rate": [1e-5, 1e-2], "beta": [0.01, 10.0], "trials": 2, "seeds": [100]}
TRIALS = (
    Trial(Chosen(1e-4, 0.3), (Attempt(100, "done", (0.6, 0.8)),)),
    Trial(Chosen(1e-2, 3.0), (Attempt(100, "done", (0.4, 0.6)),)),
)


def tuned_board(root: Path, study: Study) -> Folder:
    """A board whose dpo was tuned."""
    folder = write_board(root, World(rows={("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.7}))
    path = folder.study_path("dpo.uniform")
    write_study(path, study)
    chosen = chosen_by(path, read_study(path))
    assert chosen is not None
    for seed in range(3):
        cell = ("dpo", "uniform", seed)
        before = folder.read_record(f"dpo.uniform.s{seed}")
        stated = {"study": "dpo.uniform", "sha256": chosen.study}
        made = record(cell, "done", before["result"])
        folder.write_record(made["cell"], {**made, "method": {**made["method"], "tuning": stated}})
    return folder


def problems(folder: Folder) -> list[str]:
    return [f"{p.file}: {p.what}" for p in check(folder.root, HARNESSES) if p.file.startswith(("records", "tuning"))]


def test_settings_that_follow_from_their_study(tmp_path: Path) -> None:
    assert problems(tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))) == []


def test_a_row_that_does_not_run_the_settings_of_its_best_trial(tmp_path: Path) -> None:
    """As where somebody took the second best, because it looked better on the test questions."""
    better = Trial(TRIALS[1].settings, (Attempt(100, "done", (0.9, 0.9)),))
    found = problems(tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, (TRIALS[0], better))))
    assert "records/dpo.uniform.s0.json: method.learning_rate" in found
    assert "records/dpo.uniform.s0.json: method.options.beta" in found


def test_a_study_that_was_edited_or_is_gone(tmp_path: Path) -> None:
    folder = tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))
    write_study(folder.study_path("dpo.uniform"), Study("dpo.uniform", "other", RULES, TRIALS))
    assert "records/dpo.uniform.s0.json: sha256 of tuning/dpo.uniform.jsonl.gz" in problems(folder)
    folder.study_path("dpo.uniform").unlink()
    assert "records/dpo.uniform.s0.json: tuning" in problems(folder)


def test_a_study_that_saw_a_test_seed_or_lacks_a_trial(tmp_path: Path) -> None:
    seen = {**RULES, "seeds": [1]}
    trials = tuple(Trial(trial.settings, (Attempt(1, "done", trial.attempts[0].preferences),)) for trial in TRIALS)
    assert problems(tuned_board(tmp_path / "a", Study("dpo.uniform", "k", seen, trials))) == ["tuning/dpo.uniform.jsonl.gz: seeds"]
    assert problems(tuned_board(tmp_path / "b", Study("dpo.uniform", "k", RULES, TRIALS[:1]))) == ["tuning/dpo.uniform.jsonl.gz: trials"]


def test_rows_that_were_given_more_trials_than_others(tmp_path: Path) -> None:
    folder = tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))
    write_study(folder.study_path("ipo.uniform"), Study("ipo.uniform", "k", {**RULES, "trials": 3}, (*TRIALS, TRIALS[0])))
    found = problems(folder)
    assert "tuning/ipo.uniform.jsonl.gz: row" in found
    assert "tuning/ipo.uniform.jsonl.gz: rules, as of the other rows" in found


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    folder = tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))
    folder.study_path("dpo.uniform").write_bytes(b"no gzip")
    assert "tuning: content" in problems(folder)


def test_what_the_runs_took_has_to_be_readable(tmp_path: Path) -> None:
    folder = tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))
    folder.sessions.write_text(json.dumps({"seconds": 1.0})[:-1])
    assert any(p.file == "runs.jsonl" for p in check(folder.root, HARNESSES))


@pytest.mark.parametrize("text", ['scale = "x"\n[[claim]]\npaper = "A"\n', "scale"])
def test_claims_that_are_none_are_a_problem(tmp_path: Path, text: str) -> None:
    folder = tuned_board(tmp_path, Study("dpo.uniform", "k", RULES, TRIALS))
    folder.claims.write_text(text)
    assert any(p.file == "claims.toml" for p in check(folder.root, HARNESSES))
