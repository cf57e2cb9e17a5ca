"""What the last check of every plugin found, kept as JSON in the cache folder, so that listing them needs no import."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefbench.cache import cache_folder
from prefbench.registry.candidates import Candidate, stamp
from prefbench.registry.rows import PluginRow

SCHEMA = 1
LIMIT = 500
"""Remembered plugins; the oldest are forgotten first."""


class LastCheck:
    """The remembered rows. A row is fresh while the plugin's version and its files are those that were checked."""

    def __init__(self) -> None:
        self._rows = _read()

    def fresh(self, candidate: Candidate) -> PluginRow | None:
        """The row of the last check, or None when the plugin has changed since or was never checked."""
        kept = self._rows.get(_key(candidate))
        return None if kept is None else candidate.row(kept["status"], kept["reason"], kept["where"], kept["provides"])

    def last_provided(self, candidate: Candidate) -> tuple[str, ...]:
        """What any version of this plugin was last seen to provide."""
        seen = [kept["provides"] for key, kept in self._rows.items() if key.startswith(_prefix(candidate)) and kept["provides"]]
        return tuple(seen[-1]) if seen else ()


def remember(checked: Iterable[tuple[Candidate, PluginRow]]) -> None:
    """Keep the rows of a check; raises OSError where the cache folder cannot be written."""
    rows = dict(_read())
    for candidate, row in checked:
        key = _key(candidate)
        rows.pop(key, None)
        rows[key] = {name: value for name, value in asdict(row).items() if name in {"status", "reason", "where", "provides"}}
    _write(dict(list(rows.items())[-LIMIT:]))


def _file() -> Path:
    return cache_folder() / "plugins.json"


def _prefix(candidate: Candidate) -> str:
    return f"{candidate.distribution}/{candidate.name}/"


def _key(candidate: Candidate) -> str:
    return f"{_prefix(candidate)}{candidate.version}/{stamp(candidate)}"


def _read() -> Mapping[str, Any]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
        return content["plugins"] if content["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # a cache that cannot be read is a check that was never made


def _write(rows: Mapping[str, Any]) -> None:
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps({"schema": SCHEMA, "plugins": rows}, indent=1), encoding="utf-8")
    os.replace(scratch, path)
