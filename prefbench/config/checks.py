"""One track file being read: its tables, what is wrong with them so far, and the checks of single values."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from prefbench.config.rules import Named
from prefbench.errors import PrefbenchError
from prefbench.registry import NAME, Kind, Registry, build, did_you_mean, option_problems
from prefbench.schedulers.chain import Chain

T = TypeVar("T")


class Checks:
    """A file's data; ``problems`` grows while they are read.

    ``skipped`` says of tables such as ``methods.madpo`` why they are left out, ``broken`` what their rows are to be refused with.
    """

    def __init__(self, path: Path, registry: Registry, data: dict[str, Any]) -> None:
        self.path, self.registry, self.data = path, registry, data
        self.problems: list[str] = []
        self.skipped: dict[str, str] = {}
        self.broken: dict[str, PrefbenchError] = {}

    def check_label(self, where: str, label: str, pattern: re.Pattern[str] = NAME) -> None:
        """A label becomes part of file names."""
        if not pattern.fullmatch(label):
            rule = "letters and digits, joined by single dots, dashes or underscores"
            self.problem(where, f"{label!r} cannot be part of a file name", rule)

    def rate(self, where: str, value: Any) -> float | None:
        """A learning rate, or None where there is none or it is no rate."""
        if value is not None and not (_is_number(value) and value >= 0):
            self.problem(where, f"must be a finite number of at least 0, not {value!r}")
            return None
        return cast("float | None", value)

    def check_plugin(self, kind: Kind, where: str, name: str, options: Mapping[str, Any], also: Iterable[str] = ()) -> bool:
        """Whether there is a plugin of the name; its options are checked with it. ``also`` are names that may have been meant."""
        if not name:
            return False
        try:
            component = self.registry.get(kind, name)
        except PrefbenchError as error:
            if error.exit_code == 3:
                raise
            self.problem(where, f"{error}", did_you_mean(name, [*also, *self.registry.names(kind)]) or error.hint)
            return False
        for _, message in option_problems(component, options):
            self.problem(where, message)
        return True

    def check_chain(self, where: str, links: Sequence[Named]) -> None:
        """Whether the links of a chain of schedulers go together."""
        try:
            Chain(tuple(build(self.registry.get("scheduler", link.name), link.options) for link in links))
        except PrefbenchError as error:
            self.problem(where, f"{error}", error.hint)

    def table(self, name: str, required: bool = True) -> dict[str, Any]:
        """A table of the file; empty where there is none."""
        table = self.data.get(name)
        if isinstance(table, dict):
            return table
        if table is not None:
            self.problem(name, f"must be a table, not {type(table).__name__}")
        elif required:
            self.problem(name, f"the table [{name}] is missing")
        return {}

    def typed(self, where: str, value: Any, kind: type, default: Any) -> Any:
        """The value, or the default where it is of another kind."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.problem(where, f"must be {kind.__name__}, not {value!r}" if value is not None else "is missing")
        return default

    def list_of(self, where: str, value: Any, kind: type) -> list[Any]:
        """The value, or an empty list where it is no list of that kind."""
        if isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
            return value
        if kind is dict:
            self.problem(where, f"must be a list of tables, not {type(value).__name__}", f"write [[{where}]]")
        else:
            self.problem(where, f"must be a list of {kind.__name__}, not {value!r}")
        return []

    def unknown(self, where: str, table: Mapping[str, Any], known: set[str]) -> None:
        """Every key of a table that means nothing is a mistake."""
        for key in table:
            if key not in known:
                self.problem(f"{where}.{key}" if where else key, "is not known here", did_you_mean(key, known))

    def problem(self, where: str, message: str, hint: str = "") -> None:
        """Note a mistake at a place, which is a key of the file or an option of the command line."""
        place = where if where.startswith("--") else f"{self.path}: {where}"
        self.problems.append(f"{place}: {message}" + (f"; {hint}" if hint else ""))

    def raise_all(self) -> None:
        """Raise one PrefbenchError of all mistakes, if there are any."""
        if self.problems:
            count = f"{len(self.problems)} mistakes:\n  " if len(self.problems) > 1 else ""
            typed = all(problem.startswith("--") for problem in self.problems)
            hint = "`prefbench show` lists every name" if typed else "see docs/tracks.md; `prefbench show NAME` lists a plugin's options"
            raise PrefbenchError(count + "\n  ".join(self.problems), hint)


def chained(name: str) -> list[str]:
    """The links of ``a + b``; of a plain name, itself."""
    return [part.strip() for part in name.split("+")]


def repeated(values: Iterable[T]) -> list[T]:
    """What occurs more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
