"""What a board keeps of a cell beside its numbers: who ran it, and for which reasons its result was replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from prefbench.identity import digest
from prefbench.report.problems import Problem

REPRODUCED, SUBMITTED = "reproduced", "submitted"
MODES = (REPRODUCED, SUBMITTED)
"""Run by those who keep the board, or run elsewhere and checked from its records and items only."""

Record = Mapping[str, Any]


def outcome(record: Record) -> str:
    """sha256 of what a cell came to: its status and its result, without clocks, memory, host and versions."""
    return digest({"status": record["status"], "result": record["result"]})


def changes(record: Record) -> list[dict[str, str]]:
    """How often the cell's outcome was replaced, oldest first: ``was``, the sha256 of the earlier outcome, and ``reason``."""
    return list(record.get("changes", ()))


def replaced(record: Record, before: Record, reason: str) -> list[dict[str, str]]:
    """The changes of a record that takes the place of ``before``: one more where the outcome is another."""
    own = [] if outcome(record) == outcome(before) else [{"was": outcome(before), "reason": reason}]
    return [*changes(before), *own]


def stated_reason(record: Record, before: Record) -> str:
    """Why the outcome is no longer that of ``before``, as the record states it; empty where it states nothing."""
    was = outcome(before)
    return next((change["reason"] for change in changes(record) if change["was"] == was), "")


def statement_problems(file: str, record: Record) -> Iterator[Problem]:
    """What is wrong with a record's mode and with the changes that it states."""
    if record["mode"] not in MODES:
        yield Problem(file, "mode", " or ".join(MODES), repr(record["mode"]))
    for change in changes(record):
        whole = change.keys() == {"was", "reason"} and re.fullmatch("[0-9a-f]{64}", change["was"]) and change["reason"].strip()
        if not whole:
            yield Problem(file, "changes", "a sha256 and a reason", f"{change}")
