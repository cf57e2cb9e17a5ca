"""Loads every plugin, one at a time: a broken one becomes a row and hides no other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from prefbench.errors import PrefbenchError
from prefbench.registry.candidates import Candidate, installed
from prefbench.registry.importing import import_plugin, line_of
from prefbench.registry.last_check import LastCheck, remember
from prefbench.registry.names import Registry
from prefbench.registry.offers import offers
from prefbench.registry.rows import BrokenPluginError, PluginRow, Registered
from prefbench.registry.static import from_file, known_verdict

Taken = dict[tuple[str, str], tuple[Registered, Candidate]]


def load_registry(files: Sequence[Path] = ()) -> Registry:
    """Load the installed plugins and the given plugin files.

    A broken installed plugin stops nothing that does not need it, unless PREFBENCH_STRICT_PLUGINS=1. A file is given by name because it is
    needed, so a broken one is an error at once.

    Raises:
        PrefbenchError: a file is not there (exit code 2) or broken, or the environment asks for strictness and any plugin is broken (3).
    """
    registry = Registry(*_load(_candidates(files))[1:])
    _refuse_needed(registry.rows, {str(path) for path in files})
    return registry


def check_plugins(files: Sequence[Path] = ()) -> tuple[list[PluginRow], str]:
    """Import every plugin and remember the outcome for ``list_plugins``.

    Returns:
        A row each, whatever became of it; and why the outcome could not be remembered, empty if it was.

    Raises:
        PrefbenchError: a file is not there.
    """
    candidates, rows, _ = _load(_candidates(files))
    checked = [(candidate, row) for candidate, row in zip(candidates, rows, strict=True) if row.status != "disabled"]
    try:
        remember((candidate, row) for candidate, row in checked if not candidate.is_file)
    except OSError as error:
        return rows, str(error)
    return rows, ""


def _candidates(files: Sequence[Path]) -> list[Candidate]:
    for path in files:
        if not path.is_file():
            raise PrefbenchError(f"--plugin {path}: there is no such file", "give the path of a Python file")
    return installed() + [from_file(path) for path in {path.resolve(): path for path in files}.values()]


def _load(candidates: Sequence[Candidate]) -> tuple[Sequence[Candidate], list[PluginRow], list[Registered]]:
    memory, taken = LastCheck(), Taken()
    rows = [known_verdict(candidate, memory) or _load_one(candidate, taken, memory) for candidate in candidates]
    return candidates, rows, [component for component, _ in taken.values()]


def _load_one(candidate: Candidate, taken: Taken, memory: LastCheck) -> PluginRow:
    """Import one plugin and add its components to ``taken``: all of them, or none and the reason in the row."""
    try:
        components = offers(import_plugin(candidate), candidate)
        _refuse_clash(components, taken)
    except BrokenPluginError as broken:
        return candidate.row("broken", broken.reason, broken.where, broken.provides or memory.last_provided(candidate))
    taken.update({(component.kind, component.name): (component, candidate) for component in components})
    return candidate.row("ok", provides=_provides(components))


def _provides(components: Sequence[Registered]) -> tuple[str, ...]:
    return tuple(f"{component.kind} {component.name}" for component in components)


def _refuse_clash(components: Sequence[Registered], taken: Taken) -> None:
    own: set[tuple[str, str]] = set()
    for component in components:
        key = (component.kind, component.name)
        if key in taken or key in own:
            owner = taken[key][1] if key in taken else None
            by = f"provided by {owner.distribution or owner.origin}" if owner else "in the same plugin"
            raise BrokenPluginError(
                f"the name {component.kind} {component.name} is taken: already {by}", line_of(component.component), _provides(components)
            )
        own.add(key)


def _refuse_needed(rows: Sequence[PluginRow], files: set[str]) -> None:
    strict = os.environ.get("PREFBENCH_STRICT_PLUGINS", "").strip().lower() in {"1", "true", "yes"}
    for row in rows:
        if row.status == "broken" and (strict or row.origin in files):
            why = "" if row.origin in files else " (PREFBENCH_STRICT_PLUGINS makes that an error)"
            raise PrefbenchError(f"the plugin {row.name} is broken: {row.reason}{why}", f"mend {row.where or row.origin}", 3)
