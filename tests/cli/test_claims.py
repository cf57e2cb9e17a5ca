"""``prefbench claims``: a verdict for every claim of the committed boards, and what it says where there is nothing to say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from prefbench.cli.main import app
from prefbench.errors import PrefbenchError
from prefbench.report.findings import FAILS, HOLDS, OPEN

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
WITH_CLAIMS = sorted(path.parent for path in LEADERBOARDS.glob("*/claims.toml") if (path.parent / "records").is_dir())


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["claims", *map(str, arguments)])


@pytest.mark.parametrize("board", ["prefworld-temperatures", "hh-small"])
def test_every_claim_has_a_verdict_or_a_reason(board: str) -> None:
    rows = json.loads(invoke(LEADERBOARDS / board, "--format", "json").stdout)
    assert len(rows) == stated(LEADERBOARDS / board)
    for row in rows:
        assert row["verdict"] in (HOLDS, FAILS, OPEN)
        assert (row["verdict"] != OPEN) == (row["p_corrected"] is not None and row["p_corrected"] <= 0.05)
        assert row["verdict"] != OPEN or row["reason"] or row["detectable"] is not None


@pytest.mark.parametrize("board", WITH_CLAIMS, ids=lambda path: path.name)
def test_the_committed_page_has_a_verdict_for_every_claim(board: Path) -> None:
    """The page, which the check of the boards derives anew: large boards need not be read twice."""
    section = (board / "README.md").read_text(encoding="utf-8").partition("## Claims\n")[2].partition("\n## ")[0]
    verdicts = [line.split(" | ")[-2:] for line in section.splitlines() if line.startswith("| arXiv")]
    assert len(verdicts) == stated(board)
    assert all(verdict in (HOLDS, FAILS) or (verdict == OPEN and why.strip(" |")) for verdict, why in verdicts)


def stated(board: Path) -> int:
    """How many claims the board's file has."""
    return (board / "claims.toml").read_text(encoding="utf-8").count("[[claim]]")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Four rows of the Prefworld board, so that a test need not read all."""
    folder = tmp_path / "leaderboards" / "prefworld"
    shutil.copytree(LEADERBOARDS / "prefworld", folder)
    for path in (folder / "records").iterdir():
        if path.name.split(".")[0] not in ("apo-hinge-zero", "apo-zero", "dpo", "sft"):
            path.unlink()
    return folder


def test_a_board_by_the_name_of_its_track(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(part.parent.parent)
    found = invoke("prefworld", "--format", "md").stdout
    assert found == invoke(part, "--format", "md").stdout
    assert found.startswith("### prefworld, version 3: claims, tested on Prefworld: a Llama of 0.27 million parameters")


def test_a_record_that_is_deleted_turns_its_claims_undecided(part: Path) -> None:
    before = json.loads(invoke(part, "--format", "json").stdout)
    (part / "records" / "apo-hinge-zero.uniform.s0.json").unlink()
    after = json.loads(invoke(part, "--format", "json").stdout)
    touched = [new for old, new in zip(before, after, strict=True) if "[apo-hinge-zero]" in old["statement"] and not old["reason"]]
    assert touched
    assert {(row["verdict"], row["reason"]) for row in touched} == {(OPEN, "apo-hinge-zero.uniform.s0: no record")}
    others = [
        (old["verdict"], new["verdict"]) for old, new in zip(before, after, strict=True) if "[apo-hinge-zero]" not in old["statement"]
    ]
    assert others
    # Fewer claims are tested, so that a verdict may be reached that was not; none is lost.
    assert all(new in (old, HOLDS, FAILS) for old, new in others)


def test_a_board_without_claims_says_where_they_would_be() -> None:
    result = invoke(LEADERBOARDS / "hh-small-coin")
    assert isinstance(result.exception, PrefbenchError)
    assert "has no claims" in str(result.exception)
