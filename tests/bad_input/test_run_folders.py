"""Run folders of another track, and files in them that are damaged: nothing is overwritten, and the file is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.bad_input.place import RUN, Bad, Spoil, Told, cut, drop, each, edit, put

RECORD = "run/records/dpo.uniform.s0.json"
AGAIN = "run the same command again"
SHOW = "board show run"


def record(**changes: object) -> Spoil:
    """A record with other values."""
    return lambda folder: (folder / RECORD).write_text(json.dumps({**json.loads((folder / RECORD).read_text()), **changes}))


CASES = [
    Bad("another-track", "run holds track mini version 1, not maxi version 1", "give another folder with --out", edit('"mini"', '"maxi"')),
    Bad(
        "another-version",
        "run holds track mini version 1, not mini version 2",
        "give another folder with --out",
        edit("version = 1", "version = 2"),
    ),
    Bad(
        "track-file-gone",
        "run holds files, and is no run folder: it has no track.toml",
        "give another folder with --out",
        drop("run/track.toml"),
    ),
    Bad("track-file-damaged", "run/track.toml: not a TOML file", "docs/tracks.md", put("run/track.toml", "[track")),
    Bad("track-file-empty", "run holds track without a name version 1, not mini version 1", "", put("run/track.toml", "")),
    Bad("record-not-json", f"{RECORD}: not valid JSON", AGAIN, cut(RECORD), SHOW),
    Bad("record-empty", f"{RECORD}: not valid JSON", AGAIN, put(RECORD, ""), SHOW),
    Bad("record-a-list", f"{RECORD}: damaged: no record of any schema", AGAIN, put(RECORD, "[]"), SHOW),
    Bad("record-edited", f"{RECORD}: damaged: its content does not have the sha256 that it states", AGAIN, record(seed=7), SHOW),
    Bad("record-newer", f"{RECORD}: record schema 99, and this prefbench reads up to 2", "upgrade prefbench", record(schema=99)),
    Bad("status-of-a-damaged-record", f"{RECORD}: not valid JSON", AGAIN, cut(RECORD), "status run"),
    Bad(
        "items-gone",
        "dpo.uniform.s0.jsonl.gz: the items of a cell that is done are missing",
        "run the cell again",
        drop("run/items/dpo.uniform.s0.jsonl.gz"),
        SHOW,
    ),
    Bad("items-cut-short", "dpo.uniform.s0.jsonl.gz: damaged", AGAIN, cut("run/items/dpo.uniform.s0.jsonl.gz"), SHOW),
    Bad(
        "plan-too",
        "run holds track mini version 1, not maxi version 1",
        "--out",
        edit('"mini"', '"maxi"'),
        RUN.replace("run track", "plan track").replace(" --in-process", ""),
    ),
]


@each(CASES)
def test_a_run_folder_that_does_not_fit_is_left_as_it_is(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(bad)
    assert told.code == 2
    assert not told.changed


def test_a_damaged_record_is_kept_under_another_name_and_made_again(tell: Callable[[Bad], Told], place: Path) -> None:
    before = json.loads((place / RECORD).read_text())["result"]
    told = tell(Bad("record", f"{RECORD}: not valid JSON", "kept as dpo.uniform.s0.json.damaged", cut(RECORD)))
    assert told.code == 0
    assert json.loads((place / RECORD).read_text())["result"] == before


def test_a_damaged_mark_of_a_stage_makes_it_run_again(tell: Callable[[Bad], Told], place: Path) -> None:
    before = json.loads((place / RECORD).read_text())["result"]
    (place / RECORD).unlink()
    told = tell(Bad("mark", "dpo.uniform.s0: done", "", cut("run/cells/dpo.uniform.s0/train.json")))
    assert told.code == 0
    assert json.loads((place / RECORD).read_text())["result"] == before
