"""The script that makes TL;DR's questions, which a shipped track needs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from prefbench.data.question_files import alpaca_eval_questions
from prefbench.errors import PrefbenchError
from tests.hub import FIRST, loopback_hub

BOARDS = Path(__file__).parents[1] / "leaderboards"


def script(board: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{board}_prepare".replace("-", "_"), BOARDS / board / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tldrs_questions_are_different_posts_with_the_summary_that_was_preferred(tmp_path: Path) -> None:
    rows = [{"prompt": f"POST: {i // 2}\n\nTL;DR:", "chosen": f" {i}", "rejected": " no"} for i in range(20)]
    path = tmp_path / "validation.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert script("summarize-tldr").prepare(str(path), tmp_path / "tldr", count=7) == 7
    questions = alpaca_eval_questions(tmp_path / "tldr" / "questions.json")
    references = json.loads((tmp_path / "tldr" / "references.json").read_text())
    assert [question.turns[0] for question in questions] == [row["instruction"] for row in references]
    for row in references:
        post = int(row["instruction"].rpartition("POST: ")[2])
        assert "TL;DR" not in row["instruction"]
        assert row["output"] == str(2 * post)


def test_a_row_of_tldr_without_its_texts_is_named(tmp_path: Path) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_text('{"prompt": "POST: a\\n\\nTL;DR:", "chosen": " a"}\n{"prompt": "POST: b\\n\\nTL;DR:"}\n')
    with pytest.raises(PrefbenchError, match="row 2 needs the texts prompt and chosen"):
        script("summarize-tldr").prepare(str(path), tmp_path / "tldr")


def test_tldrs_validation_split_is_read_at_the_commit_that_the_branch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback_hub(monkeypatch) as hub:
        hub.has("datasets/trl-lib/tldr-preference", "main", FIRST)
        module = script("summarize-tldr")
        assert module.at_its_commit(module.DATA_SET) == f"hf://datasets/trl-lib/tldr-preference@{FIRST}"


def test_without_a_network_the_command_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, str(BOARDS / "summarize-tldr" / "prepare.py"), str(tmp_path / "tldr")]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the hub does not tell its commit" in done.stderr
    assert "Traceback" not in done.stderr
