"""The rows that need no import: metadata, and what the last check remembers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefbench.registry.candidates import Candidate, disabled, installed, refuse_unfit
from prefbench.registry.last_check import LastCheck
from prefbench.registry.rows import BrokenPluginError, PluginRow

DISABLED = "switched off by PREFBENCH_DISABLE_PLUGINS"


def list_plugins(files: Sequence[Path] = ()) -> list[PluginRow]:
    """A row per installed plugin and per file, without importing any of them; what was not checked since it changed is ``unchecked``."""
    memory = LastCheck()
    return [_row(candidate, memory) for candidate in installed()] + [from_file(path).row("unchecked") for path in files]


def from_file(path: Path) -> Candidate:
    """The plugin that is a single file."""
    return Candidate(path.stem, str(path))


def known_verdict(candidate: Candidate, memory: LastCheck) -> PluginRow | None:
    """The row of a plugin that is switched off or that its metadata rule out; None for one that deserves to be imported."""
    if candidate.is_file:
        return None
    if disabled(candidate):
        return candidate.row("disabled", DISABLED, provides=memory.last_provided(candidate))
    try:
        refuse_unfit(candidate)
    except BrokenPluginError as broken:
        return candidate.row("broken", broken.reason, broken.where, memory.last_provided(candidate))
    return None


def _row(candidate: Candidate, memory: LastCheck) -> PluginRow:
    return known_verdict(candidate, memory) or memory.fresh(candidate) or candidate.row("unchecked")
