"""The committed leaderboards: every number on them follows from the items beside them, and a row that is run today fits them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefbench.config import read_track, resolved
from prefbench.identity import CORE_NUMERICS_VERSION
from prefbench.plan import Planner, differences
from prefbench.registry import load_registry
from prefbench.report.check import check
from prefbench.report.evidence import track_harnesses
from prefbench.report.rules import OWN, shared_settings
from prefbench.store.folder import Folder

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
BOARDS = sorted(path.parent for path in LEADERBOARDS.glob("*/records") if any(path.glob("*.json")))


@pytest.mark.skipif(not BOARDS, reason="no folder under leaderboards/ has records yet")
@pytest.mark.parametrize("folder", BOARDS, ids=lambda path: path.name)
def test_every_number_follows_from_the_items(folder: Path) -> None:
    problems = check(folder, track_harnesses(Folder(folder), load_registry()))
    assert not problems, "\n".join(map(str, problems))


@pytest.mark.parametrize("folder", BOARDS, ids=lambda path: path.name)
def test_a_row_that_is_run_today_fits_the_board(folder: Path) -> None:
    """Its records have the settings that a run of the board's track would write now, short of what only the data behind the track tell."""
    registry = load_registry()
    track = read_track(folder / "track.toml", registry)
    planner = Planner(track, registry, "float32")
    expected = {
        "core_numerics_version": CORE_NUMERICS_VERSION,
        "model": resolved(track.model),
        "lora": resolved(track.lora) if track.lora else None,
        "answers": resolved(track.answers),
        "harness": {name: harness.identity_options() for name, harness in planner.harnesses().items()},
        "train": {key: value for key, value in resolved(track.train).items() if key not in OWN},
    }
    for name, record in Folder(folder).records().items():
        settings = shared_settings(record, planner.harnesses())
        found = {key: settings[key] for key in expected if key in settings}
        today = json.loads(json.dumps({key: expected[key] for key in found}))  # as a record has it
        assert list(differences(found, today)) == [], name


def test_a_row_that_is_run_today_fits_the_prefworld_board() -> None:
    """Of the embedded track the source is known too."""
    folder, registry = LEADERBOARDS / "prefworld", load_registry()
    planner = Planner(read_track(folder / "track.toml", registry), registry, "float32")
    today = {cell.id: cell.include["train"]["source"] for cell in planner.cells()}
    for name, record in Folder(folder).records().items():
        if name in today:
            assert list(differences(record["include"]["train"]["source"], today[name])) == [], name
