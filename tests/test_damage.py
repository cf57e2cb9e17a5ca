"""Files that were damaged or deleted: found by their hash, kept under a name that says so, and made again with the same content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prefbench.planned import plan_run
from prefbench.report.check import check
from prefbench.run import run
from prefbench.store.folder import Folder
from tests.test_run import TRACK, options, results

ONE_SEED = TRACK.replace("seeds = [0, 1]", "seeds = [0]")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One cache for the module: the miniature world is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache) -> Path:
    """A finished run of the miniature track, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(cache))
        run(options(folder, ONE_SEED), lambda _: None)
    return folder


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def copied(finished: Path, cache: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run, and the cache that it was made with, to be damaged."""
    shutil.copytree(finished, to / "copy")
    shutil.copytree(cache, to / "cache")
    monkeypatch.setenv("PREFBENCH_CACHE", str(to / "cache"))
    return to / "copy"


def rerun(folder: Path) -> None:
    given = options(folder, ONE_SEED)
    ended = run(given, lambda _: None)
    assert ended.failed == {}
    assert check(given.out, plan_run(given).planner.harnesses()) == []


@pytest.mark.parametrize(
    "file",
    [
        "records/dpo.uniform.s0.json",
        "items/dpo.uniform.s0.jsonl.gz",
        "artefacts/alpaca_eval.json.gz",
    ],
)
def test_a_damaged_result_is_set_aside_and_made_again(finished, cache, tmp_path, monkeypatch, file):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    flip(folder / "run" / file)
    rerun(folder)
    assert results(folder) == results(finished)
    assert (folder / "run" / f"{file}.damaged").exists()
    assert (folder / "run" / file).read_bytes() == (finished / "run" / file).read_bytes() or file.startswith("records/")


STAGE_FILES = [
    "train.json",
    "policy/model.safetensors",
    "answer.json",
    "answers.mt_bench.jsonl.gz",
    "judge.json",
    "judged.alpaca_eval.jsonl.gz",
    "score.json",
]


@pytest.mark.parametrize("file", STAGE_FILES)
@pytest.mark.parametrize("change", [flip, lambda path: path.unlink()], ids=["damaged", "deleted"])
def test_a_stage_whose_files_are_damaged_or_gone_is_made_again(finished, cache, tmp_path, monkeypatch, file, change):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    change(folder / "run" / "cells" / "dpo.uniform.s0" / file)
    Folder(folder / "run").record_path("dpo.uniform.s0").unlink()
    rerun(folder)
    assert results(folder) == results(finished)


@pytest.mark.parametrize(
    "pattern", ["columns/reference/*.safetensors", "calibration/*.json.gz", "prefworld/*/pairs/*.gz", "prefworld/*/sft/*.safetensors"]
)
def test_a_damaged_cache_is_set_aside_and_made_again(finished, cache, tmp_path, monkeypatch, pattern):
    folder = copied(finished, cache, tmp_path, monkeypatch)
    files = list((tmp_path / "cache").glob(pattern))
    assert files
    for file in files:
        flip(file)
    shutil.rmtree(folder / "run")
    rerun(folder)
    assert results(folder) == results(finished)
    assert list((tmp_path / "cache").rglob("*.damaged"))
