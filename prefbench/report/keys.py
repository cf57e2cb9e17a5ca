"""What names a row of a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from prefbench.config import UNTRAINED

BASELINE = ("dpo", "uniform")
"""Method and scheduler of the row that the others of its condition are compared with, where a board has it."""


class Key(NamedTuple):
    """What names a row."""

    method: str
    scheduler: str
    condition: str = ""

    @property
    def label(self) -> str:
        """``dpo + uniform``, ``dpo + uniform, noise-20``; the method alone for a trivial row."""
        row = self.method if self.scheduler == UNTRAINED else f"{self.method} + {self.scheduler}"
        return f"{row}, {self.condition}" if self.condition else row


def condition_of(record: Mapping[str, Any]) -> str:
    """The label of a record's condition; empty where it has none."""
    return str(record.get("condition", {}).get("label", ""))
