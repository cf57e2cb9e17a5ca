"""A track file read against the registry; every mistake is collected, and all are raised at once."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from prefbench.api import Component
from prefbench.config.files import read_toml
from prefbench.config.rules import (
    UNTRAINED,
    AnswerRules,
    Condition,
    LoraRules,
    Method,
    ModelRules,
    Named,
    Row,
    Scheduling,
    Selection,
    Track,
    TrainRules,
    TuneRules,
)
from prefbench.errors import PrefbenchError
from prefbench.registry import NAME, Kind, Registry, build, did_you_mean, option_problems
from prefbench.schedulers.chain import Chain

T = TypeVar("T")
C = TypeVar("C", bound=Component)

TABLES = {
    "track",
    "source",
    "model",
    "lora",
    "judge",
    "train",
    "tune",
    "answers",
    "harness",
    "methods",
    "schedulers",
    "columns",
    "conditions",
    "grid",
    "trivial",
}
EVERYTHING = Selection()
CHAIN = re.compile(rf"{NAME.pattern}([+]{NAME.pattern})*")
TRACK_KEYS = {"name", "version", "description", "seed_varies", "seeds", "tuning"}


def read_track(path: Path, registry: Registry, selection: Selection = EVERYTHING) -> Track:
    """A track file, checked against the registry. Raises one PrefbenchError that lists every mistake with file and key."""
    return _Reader(path, registry, read_toml(path)).read(selection)


class _Reader:
    """Reads one file; ``problems`` grows while it goes on."""

    def __init__(self, path: Path, registry: Registry, data: dict[str, Any]) -> None:
        self.path, self.registry, self.data = path, registry, data
        self.problems: list[str] = []
        self.skipped: dict[str, str] = {}
        self.broken: dict[str, PrefbenchError] = {}
        self.grid: list[Row] = []

    def read(self, selection: Selection) -> Track:
        self._unknown("", self.data, TABLES)
        head = self._table("track")
        self._unknown("track", head, TRACK_KEYS)
        methods, schedulers, conditions = self._methods(), self._schedulers(), self._conditions()
        rows = self._rows(methods, schedulers, conditions, selection)
        tune = self._rules(TuneRules) if "tune" in self.data else None
        track = Track(
            path=self.path,
            name=self._typed("track.name", head.get("name"), str, self.path.stem),
            version=self._typed("track.version", head.get("version"), int, 1),
            description=self._typed("track.description", head.get("description", ""), str, ""),
            seed_varies=tuple(self._list("track.seed_varies", head.get("seed_varies", []), str)),
            seeds=selection.seeds or self._seeds(head.get("seeds", [0, 1, 2])),
            tuning=self._typed("track.tuning", head.get("tuning", "pre-tuned"), str, ""),
            source=self._plugin("source", "source"),
            judge=self._plugin("judge", "judge") if "judge" in self.data else None,
            train=self._rules(TrainRules) or TrainRules(),
            model=self._rules(ModelRules) or ModelRules(),
            lora=self._rules(LoraRules) if "lora" in self.data else None,
            answers=self._rules(AnswerRules) or AnswerRules(),
            harnesses=self._harnesses(),
            methods=methods,
            schedulers=schedulers,
            rows=rows,
            conditions=conditions,
            tune=tune,
            to_tune=self._to_tune(rows, methods, selection) if tune else (),
            columns=self._columns(),
            skipped=self.skipped,
        )
        self._check_weights(track)
        self._check_tuning(track, selection)
        self._raise()
        return track

    # ---- the parts of the file

    def _seeds(self, value: Any) -> tuple[int, ...]:
        seeds = self._list("track.seeds", value, int)
        if value == []:
            self._problem("track.seeds", "needs at least one seed")
        if seeds and min(seeds) < 0:
            self._problem("track.seeds", f"must not be negative, and {min(seeds)} is")
        for seed in _repeated(seeds):
            self._problem("track.seeds", f"names seed {seed} twice")
        return tuple(seeds)

    def _rules(self, rules: type[C]) -> C | None:
        """A table of settings: the class by whose name it is called knows them. None where something is wrong with it."""
        table = self._table(rules.name, required=False)
        problems = option_problems(rules, table)
        for _, message in problems:
            self._problem(rules.name, message)
        return None if problems else build(rules, table)

    def _check_weights(self, track: Track) -> None:
        """Full fine-tuning needs float32: at 8 bits of mantissa most of AdamW's updates are smaller than half a step, and are lost."""
        if track.model.weights != "float32" and track.lora is None and any(row.trained for row in track.rows):
            message = f"weights in {track.model.weights} cannot be trained: most updates are too small for them, and are lost"
            self._problem("model.weights", message, "add a table [lora], whose adapters are float32, or leave the weights in float32")

    def _to_tune(self, rows: Iterable[Row], methods: Mapping[str, Method], selection: Selection) -> tuple[Row, ...]:
        """The rows of the track's grid whose methods have no values of their own; all that are trained where the command line asks for it."""
        tuned = [row for row in rows if row.trained and row.method in methods]
        return tuple(row for row in tuned if selection.tune or (row in self.grid and not methods[row.method].pre_tuned))

    def _check_tuning(self, track: Track, selection: Selection) -> None:
        """A tuner sees no test seed, and has a judge's win rate to choose by."""
        if track.tune is None:
            if selection.tune:
                self._problem("--tune", f"{self.path} has no table [tune]", "add one: docs/tuning.md")
            return
        for seed in sorted({*track.tune.seeds} & {*track.seeds}):
            self._problem("tune.seeds", f"seed {seed} is a test seed too", "tune with other seeds")
        if not any(named.name == "alpaca_eval" for named in track.harnesses):
            self._problem("tune", "settings are chosen by the judge's win rate, and there is no [[harness]] alpaca_eval", "add one")

    def _plugin(self, kind: Kind, where: str) -> Named:
        table = dict(self._table(where))
        name = self._typed(f"{where}.name", table.pop("name", None), str, "")
        self._check_plugin(kind, where, name, table)
        return Named(name, table)

    def _harnesses(self) -> tuple[Named, ...]:
        tables = self._list("harness", self.data.get("harness", []), dict)
        found = []
        for position, table in enumerate(tables):
            where, options = f"harness[{position}]", dict(table)
            name = self._typed(f"{where}.name", options.pop("name", None), str, "")
            label = self._typed(f"{where}.label", options.pop("label", ""), str, "")
            if label:
                self._check_label(where, label)
            if self._check_plugin("harness", where, name, options):
                self._check_judge(where, name)
            found.append(Named(name, options, label))
        if not tables and isinstance(self.data.get("harness", []), list):
            self._problem("harness", "a track needs at least one [[harness]] table")
        for key in _repeated(named.key for named in found):
            self._problem("harness", f"{key} is there twice", 'tell the tables apart by a label, such as label = "greedy"')
        return tuple(found)

    def _labelled(self, name: str, pattern: re.Pattern[str] = NAME) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables under [name], each with its label, which becomes part of file names."""
        for label, table in self._table(name, required=False).items():
            self._check_label(name, label, pattern)
            if isinstance(table, dict):
                yield label, dict(table)
            else:
                self._problem(f"{name}.{label}", f"must be a table, not {table!r}")

    def _methods(self) -> dict[str, Method]:
        methods = {}
        for label, options in self._labelled("methods"):
            where = f"methods.{label}"
            distribution = self._typed(f"{where}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(where, distribution):
                continue
            name = self._typed(f"{where}.objective", options.pop("objective", label), str, "")
            rate = self._rate(f"{where}.learning_rate", options.pop("learning_rate", None))
            with self._broken_only_where_needed(where, distribution):
                self._check_plugin("objective", where, name, options)
            methods[label] = Method(label, Named(name, options), rate)
        return methods

    def _absent(self, where: str, distribution: str) -> bool:
        """A table may name the distribution that brings its plugin; where that is not installed, its rows are skipped, and are no mistakes."""
        if not distribution or any(row.distribution == distribution for row in self.registry.rows):
            return False
        self.skipped[where] = f"{distribution} is not installed (python -m pip install {distribution}, or its folder)"
        return True

    @contextmanager
    def _broken_only_where_needed(self, where: str, distribution: str = "") -> Iterator[None]:
        """A broken plugin behind a table costs the rows that use it: kept until it is known which rows are run."""
        before = len(self.problems)
        try:
            yield
        except PrefbenchError as error:
            self.broken[where] = error
        row = next(
            (row for row in self.registry.rows if distribution and row.distribution == distribution and row.status == "broken"), None
        )
        if row and len(self.problems) > before:  # its names were never seen, so that they pass for unknown ones
            del self.problems[before:]
            message = f"{where} needs the plugin {row.name}, which is broken: {row.reason}"
            self.broken[where] = PrefbenchError(message, f"mend {row.where or row.origin}", 3)

    def _refuse_broken(self, rows: Iterable[Row]) -> None:
        """Raise the PrefbenchError of the first broken plugin that a row needs."""
        for row in rows:
            for where in (f"methods.{row.method}", *(f"schedulers.{name}" for name in (row.scheduler, *chained(row.scheduler)))):
                if where in self.broken:
                    raise self.broken[where]

    def _schedulers(self) -> dict[str, Scheduling]:
        schedulers: dict[str, Scheduling] = {}
        for label, options in self._labelled("schedulers", CHAIN):
            where = f"schedulers.{label}"
            distribution = self._typed(f"{where}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(where, distribution):
                continue
            name = self._typed(f"{where}.scheduler", options.pop("scheduler", label), str, "")
            with self._broken_only_where_needed(where, distribution):
                schedulers[label] = Scheduling(label, ())
                schedulers[label] = Scheduling(label, self._links(where, name, options))
        return schedulers

    def _links(self, where: str, name: str, options: dict[str, Any]) -> tuple[Named, ...]:
        """One scheduler with its options; or the links of a chain such as ``selective + sams``, each with those of its own table."""
        names = chained(name)
        if len(names) < 2:
            self._check_plugin("scheduler", where, name, options)
            return (Named(name, options),)
        for twice in _repeated(names):
            self._problem(where, f"the chain has {twice} twice")
        for key, value in options.items():
            if key not in names or not isinstance(value, dict):
                self._problem(f"{where}.{key}", f"{name} is a chain", f"give a link its options in a table such as [{where}.{names[-1]}]")
        links = tuple(Named(link, options[link] if isinstance(options.get(link), dict) else {}) for link in names)
        before = len(self.problems)
        for link in links:
            self._check_plugin("scheduler", where, link.name, link.options)
        if len(self.problems) == before:
            self._check_chain(where, links)
        return links

    def _check_chain(self, where: str, links: Sequence[Named]) -> None:
        try:
            Chain(tuple(build(self.registry.get("scheduler", link.name), link.options) for link in links))
        except PrefbenchError as error:
            self._problem(where, f"{error}", error.hint)

    def _columns(self) -> dict[str, Named]:
        """Columns with options, by label: ``[columns.noisy] column = "reward-margin"``."""
        columns = {}
        for label, options in self._labelled("columns"):
            distribution = self._typed(f"columns.{label}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(f"columns.{label}", distribution):
                continue
            name = self._typed(f"columns.{label}.column", options.pop("column", label), str, "")
            with self._broken_only_where_needed(f"columns.{label}", distribution):
                self._check_plugin("column", f"columns.{label}", name, options)
            columns[label] = Named(name, options)
        return columns

    def _conditions(self) -> dict[str, Condition]:
        """What is otherwise for some rows: options of the source, a fixed learning rate, or whose tuned settings they take."""
        conditions = {}
        for label, table in self._labelled("conditions"):
            where = f"conditions.{label}"
            self._unknown(where, table, {"source", "learning_rate", "tuned_in"})
            options = table.get("source", {})
            if not isinstance(options, dict):
                self._problem(f"{where}.source", f"must be a table of the source's options, not {options!r}")
                options = {}
            source = self._table("source")
            self._check_plugin("source", f"{where}.source", source.get("name", ""), {**_without_name(source), **options})
            rate = self._rate(f"{where}.learning_rate", table.get("learning_rate"))
            tuned_in = self._typed(f"{where}.tuned_in", table["tuned_in"], str, "") if "tuned_in" in table else None
            conditions[label] = Condition(label, options, rate, tuned_in)
        for label, condition in conditions.items():
            self._check_tuned_in(f"conditions.{label}", condition, conditions)
        return conditions

    def _check_tuned_in(self, where: str, condition: Condition, conditions: Mapping[str, Condition]) -> None:
        other = condition.tuned_in
        if not other:
            return
        if other not in conditions:
            self._problem(f"{where}.tuned_in", f"there is no condition {other!r}", did_you_mean(other, conditions))
        elif conditions[other].tuned_in is not None:
            self._problem(f"{where}.tuned_in", f"{other} takes its settings from another condition itself")
        if condition.learning_rate is not None:
            self._problem(where, "has a learning_rate, and takes it from another condition with tuned_in", "leave one of them out")

    def _rows(
        self,
        methods: dict[str, Method],
        schedulers: dict[str, Scheduling],
        conditions: Mapping[str, Condition],
        selection: Selection,
    ) -> tuple[Row, ...]:
        """Trivial rows first, then the grid; ``selection`` keeps some, and may name a method that the track does not know."""
        self.grid = list(self._grid_rows(methods, schedulers, conditions))
        rows = [*self._trivial_rows(), *self.grid]
        if not (rows or self.skipped or self.problems):
            self._problem("grid", "the track has no rows", "add a [[grid]] with methods, or [trivial] rows")
        for cell in _repeated(row.name for row in dict.fromkeys(rows)):
            self._problem("grid", f"{cell} is the name of two rows", "give one of their labels another name")
        selected = self._select(list(dict.fromkeys(rows)), methods, schedulers, selection)
        self._refuse_broken(selected)
        return selected

    def _trivial_rows(self) -> list[Row]:
        table = self._table("trivial", required=False)
        self._unknown("trivial", table, {"rows"})
        roles = self._list("trivial.rows", table.get("rows", []), str)
        for role in roles:
            self._check_label("trivial.rows", role)
        return [Row(role, UNTRAINED) for role in roles]

    def _grid_rows(
        self, methods: dict[str, Method], schedulers: dict[str, Scheduling], conditions: Mapping[str, Condition]
    ) -> Iterator[Row]:
        for position, table in enumerate(self._list("grid", self.data.get("grid", []), dict)):
            where = f"grid[{position}]"
            self._unknown(where, table, {"methods", "schedulers", "conditions"})
            paired = self._labels(f"{where}.schedulers", table.get("schedulers", ["uniform"]))
            under = self._labels(f"{where}.conditions", table["conditions"]) if "conditions" in table else [""]
            for condition in under:
                if condition not in {"", *conditions}:
                    self._problem(f"{where}.conditions", f"there is no condition {condition!r}", did_you_mean(condition, conditions))
            for method in self._labels(f"{where}.methods", table.get("methods", [])):
                if f"methods.{method}" in self.skipped:
                    continue
                self._known_method(f"{where}.methods", method, methods)
                for scheduler in ("+".join(chained(label)) for label in paired):
                    if any(f"schedulers.{name}" in self.skipped for name in (scheduler, *chained(scheduler))):
                        continue
                    self._known_scheduler(f"{where}.schedulers", scheduler, schedulers)
                    yield from (Row(method, scheduler, condition) for condition in under)

    def _labels(self, where: str, value: Any) -> list[str]:
        if value == []:
            self._problem(where, "names nothing")
        return self._list(where, value, str)

    def _select(
        self, rows: list[Row], methods: dict[str, Method], schedulers: dict[str, Scheduling], selection: Selection
    ) -> tuple[Row, ...]:
        if not selection.only and not selection.schedulers:
            return tuple(rows)
        trained = [row for row in rows if row.trained]
        kept = [row for row in rows if not row.trained]
        asked = tuple("+".join(chained(scheduler)) for scheduler in selection.schedulers)
        for label in selection.only or dict.fromkeys(row.method for row in trained):
            if any(row.method == label for row in kept):
                continue
            self._known_method("--only", label, methods)
            own = [row for row in trained if row.method == label]
            if asked or not own:
                conditions = dict.fromkeys(row.condition for row in own or trained) or {"": None}
                own = [Row(label, scheduler, condition) for scheduler in asked or ("uniform",) for condition in conditions]
            for row in own:
                self._known_scheduler("--scheduler", row.scheduler, schedulers)
            kept += own
        return tuple(dict.fromkeys(kept))

    def _known_method(self, where: str, label: str, methods: dict[str, Method]) -> None:
        """A label without a table of its own stands for the plugin of that name, with its defaults."""
        if f"methods.{label}" in self.skipped:
            self._problem(where, f"{label}: {self.skipped[f'methods.{label}']}")
        elif label not in methods and self._check_named("objective", where, label, methods):
            methods[label] = Method(label, Named(label))

    def _known_scheduler(self, where: str, label: str, schedulers: dict[str, Scheduling]) -> None:
        """The same; and ``a+b`` is a chain of schedulers of the track, with the options that they have there, or of plugins by name."""
        if label in schedulers:
            return
        names = chained(label)
        if absent := next((self.skipped[f"schedulers.{name}"] for name in names if f"schedulers.{name}" in self.skipped), ""):
            self._problem(where, f"{label}: {absent}")
        elif not [name for name in names if name not in schedulers and not self._check_named("scheduler", where, name, schedulers)]:
            parts = [schedulers[name].links if name in schedulers else (Named(name),) for name in names]
            links = tuple(link for part in parts for link in part)
            schedulers[label] = Scheduling(label, links)
            if not self.problems and not any(f"schedulers.{name}" in self.broken for name in names):
                self._check_chain(where, links)

    def _check_named(self, kind: Kind, where: str, label: str, labelled: Iterable[str]) -> bool:
        """Whether there is a plugin of the name, with its defaults."""
        if not label:
            self._problem(where, "an empty name")
        return self._check_plugin(kind, where, label, {}, also=labelled)

    # ---- single values

    def _check_judge(self, where: str, harness: str) -> None:
        if self.registry.get("harness", harness).asks_judge and "judge" not in self.data:
            self._problem(where, f"{harness} asks a judge, and there is no table [judge]", "add [judge] with the name of a judge")

    def _check_label(self, where: str, label: str, pattern: re.Pattern[str] = NAME) -> None:
        if not pattern.fullmatch(label):
            rule = "letters and digits, joined by single dots, dashes or underscores"
            self._problem(where, f"{label!r} cannot be part of a file name", rule)

    def _rate(self, where: str, value: Any) -> float | None:
        if value is not None and not (_is_number(value) and value >= 0):
            self._problem(where, f"must be a finite number of at least 0, not {value!r}")
            return None
        return cast("float | None", value)

    def _check_plugin(self, kind: Kind, where: str, name: str, options: Mapping[str, Any], also: Iterable[str] = ()) -> bool:
        if not name:
            return False
        try:
            component = self.registry.get(kind, name)
        except PrefbenchError as error:
            if error.exit_code == 3:
                raise
            self._problem(where, f"{error}", did_you_mean(name, [*also, *self.registry.names(kind)]) or error.hint)
            return False
        for _, message in option_problems(component, options):
            self._problem(where, message)
        return True

    def _table(self, name: str, required: bool = True) -> dict[str, Any]:
        table = self.data.get(name)
        if isinstance(table, dict):
            return table
        if table is not None:
            self._problem(name, f"must be a table, not {type(table).__name__}")
        elif required:
            self._problem(name, f"the table [{name}] is missing")
        return {}

    def _typed(self, where: str, value: Any, kind: type, default: Any) -> Any:
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self._problem(where, f"must be {kind.__name__}, not {value!r}" if value is not None else "is missing")
        return default

    def _list(self, where: str, value: Any, kind: type) -> list[Any]:
        if isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
            return value
        if kind is dict:
            self._problem(where, f"must be a list of tables, not {type(value).__name__}", f"write [[{where}]]")
        else:
            self._problem(where, f"must be a list of {kind.__name__}, not {value!r}")
        return []

    def _unknown(self, where: str, table: Mapping[str, Any], known: set[str]) -> None:
        for key in table:
            if key not in known:
                self._problem(f"{where}.{key}" if where else key, "is not known here", did_you_mean(key, known))

    def _problem(self, where: str, message: str, hint: str = "") -> None:
        place = where if where.startswith("--") else f"{self.path}: {where}"
        self.problems.append(f"{place}: {message}" + (f"; {hint}" if hint else ""))

    def _raise(self) -> None:
        if self.problems:
            count = f"{len(self.problems)} mistakes:\n  " if len(self.problems) > 1 else ""
            typed = all(problem.startswith("--") for problem in self.problems)
            hint = "`prefbench show` lists every name" if typed else "see docs/tracks.md; `prefbench show NAME` lists a plugin's options"
            raise PrefbenchError(count + "\n  ".join(self.problems), hint)


def _without_name(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "name"}


def chained(name: str) -> list[str]:
    """The links of ``a + b``; of a plain name, itself."""
    return [part.strip() for part in name.split("+")]


def _repeated(values: Iterable[T]) -> list[T]:
    """What occurs more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
