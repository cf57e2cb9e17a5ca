"""The rows of committed boards, as their board.csv has them."""

from __future__ import annotations

import csv
from pathlib import Path

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


def read_rows(board: str) -> list[dict[str, str]]:
    with (LEADERBOARDS / board / "board.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
