"""Checkpoints are whole or absent, and made once however many processes ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.prefworld.checkpoints import Recipe, cached_models
from prefbench.train.checkpoint import weights_digest

PREPARE = """
import sys, torch
from pathlib import Path
from prefbench.prefworld.checkpoints import Recipe, cached_models
lines = []
folder = cached_models(Recipe(5, 2, 1), Path(sys.argv[1]), lines.append)
print(len(lines), sorted(path.name for path in folder.iterdir()))
"""


def test_two_processes_at_once_make_one_checkpoint(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", PREPARE, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(worker.communicate()[0].strip() for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said == ["0 ['base', 'models.json', 'sft']", "2 ['base', 'models.json', 'sft']"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [Recipe(5, 2, 1).key]


def test_an_interrupted_build_leaves_nothing_that_looks_finished_and_is_gone_on_with(tmp_path: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    recipe = Recipe(0, 1, 1)
    with pytest.raises(KeyboardInterrupt):
        cached_models(recipe, tmp_path, interrupt)
    assert not (tmp_path / recipe.key).exists()
    lines: list[str] = []
    resumed, whole = cached_models(recipe, tmp_path, lines.append), cached_models(recipe, tmp_path / "other", lambda _: None)
    assert len(lines) == 1  # base training had its one step already
    assert [weights_digest(resumed / role) for role in ("base", "sft")] == [weights_digest(whole / role) for role in ("base", "sft")]
    assert [path.name for path in tmp_path.glob("*.building")] == []


def test_a_model_file_that_changed_is_found_set_aside_and_made_again(tmp_path: Path) -> None:
    recipe = Recipe(0, 1, 1)
    folder = cached_models(recipe, tmp_path, lambda _: None)
    weights = folder / "sft" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert cached_models(recipe, tmp_path, lambda _: None) == folder
    assert weights.read_bytes() == before
    assert (tmp_path / f"{recipe.key}.damaged").is_dir()


def test_all_that_changes_the_weights_changes_the_key() -> None:
    assert len({Recipe(*values).key for values in ((0, 700, 120), (1, 700, 120), (0, 600, 120), (0, 700, 100))}) == 4
