"""The committed leaderboards: every number on them follows from the items beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.registry import load_registry
from prefbench.report.check import check
from prefbench.report.evidence import track_harnesses
from prefbench.store.folder import Folder

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
BOARDS = sorted(path.parent for path in LEADERBOARDS.glob("*/records") if any(path.glob("*.json")))


@pytest.mark.skipif(not BOARDS, reason="no folder under leaderboards/ has records yet")
@pytest.mark.parametrize("folder", BOARDS, ids=lambda path: path.name)
def test_every_number_follows_from_the_items(folder: Path) -> None:
    problems = check(folder, track_harnesses(Folder(folder), load_registry()))
    assert not problems, "\n".join(map(str, problems))
