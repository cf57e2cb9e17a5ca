"""What a cell cost, from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefbench.report.profile import train_seconds

MEBIBYTE = 2**20


def costs(record: Mapping[str, Any]) -> dict[str, float]:
    """What a cell cost, by name: seconds, pairs, and MiB at the peak. A model that was not trained has none of the first two."""
    training, clocks = record["result"]["training"], record["clocks"]
    found: dict[str, float] = {}
    if training:
        parts = {
            "columns_seconds": clocks.get("columns", 0.0),
            "select_seconds": clocks.get("select", 0.0),
            "train_seconds": train_seconds(clocks),
        }
        found = {**parts, "cost_seconds": sum(parts.values())}
        found |= {name: training[name] for name in ("pairs_forward", "pairs_backward")}
        found |= {"flipped_percent": 100 * training["flipped_share_trained"]} if training.get("flipped_share") else {}
    return {**found, "peak_memory_mib": record["peak_memory_bytes"] / MEBIBYTE}
