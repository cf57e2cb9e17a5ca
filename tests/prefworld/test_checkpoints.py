"""Checkpoints are whole or absent, and made once however many processes ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.prefworld.checkpoints import Recipe, cached_models

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
    assert said == ["0 ['base', 'sft']", "2 ['base', 'sft']"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [Recipe(5, 2, 1).key]


def test_an_interrupted_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_models(Recipe(0, 1, 1), tmp_path, interrupt)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_all_that_changes_the_weights_changes_the_key() -> None:
    assert len({Recipe(*values).key for values in ((0, 700, 120), (1, 700, 120), (0, 600, 120), (0, 700, 100))}) == 4
