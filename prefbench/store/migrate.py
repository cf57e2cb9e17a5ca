"""Records of older schemas, brought to the present one when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefbench.errors import DamagedError, PrefbenchError
from prefbench.store.files import RUN_AGAIN
from prefbench.store.sealed import unsealed

RECORD_SCHEMA = 2
FIRST_SEALED = 2
"""The first schema whose records state their own digest."""


def present(raw: Any, path: Path) -> dict[str, Any]:
    """A record as read, in the present schema, its seal checked and taken off.

    Raises DamagedError where it is no record or was changed, PrefbenchError where a newer prefbench wrote it.
    """
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise DamagedError(f"{path}: damaged: no record of any schema", RUN_AGAIN)
    if schema > RECORD_SCHEMA:
        raise PrefbenchError(f"{path}: record schema {schema}, and this prefbench reads up to {RECORD_SCHEMA}", "upgrade prefbench")
    record: dict[str, Any] = unsealed(raw, path) if schema >= FIRST_SEALED else dict(raw)
    for older in range(schema, RECORD_SCHEMA):
        record = {**STEPS[older](record), "schema": older + 1}
    return record


def _from_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 knew no records that others submit, errors did not say where their log is, and the columns' clock was that of reading the pairs."""
    error = record.get("error")
    clocks = {"data" if name == "columns" else name: seconds for name, seconds in record.get("clocks", {}).items()}
    return {**record, "clocks": clocks, "mode": "reproduced", "error": {**error, "log": None} if error else None}


STEPS: Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From each older schema to the next."""
