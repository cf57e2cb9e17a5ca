"""Files are whole or absent, and what is damaged says which file it is."""

from __future__ import annotations

import gzip

import pytest

from prefbench.errors import PrefbenchError, StorageError
from prefbench.store import files
from prefbench.store.folder import Folder
from prefbench.store.migrate import RECORD_SCHEMA


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    files.write_json(path, {"old": 1})

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(StorageError, match="No space"):
        files.write_json(path, {"new": 2})
    assert files.read_json(path) == {"old": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]


def test_not_a_number_is_refused_instead_of_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_lines_read_back_and_are_hashed_before_compression(tmp_path):
    rows = [{"id": "1", "score": 0.5}, {"id": "ü", "score": None}]
    path = tmp_path / "items.jsonl.gz"
    written = files.write_lines(path, rows)
    assert files.read_lines(path) == rows
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    assert files.lines_digest(path) == written


def test_the_same_lines_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        files.write_lines(tmp_path / name, [{"id": 1}])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08garbage", gzip.compress(b'{"id": 1}\n{"id"', mtime=0)])
def test_damaged_lines_name_their_file(tmp_path, damage):
    path = tmp_path / "items.jsonl.gz"
    path.write_bytes(damage)
    if damage:
        with pytest.raises(PrefbenchError, match=r"items\.jsonl\.gz"):
            files.read_lines(path)
    else:
        assert files.read_lines(path) == []


def test_a_record_of_a_newer_schema_is_refused(tmp_path):
    folder = Folder(tmp_path)
    folder.write_record("dpo.uniform.s0", {"cell": "dpo.uniform.s0"})
    assert folder.records()["dpo.uniform.s0"]["schema"] == RECORD_SCHEMA
    files.write_json(folder.record_path("dpo.uniform.s0"), {"schema": 99})
    with pytest.raises(PrefbenchError, match="schema 99"):
        folder.records()


def test_what_a_killed_writer_left_is_swept_away_and_nothing_else(tmp_path):
    (tmp_path / "records").mkdir()
    left = tmp_path / "records" / f".x.json.abc{files.PARTIAL}"
    left.write_text("{")
    kept = tmp_path / "records" / "x.json"
    kept.write_text("{}")
    files.sweep(tmp_path, seconds=3600)
    assert left.exists()
    files.sweep(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
