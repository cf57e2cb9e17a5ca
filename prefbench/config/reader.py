"""A track file read against the registry; every mistake is collected, and all are raised at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from prefbench.api import Component
from prefbench.config.checks import Checks, chained, repeated
from prefbench.config.files import read_toml
from prefbench.config.rows import Rows
from prefbench.config.rules import (
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


class _Reader(Checks):
    """Reads one file, table by table."""

    def read(self, selection: Selection) -> Track:
        self.unknown("", self.data, TABLES)
        head = self.table("track")
        self.unknown("track", head, TRACK_KEYS)
        methods, schedulers, conditions = self._methods(), self._schedulers(), self._conditions()
        choice = Rows(self, methods, schedulers, conditions)
        grid = choice.grid()
        rows = choice.select(grid, selection)
        tune = self._rules(TuneRules) if "tune" in self.data else None
        track = Track(
            path=self.path,
            name=self.typed("track.name", head.get("name"), str, self.path.stem),
            version=self.typed("track.version", head.get("version"), int, 1),
            description=self.typed("track.description", head.get("description", ""), str, ""),
            seed_varies=tuple(self.list_of("track.seed_varies", head.get("seed_varies", []), str)),
            seeds=selection.seeds or self._seeds(head.get("seeds", [0, 1, 2])),
            tuning=self.typed("track.tuning", head.get("tuning", "pre-tuned"), str, ""),
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
            to_tune=_to_tune(rows, grid, methods, selection) if tune else (),
            columns=self._columns(),
            skipped=self.skipped,
        )
        self._check_weights(track)
        self._check_tuning(track, selection)
        self.raise_all()
        return track

    # ---- the parts of the file

    def _seeds(self, value: Any) -> tuple[int, ...]:
        seeds = self.list_of("track.seeds", value, int)
        if value == []:
            self.problem("track.seeds", "needs at least one seed")
        if seeds and min(seeds) < 0:
            self.problem("track.seeds", f"must not be negative, and {min(seeds)} is")
        for seed in repeated(seeds):
            self.problem("track.seeds", f"names seed {seed} twice")
        return tuple(seeds)

    def _rules(self, rules: type[C]) -> C | None:
        """A table of settings: the class by whose name it is called knows them. None where something is wrong with it."""
        table = self.table(rules.name, required=False)
        problems = option_problems(rules, table)
        for _, message in problems:
            self.problem(rules.name, message)
        return None if problems else build(rules, table)

    def _check_weights(self, track: Track) -> None:
        """Full fine-tuning needs float32: at 8 bits of mantissa most of AdamW's updates are smaller than half a step, and are lost."""
        if track.model.weights != "float32" and track.lora is None and any(row.trained for row in track.rows):
            message = f"weights in {track.model.weights} cannot be trained: most updates are too small for them, and are lost"
            self.problem("model.weights", message, "add a table [lora], whose adapters are float32, or leave the weights in float32")

    def _check_tuning(self, track: Track, selection: Selection) -> None:
        """A tuner sees no test seed, and has a judge's win rate to choose by."""
        if track.tune is None:
            if selection.tune:
                self.problem("--tune", f"{self.path} has no table [tune]", "add one: docs/tuning.md")
            return
        for seed in sorted({*track.tune.seeds} & {*track.seeds}):
            self.problem("tune.seeds", f"seed {seed} is a test seed too", "tune with other seeds")
        if not any(named.name == "alpaca_eval" for named in track.harnesses):
            self.problem("tune", "settings are chosen by the judge's win rate, and there is no [[harness]] alpaca_eval", "add one")

    def _plugin(self, kind: Kind, where: str) -> Named:
        table = dict(self.table(where))
        name = self.typed(f"{where}.name", table.pop("name", None), str, "")
        self.check_plugin(kind, where, name, table)
        return Named(name, table)

    def _harnesses(self) -> tuple[Named, ...]:
        tables = self.list_of("harness", self.data.get("harness", []), dict)
        found = []
        for position, table in enumerate(tables):
            where, options = f"harness[{position}]", dict(table)
            name = self.typed(f"{where}.name", options.pop("name", None), str, "")
            label = self.typed(f"{where}.label", options.pop("label", ""), str, "")
            if label:
                self.check_label(where, label)
            if self.check_plugin("harness", where, name, options):
                self._check_judge(where, name)
            found.append(Named(name, options, label))
        if not tables and isinstance(self.data.get("harness", []), list):
            self.problem("harness", "a track needs at least one [[harness]] table")
        for key in repeated(named.key for named in found):
            self.problem("harness", f"{key} is there twice", 'tell the tables apart by a label, such as label = "greedy"')
        return tuple(found)

    def _labelled(self, name: str, pattern: re.Pattern[str] = NAME) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables under [name], each with its label, which becomes part of file names."""
        for label, table in self.table(name, required=False).items():
            self.check_label(name, label, pattern)
            if isinstance(table, dict):
                yield label, dict(table)
            else:
                self.problem(f"{name}.{label}", f"must be a table, not {table!r}")

    def _methods(self) -> dict[str, Method]:
        methods = {}
        for label, options in self._labelled("methods"):
            where = f"methods.{label}"
            distribution = self.typed(f"{where}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(where, distribution):
                continue
            name = self.typed(f"{where}.objective", options.pop("objective", label), str, "")
            rate = self.rate(f"{where}.learning_rate", options.pop("learning_rate", None))
            with self._broken_only_where_needed(where, distribution):
                self.check_plugin("objective", where, name, options)
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

    def _schedulers(self) -> dict[str, Scheduling]:
        schedulers: dict[str, Scheduling] = {}
        for label, options in self._labelled("schedulers", CHAIN):
            where = f"schedulers.{label}"
            distribution = self.typed(f"{where}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(where, distribution):
                continue
            name = self.typed(f"{where}.scheduler", options.pop("scheduler", label), str, "")
            with self._broken_only_where_needed(where, distribution):
                schedulers[label] = Scheduling(label, ())
                schedulers[label] = Scheduling(label, self._links(where, name, options))
        return schedulers

    def _links(self, where: str, name: str, options: dict[str, Any]) -> tuple[Named, ...]:
        """One scheduler with its options; or the links of a chain such as ``selective + sams``, each with those of its own table."""
        names = chained(name)
        if len(names) < 2:
            self.check_plugin("scheduler", where, name, options)
            return (Named(name, options),)
        for twice in repeated(names):
            self.problem(where, f"the chain has {twice} twice")
        for key, value in options.items():
            if key not in names or not isinstance(value, dict):
                self.problem(f"{where}.{key}", f"{name} is a chain", f"give a link its options in a table such as [{where}.{names[-1]}]")
        links = tuple(Named(link, options[link] if isinstance(options.get(link), dict) else {}) for link in names)
        before = len(self.problems)
        for link in links:
            self.check_plugin("scheduler", where, link.name, link.options)
        if len(self.problems) == before:
            self.check_chain(where, links)
        return links

    def _columns(self) -> dict[str, Named]:
        """Columns with options, by label: ``[columns.noisy] column = "reward-margin"``."""
        columns = {}
        for label, options in self._labelled("columns"):
            distribution = self.typed(f"columns.{label}.distribution", options.pop("distribution", ""), str, "")
            if self._absent(f"columns.{label}", distribution):
                continue
            name = self.typed(f"columns.{label}.column", options.pop("column", label), str, "")
            with self._broken_only_where_needed(f"columns.{label}", distribution):
                self.check_plugin("column", f"columns.{label}", name, options)
            columns[label] = Named(name, options)
        return columns

    def _conditions(self) -> dict[str, Condition]:
        """What is otherwise for some rows: options of the source, a fixed learning rate, or whose tuned settings they take."""
        conditions = {}
        for label, table in self._labelled("conditions"):
            where = f"conditions.{label}"
            self.unknown(where, table, {"source", "learning_rate", "tuned_in"})
            options = table.get("source", {})
            if not isinstance(options, dict):
                self.problem(f"{where}.source", f"must be a table of the source's options, not {options!r}")
                options = {}
            source = self.table("source")
            self.check_plugin("source", f"{where}.source", source.get("name", ""), {**_without_name(source), **options})
            rate = self.rate(f"{where}.learning_rate", table.get("learning_rate"))
            tuned_in = self.typed(f"{where}.tuned_in", table["tuned_in"], str, "") if "tuned_in" in table else None
            conditions[label] = Condition(label, options, rate, tuned_in)
        for label, condition in conditions.items():
            self._check_tuned_in(f"conditions.{label}", condition, conditions)
        return conditions

    def _check_tuned_in(self, where: str, condition: Condition, conditions: Mapping[str, Condition]) -> None:
        other = condition.tuned_in
        if not other:
            return
        if other not in conditions:
            self.problem(f"{where}.tuned_in", f"there is no condition {other!r}", did_you_mean(other, conditions))
        elif conditions[other].tuned_in is not None:
            self.problem(f"{where}.tuned_in", f"{other} takes its settings from another condition itself")
        if condition.learning_rate is not None:
            self.problem(where, "has a learning_rate, and takes it from another condition with tuned_in", "leave one of them out")

    # ---- single values

    def _check_judge(self, where: str, harness: str) -> None:
        if self.registry.get("harness", harness).asks_judge and "judge" not in self.data:
            self.problem(where, f"{harness} asks a judge, and there is no table [judge]", "add [judge] with the name of a judge")


def _to_tune(rows: Iterable[Row], grid: Sequence[Row], methods: Mapping[str, Method], selection: Selection) -> tuple[Row, ...]:
    """The rows of the track's grid whose methods have no values of their own; all that are trained where the command line asks for it."""
    tuned = [row for row in rows if row.trained and row.method in methods]
    return tuple(row for row in tuned if selection.tune or (row in grid and not methods[row.method].pre_tuned))


def _without_name(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "name"}
