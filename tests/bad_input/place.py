"""A folder as a user has it, whole and small, and the ways to spoil one thing in it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prefbench import cell
from prefbench.cli.main import main
from tests.models import tiny_llama, word_tokenizer

TRACK = """\
[track]
name = "mini"
version = 1
seeds = [0]
[source]
name = "files"
model = "sft"
pairs_file = "pairs.jsonl"
held_out_share = 0.3
[train]
steps = 2
pool = 4
max_length = 40
[[harness]]
name = "held_out"
max_new_tokens = 3
[methods.dpo]
beta = 0.3
[schedulers.half]
scheduler = "random-subset"
ratio = 0.5
[[grid]]
methods = ["dpo"]
schedulers = ["uniform"]
[trivial]
rows = ["sft"]
"""

RUN = "run track.toml --out run --in-process"

Spoil = Callable[[Path], object]


@dataclasses.dataclass(frozen=True)
class Bad:
    """One input that a user could give: what is printed on stderr, how the good folder is spoilt, the command, and its exit code."""

    name: str
    error: str
    hint: str = ""
    spoil: Spoil = lambda _: None
    command: str = RUN
    code: int = 2


def rows(*numbers: int) -> list[dict[str, str]]:
    """Good pairs of words that the tokenizer knows."""
    return [{"prompt": f"w{i % 40} w{i // 40}", "chosen": f"w{(i + 1) % 45} w1", "rejected": f"w{(i + 2) % 45}"} for i in numbers]


def jsonl(values: Sequence[Any]) -> str:
    """One JSON value per line."""
    return "".join(json.dumps(value) + "\n" for value in values)


def good_folder(folder: Path) -> Path:
    """A track, its model folder and its pairs: nothing in it is wrong."""
    tiny_llama().save_pretrained(folder / "sft")
    word_tokenizer().save_pretrained(folder / "sft")
    (folder / "pairs.jsonl").write_text(jsonl(rows(*range(60))))
    (folder / "track.toml").write_text(TRACK)
    return folder


# ---------------------------------------------------------------- ways to spoil it


def edit(*changes: str) -> Spoil:
    """Replace texts in the track file: old, new, old, new, and so on."""

    def spoil(folder: Path) -> None:
        text = (folder / "track.toml").read_text()
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new, 1)
        (folder / "track.toml").write_text(text)

    return spoil


def add(text: str) -> Spoil:
    """More tables at the end of the track file."""
    return lambda folder: (folder / "track.toml").write_text(TRACK + text)


def put(name: str, content: str | bytes) -> Spoil:
    """Write a file, or over one."""

    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def cut(name: str, share: float = 0.5) -> Spoil:
    """Keep the first part of a file, as a broken download does."""

    def spoil(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])

    return spoil


def drop(*names: str) -> Spoil:
    """Remove files."""
    return lambda folder: [(folder / name).unlink() for name in names]


def both(*spoils: Spoil) -> Spoil:
    """One after the other."""
    return lambda folder: [spoil(folder) for spoil in spoils]


def packed(name: str) -> Spoil:
    """The same file, gzipped, beside the plain one."""
    return lambda folder: (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))


# ---------------------------------------------------------------- what comes of it


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prefbench(command: str, patch: pytest.MonkeyPatch) -> int:
    """Run the command in this process, as its own process would; the exit code."""
    patch.setattr(sys, "argv", ["prefbench", *shlex.split(command)])
    patch.setattr(cell, "_workshops", {})  # another process would know no other folder's models
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@dataclasses.dataclass(frozen=True)
class Told:
    """The exit code, what stderr said, and which files of the finished run are no longer as they were."""

    code: int
    stderr: str
    changed: set[str]


def given(bad: Bad, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Spoil the folder and run the command there. That error and hint are printed, and no traceback, holds for every bad input."""
    patch.chdir(folder)
    bad.spoil(folder)
    before = contents(folder / "run")
    capsys.readouterr()
    code, stderr = prefbench(bad.command, patch), capsys.readouterr().err
    assert "Traceback" not in stderr
    assert bad.error in stderr
    assert bad.hint in stderr
    after = contents(folder / "run")
    return Told(code, stderr, {name for name, content in before.items() if after.get(name) != content})


def each(*tables: Sequence[Bad]) -> pytest.MarkDecorator:
    """A test per input, by name."""
    cases = [case for table in tables for case in table]
    return pytest.mark.parametrize("bad", cases, ids=[case.name for case in cases])
