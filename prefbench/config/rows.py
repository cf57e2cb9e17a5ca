"""Which rows a track has: its trivial ones and its grids, and those of them, or besides them, that the command line asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.config.checks import Checks, chained, repeated
from prefbench.config.rules import UNTRAINED, Condition, Method, Named, Row, Scheduling, Selection
from prefbench.registry import Kind, did_you_mean


@dataclass
class Rows:
    """The rows of one file; ``methods`` and ``schedulers`` grow by the labels that a row uses without a table of their own."""

    checks: Checks
    methods: dict[str, Method]
    schedulers: dict[str, Scheduling]
    conditions: Mapping[str, Condition]

    def grid(self) -> list[Row]:
        """The rows of all [[grid]] tables; without those whose plugins are not installed."""
        tables = self.checks.list_of("grid", self.checks.data.get("grid", []), dict)
        return [row for position, table in enumerate(tables) for row in self._grid_rows(f"grid[{position}]", table)]

    def select(self, grid: Iterable[Row], selection: Selection) -> tuple[Row, ...]:
        """Trivial rows first, then the grid; ``selection`` keeps some, and may name a method that the track does not know.

        Raises the PrefbenchError of the first broken plugin that one of them needs.
        """
        rows = list(dict.fromkeys([*self._trivial_rows(), *grid]))
        if not (rows or self.checks.skipped or self.checks.problems):
            self.checks.problem("grid", "the track has no rows", "add a [[grid]] with methods, or [trivial] rows")
        for cell in repeated(row.name for row in rows):
            self.checks.problem("grid", f"{cell} is the name of two rows", "give one of their labels another name")
        if selection.only or selection.schedulers:
            rows = list(dict.fromkeys(self._selected(rows, selection)))
        self._refuse_broken(rows)
        return tuple(rows)

    def _trivial_rows(self) -> list[Row]:
        table = self.checks.table("trivial", required=False)
        self.checks.unknown("trivial", table, {"rows"})
        roles = self.checks.list_of("trivial.rows", table.get("rows", []), str)
        for role in roles:
            self.checks.check_label("trivial.rows", role)
        return [Row(role, UNTRAINED) for role in roles]

    def _grid_rows(self, where: str, table: Mapping[str, Any]) -> Iterator[Row]:
        self.checks.unknown(where, table, {"methods", "schedulers", "conditions"})
        paired = self._labels(f"{where}.schedulers", table.get("schedulers", ["uniform"]))
        under = self._grid_conditions(where, table)
        for method in self._labels(f"{where}.methods", table.get("methods", [])):
            if f"methods.{method}" in self.checks.skipped:
                continue
            self._know_method(f"{where}.methods", method)
            for scheduler in ("+".join(chained(label)) for label in paired):
                if self._lacking(scheduler):
                    continue
                self._know_scheduler(f"{where}.schedulers", scheduler)
                yield from (Row(method, scheduler, condition) for condition in under)

    def _grid_conditions(self, where: str, table: Mapping[str, Any]) -> list[str]:
        if "conditions" not in table:
            return [""]
        under = self._labels(f"{where}.conditions", table["conditions"])
        for condition in under:
            if condition not in self.conditions:
                self.checks.problem(f"{where}.conditions", f"there is no condition {condition!r}", did_you_mean(condition, self.conditions))
        return under

    def _labels(self, where: str, value: Any) -> list[str]:
        if value == []:
            self.checks.problem(where, "names nothing")
        return self.checks.list_of(where, value, str)

    def _selected(self, rows: Iterable[Row], selection: Selection) -> Iterator[Row]:
        """The trivial rows, and those of the methods and schedulers that are asked for, under every condition of the method's other rows."""
        trained, trivial = [row for row in rows if row.trained], [row for row in rows if not row.trained]
        yield from trivial
        asked = tuple("+".join(chained(scheduler)) for scheduler in selection.schedulers)
        for label in selection.only or dict.fromkeys(row.method for row in trained):
            if any(row.method == label for row in trivial):
                continue
            self._know_method("--only", label)
            own = [row for row in trained if row.method == label]
            if asked or not own:
                conditions = dict.fromkeys(row.condition for row in own or trained) or {"": None}
                own = [Row(label, scheduler, condition) for scheduler in asked or ("uniform",) for condition in conditions]
            for row in own:
                self._know_scheduler("--scheduler", row.scheduler)
            yield from own

    def _know_method(self, where: str, label: str) -> None:
        """A label without a table of its own stands for the plugin of that name, with its defaults."""
        if f"methods.{label}" in self.checks.skipped:
            self.checks.problem(where, f"{label}: {self.checks.skipped[f'methods.{label}']}")
        elif label not in self.methods and self._is_plugin("objective", where, label, self.methods):
            self.methods[label] = Method(label, Named(label))

    def _know_scheduler(self, where: str, label: str) -> None:
        """The same; and ``a+b`` is a chain of schedulers of the track, with the options that they have there, or of plugins by name."""
        if label in self.schedulers:
            return
        names = chained(label)
        if absent := self._lacking(label):
            self.checks.problem(where, f"{label}: {absent}")
        elif not [name for name in names if name not in self.schedulers and not self._is_plugin("scheduler", where, name, self.schedulers)]:
            parts = [self.schedulers[name].links if name in self.schedulers else (Named(name),) for name in names]
            links = tuple(link for part in parts for link in part)
            self.schedulers[label] = Scheduling(label, links)
            if not self.checks.problems and not any(f"schedulers.{name}" in self.checks.broken for name in names):
                self.checks.check_chain(where, links)

    def _lacking(self, scheduler: str) -> str:
        """Why a scheduler, or one of a chain's links, is left out; empty where none is."""
        return next((reason for where in scheduler_tables(scheduler) if (reason := self.checks.skipped.get(where))), "")

    def _is_plugin(self, kind: Kind, where: str, label: str, labelled: Iterable[str]) -> bool:
        """Whether there is a plugin of the name, with its defaults."""
        if not label:
            self.checks.problem(where, "an empty name")
        return self.checks.check_plugin(kind, where, label, {}, also=labelled)

    def _refuse_broken(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for where in (f"methods.{row.method}", *scheduler_tables(row.scheduler)):
                if where in self.checks.broken:
                    raise self.checks.broken[where]


def scheduler_tables(label: str) -> tuple[str, ...]:
    """The tables that may say something of a scheduler: its own, and those of a chain's links."""
    return tuple(f"schedulers.{name}" for name in dict.fromkeys([label, *chained(label)]))
