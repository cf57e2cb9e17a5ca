"""Records of older schemas are read as if they had been written today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefbench.errors import DamagedError
from prefbench.store.files import write_json
from prefbench.store.folder import Folder
from prefbench.store.migrate import RECORD_SCHEMA

BOARD = Path(__file__).parents[2] / "leaderboards" / "prefworld"


def test_a_record_of_schema_1_gets_what_later_schemas_added(tmp_path):
    folder = Folder(tmp_path)
    error = {"type": "ValueError", "message": "no", "frames": []}
    write_json(folder.record_path("x"), {"schema": 1, "cell": "x", "status": "failed", "error": error, "clocks": {"columns": 1.5}})
    record = folder.read_record("x")
    assert (record["schema"], record["mode"], record["error"]["log"]) == (RECORD_SCHEMA, "reproduced", None)
    assert record["clocks"] == {"data": 1.5}  # there were no columns that cost anything


def test_every_committed_record_is_read_whatever_its_schema():
    for path in (BOARD / "records").glob("*.json"):
        record = Folder(BOARD).read_record(path.stem)
        assert record["schema"] == RECORD_SCHEMA
        assert record["result"] == json.loads(path.read_text())["result"]


@pytest.mark.parametrize("raw", [[], {"schema": 0}, {"schema": "2"}, {"cell": "x"}, {"schema": 2, "cell": "x"}])
def test_what_is_no_record_is_damage(tmp_path, raw):
    folder = Folder(tmp_path)
    write_json(folder.record_path("x"), raw)
    with pytest.raises(DamagedError, match=r"records/x\.json"):
        folder.read_record("x")
