"""The registry: components by kind and name, and helpful errors for names that are not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, overload

from prefbench.api import Column, Component, Harness, Judge, Objective, Scheduler, Source
from prefbench.errors import PrefbenchError
from prefbench.registry.rows import KINDS, Kind, Origin, PluginRow, Registered
from prefbench.registry.suggest import did_you_mean


class Registry:
    """Every component that can be used, and a row for every plugin, whatever became of it."""

    def __init__(self, rows: Sequence[PluginRow], components: Iterable[Registered]) -> None:
        self.rows = tuple(rows)
        self._components = {(component.kind, component.name): component for component in components}

    @overload
    def get(self, kind: Literal["objective"], name: str) -> type[Objective]: ...
    @overload
    def get(self, kind: Literal["scheduler"], name: str) -> type[Scheduler]: ...
    @overload
    def get(self, kind: Literal["column"], name: str) -> type[Column]: ...
    @overload
    def get(self, kind: Literal["harness"], name: str) -> type[Harness]: ...
    @overload
    def get(self, kind: Literal["judge"], name: str) -> type[Judge]: ...
    @overload
    def get(self, kind: Literal["source"], name: str) -> type[Source]: ...
    def get(self, kind: Kind, name: str) -> type[Component]:
        """The class of a component.

        Raises:
            PrefbenchError: there is no such name (exit code 2), or it belongs to a broken plugin (exit code 3).
        """
        return self._registered(kind, name).component

    def origin(self, kind: Kind, name: str) -> Origin:
        """Where a component comes from; part of a cell's identity. Raises as ``get`` does."""
        return self._registered(kind, name).origin

    def names(self, kind: Kind) -> list[str]:
        """The names of a kind, sorted."""
        return sorted(name for known, name in self._components if known == kind)

    def named(self, name: str) -> list[tuple[Kind, type[Component]]]:
        """The components of any kind that have this name; raises ``PrefbenchError`` as ``get`` does when there is none."""
        found = [(component.kind, component.component) for component in self._components.values() if component.name == name]
        if not found:
            raise self._missing("component", name, tuple(KINDS))
        return found

    def _registered(self, kind: Kind, name: str) -> Registered:
        if (kind, name) not in self._components:
            raise self._missing(kind, name, (kind,))
        return self._components[kind, name]

    def _missing(self, what: str, name: str, kinds: Sequence[Kind]) -> PrefbenchError:
        """The error for a name that no component of these kinds has."""
        for row in self.rows:
            provided = next((text for text in row.provides if text in {f"{kind} {name}" for kind in kinds}), "")
            if provided and row.status == "broken":
                message = f"{provided} belongs to the plugin {row.name}, which is broken: {row.reason}"
                return PrefbenchError(message, f"mend {row.where or row.origin}", 3)
            if provided and row.status == "disabled":
                return PrefbenchError(f"{provided} belongs to the plugin {row.name}, which is {row.reason}", "take it out of that list")
        known = [known for kind in kinds for known in self.names(kind)]
        return PrefbenchError(f"no {what} is called {name!r}", self._hint(name, known))

    def _hint(self, name: str, known: Sequence[str]) -> str:
        close = did_you_mean(name, known)
        if close:
            return close
        if not known:
            return "no name of this kind is known at all; is prefbench itself installed? See `prefbench plugins --check`"
        broken = [f"{row.name} ({row.reason})" for row in self.rows if row.status == "broken"]
        maybe = f"; it may belong to a plugin that is broken: {', '.join(broken)}" if broken else ""
        return f"`prefbench plugins --check` lists every name{maybe}"
