"""Verdicts on claims: their arithmetic, their errors over many tables, and what leaves a claim undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prefbench.report.claims import Claim, Claims, parse
from prefbench.report.evidence import Evidence, read_evidence
from prefbench.report.findings import FAILS, HOLDS, OPEN, Finding, findings, read_findings
from prefbench.report.keys import Key
from prefbench.report.rows import build
from prefbench.report.samples import MeanSample
from prefbench.report.stats import crossed
from prefbench.report.verdicts import ONE_SEED, holm, p_value
from prefbench.store.folder import Folder
from tests.report.synthetic import HARNESSES, World, write_board, write_diverged

CLAIMS = """
scale = "forty questions"
[[claim]]
paper = "A"
place = "Table 1"
says = "ipo beats dpo"
statement = "win_rate[ipo] - win_rate[dpo] > 0"
published = 0.02
[[claim]]
paper = "A"
place = "Table 1"
says = "dpo with random subsets is competitive"
statement = "win_rate[dpo + random] - win_rate[dpo] = 0"
margin = 0.2
[[claim]]
paper = "B"
place = "Table 2"
says = "sft beats dpo"
statement = "gold_win_rate[sft] - gold_win_rate[dpo] > 0"
[[claim]]
paper = "B"
place = "Figure 1"
says = "as many pairs backward"
statement = "pairs_backward[dpo + random] / pairs_backward[dpo] < 1.1"
[[claim]]
paper = "B"
place = "Table 3"
says = "length-controlled too"
statement = "length_controlled_win_rate[ipo] - length_controlled_win_rate[dpo] > 0"
"""


ROWS = {("sft", "-"): 0.35, ("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.8, ("dpo", "random"): 0.6}


def board_with(tmp_path: Path, seeds: int = 3) -> Path:
    write_board(tmp_path, World(rows=ROWS, seeds=seeds))
    (tmp_path / "claims.toml").write_text(CLAIMS)
    return tmp_path


def found_in(folder: Path) -> list[Finding]:
    return list(build(read_evidence(folder, HARNESSES)).findings)


def test_claims_get_verdicts_from_the_boards_own_intervals(tmp_path: Path) -> None:
    found = found_in(board_with(tmp_path))
    assert [finding.verdict for finding in found] == [HOLDS, HOLDS, FAILS, HOLDS, HOLDS]
    board = {row.label: row for row in build(read_evidence(tmp_path, HARNESSES)).rows}
    assert found[0].estimate == board["ipo + uniform"].versus["win_rate"]
    assert found[4].estimate == board["ipo + uniform"].versus["length_controlled_win_rate"]


def test_ps_are_corrected_for_the_claims_of_the_file(tmp_path: Path) -> None:
    found = found_in(board_with(tmp_path))
    assert [finding.corrected for finding in found] == pytest.approx(holm([finding.p for finding in found]))
    assert found[0].estimate is not None
    assert found[0].p == p_value(found[0].estimate)


def test_a_record_that_is_gone_leaves_its_claims_undecided_and_says_which(tmp_path: Path) -> None:
    folder = board_with(tmp_path)
    (folder / "records" / "dpo.random.s1.json").unlink()
    found = found_in(folder)
    assert [finding.verdict for finding in found] == [HOLDS, OPEN, FAILS, OPEN, HOLDS]
    assert found[1].reason == found[3].reason == "dpo.random.s1: no record"
    assert found[0].corrected == pytest.approx(holm([found[place].p for place in (0, 2, 4)])[0])  # they are no part of the family


def test_a_cell_that_diverged_leaves_its_claims_undecided(tmp_path: Path) -> None:
    folder = board_with(tmp_path)
    write_diverged(Folder(folder), ("ipo", "uniform", 2))
    assert found_in(folder)[0].reason == "ipo.uniform.s2: diverged"


def test_what_the_board_does_not_have(tmp_path: Path) -> None:
    evidence = read_evidence(board_with(tmp_path), HARNESSES)
    texts = ("win_rate[madpo] > 0.5", "mt_bench[stem][ipo] > 5", "train_seconds[sft] / train_seconds[dpo] < 1")
    found = [finding.reason for finding in asked(evidence, *texts)]
    assert found == ["the board has no row madpo + uniform", "ipo + uniform has no mt_bench[stem]", "sft has no train_seconds"]


def asked(evidence: Evidence, *statements: str) -> Sequence[Finding]:
    claims = Claims("here", tuple(Claim("A", "B", "C", parse(text)) for text in statements))
    keys = {cell.row for cell in evidence.cells.values()}
    return findings(replace(evidence, claims=claims), {key: {} for key in keys})


def test_findings_read_alone_are_those_of_the_board(tmp_path: Path) -> None:
    """They rest on samples of the claimed metrics only."""
    evidence = read_evidence(board_with(tmp_path), HARNESSES)
    assert repr(read_findings(evidence)) == repr(build(evidence).findings)


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    folder = board_with(tmp_path, seeds=1)
    track = folder / "track.toml"
    track.write_text(track.read_text().replace("seeds = [0, 1, 2]", "seeds = [0]"))
    assert {finding.reason for finding in found_in(folder)} == {ONE_SEED}


# ---------------------------------------------------------------- errors over many tables


def verdict(rng: np.random.Generator, truth: float, statement: str, margin: float | None = None) -> str:
    """The verdict of a table of one claim, five seeds and 200 questions, on a true difference."""
    seeds, questions = 5, 200
    draws = truth + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.1, (1, questions)) + rng.normal(0, 0.3, (seeds, questions))
    samples = {
        Key("a", "uniform"): {"m": MeanSample(tuple(range(seeds)), draws)},
        Key("b", "uniform"): {"m": MeanSample(tuple(range(seeds)), np.zeros((seeds, questions)))},
    }
    claims = Claims("a simulation", (Claim("A", "B", "C", parse(statement), None, margin),))
    (found,) = findings(Evidence({"track": {}}, {}, claims=claims), samples)
    return found.verdict


@pytest.mark.parametrize(
    ("truth", "statement", "margin", "wrong"),
    [
        (0.0, "m[a] - m[b] > 0", None, (HOLDS, FAILS)),  # neither way is an error of size: both together stay below 5 %
        (0.05, "m[a] - m[b] = 0", 0.05, (HOLDS,)),  # at the margin: called equal is the error of two one-sided tests
        (0.05, "m[a] - m[b] = 0", 0.05, (FAILS,)),
    ],
)
def test_wrong_verdicts_are_rare(truth: float, statement: str, margin: float | None, wrong: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    tables = 600
    errors = sum(verdict(rng, truth, statement, margin) in wrong for _ in range(tables))
    assert errors / tables < 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


@pytest.mark.parametrize(
    ("truth", "statement", "margin", "expected"),
    [
        (0.15, "m[a] - m[b] > 0", None, HOLDS),
        (-0.15, "m[a] - m[b] > 0", None, FAILS),
        (0.0, "m[a] - m[b] = 0", 0.15, HOLDS),
        (0.4, "m[a] - m[b] = 0", 0.15, FAILS),
        (0.15, "m[a] - m[b] > 0.15", None, OPEN),
    ],
)
def test_what_is_clear_is_found(truth: float, statement: str, margin: float | None, expected: str) -> None:
    rng = np.random.default_rng(1)
    assert sum(verdict(rng, truth, statement, margin) == expected for _ in range(50)) > 40


def test_a_ratio_is_tested_over_seeds_on_a_log_scale() -> None:
    values = np.array([[1.5, 1.7], [1.4, 1.6], [1.7, 1.5]])
    samples = {
        Key("a", "uniform"): {"m": MeanSample((0, 1, 2), values)},
        Key("b", "uniform"): {"m": MeanSample((0, 1, 2), np.ones((3, 2)))},
    }
    claims = Claims("here", (Claim("A", "B", "C", parse("m[a] / m[b] < 2")),))
    (found,) = findings(Evidence({"track": {}}, {}, claims=claims), samples)
    assert found.estimate == crossed(np.log(values.mean(axis=1))[:, None])
    assert found.verdict == HOLDS
    assert found.shown(found.estimate.value) == "1.57"
