"""The scripts that make what two shipped tracks need: pairs of the IMDB tiers, and TL;DR's questions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
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
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """1,200 prompts whose original reviews are much worse than the samples."""
    rng = np.random.default_rng(0)
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": f"p{i}", "texts": [f"a{i}", f"b{i}", f"o{i}"], "scores": [*rng.uniform(-1, 1, 2).round(3), -3.0]} for i in range(1200)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tiers_differ_in_how_many_pairs_hold_the_original_review(tmp_path: Path, scored: Path) -> None:
    counts = script("imdb-gemma-270m").prepare(scored, tmp_path / "imdb")
    assert counts == dict.fromkeys(("high", "medium", "low"), (1000, 200))
    for tier, originals in (("high", 0), ("medium", 600), ("low", 1200)):
        pairs = [*read(tmp_path / "imdb" / f"{tier}.train.jsonl"), *read(tmp_path / "imdb" / f"{tier}.held-out.jsonl")]
        assert sum("o" in pair["chosen"][0] + pair["rejected"][0] for pair in pairs) == originals
        assert len({pair["prompt"] for pair in pairs}) == 1200


def test_labels_are_noisy_votes_of_the_scores(tmp_path: Path, scored: Path) -> None:
    script("imdb-gemma-270m").prepare(scored, tmp_path / "imdb")
    scores = {text: score for row in read(scored) for text, score in zip(row["texts"], row["scores"], strict=True)}
    pairs = [*read(tmp_path / "imdb" / "low.train.jsonl"), *read(tmp_path / "imdb" / "low.held-out.jsonl")]
    gaps = np.array([abs(scores[pair["chosen"]] - scores[pair["rejected"]]) for pair in pairs])
    right = np.array([scores[pair["chosen"]] > scores[pair["rejected"]] for pair in pairs])
    expected = (1 / (1 + np.exp(-gaps))).mean()  # Bradley-Terry at temperature 1
    assert abs(right.mean() - expected) < 3 * np.sqrt(expected * (1 - expected) / len(pairs))


def test_a_row_of_another_form_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    path.write_text('{"prompt": "p", "texts": ["a", "b"], "scores": [1, 2]}\n')
    with pytest.raises(ValueError, match="row 1 needs a prompt, three texts and three scores"):
        script("imdb-gemma-270m").prepare(path, tmp_path / "imdb")


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
