"""A row's trials as cells of a track of their own: the same pairs, budget and judge, but other seeds, and validation prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from prefbench.config import Chosen, Named, Row, Track, TuneRules, resolved
from prefbench.errors import DamagedError
from prefbench.identity import digest
from prefbench.plan import Cell, Planner
from prefbench.registry import Registry, option_fields
from prefbench.store.folder import Folder
from prefbench.tune.search import propose, rounds
from prefbench.tune.study import Attempt, Study, Trial, chosen_by, kept_preferences, read_study, write_study

VALIDATION = "validation"
"""The harness that trials are judged by."""


def trial_track(track: Track, registry: Registry) -> Track:
    """The track of a track's trials: its first AlpacaEval, asked on validation prompts, with the seeds of tuning."""
    assert track.tune is not None
    judged = next(named for named in track.harnesses if named.name == "alpaca_eval")
    known = option_fields(registry.get("harness", VALIDATION))
    options = {name: value for name, value in judged.options.items() if name in known}
    studied = tuple(dict.fromkeys(studied_row(track, row) for row in track.to_tune))
    return dataclasses.replace(track, harnesses=(Named(VALIDATION, options),), seeds=track.tune.seeds, rows=studied, to_tune=())


def studied_row(track: Track, row: Row) -> Row:
    """The row whose trials choose a row's settings: itself, or the one of the condition that its condition takes its settings from."""
    condition = track.conditions.get(row.condition)
    return row if condition is None or condition.tuned_in is None else dataclasses.replace(row, condition=condition.tuned_in)


@dataclass(frozen=True)
class Trials:
    """The trials of a track's rows, in a run folder. ``planner`` is that of the ``trial_track``."""

    planner: Planner
    folder: Folder

    @property
    def rules(self) -> TuneRules:
        """The track's rules of tuning."""
        assert self.planner.track.tune is not None
        return self.planner.track.tune

    @property
    def workplace(self) -> Folder:
        """Where trials are run; a board keeps the studies alone."""
        return Folder(self.folder.root / "trials")

    @property
    def count(self) -> int:
        """Cells of all trials of all rows."""
        return len(self.planner.track.rows) * self.rules.trials * len(self.rules.seeds)

    def study(self, row: Row) -> Study | None:
        """The study that the folder holds of a row; None where there is none, or what it depends on is not as it was."""
        path = self.folder.study_path(row.name)
        try:
            found = read_study(path) if path.exists() else None
        except DamagedError:
            return None  # it is concluded again from the trials' records
        return found if found and found.key == self.key(row) else None

    def choice(self, row: Row, again: bool = False) -> Chosen | None:
        """The settings of a row; None where it has no study yet, where all its trials failed, or where ``again`` asks for those that did."""
        found = self.study(row)
        return chosen_by(self.folder.study_path(row.name), found) if found and not (again and found.failed) else None

    def key(self, row: Row) -> str:
        """What a row's trials depend on, but for the settings."""
        any_settings = dataclasses.replace(row, chosen=Chosen(1.0, 1.0 if self.has_beta(row) else None))
        return digest({"rules": resolved(self.rules), "cells": [cell.keys["score"] for cell in self.planner.cells([any_settings])]})

    def has_beta(self, row: Row) -> bool:
        """Whether the row's objective has a beta to search."""
        return "beta" in option_fields(type(self.planner.objective(row)))

    def cells(self, row: Row) -> list[Cell]:
        """The cells of all trials that are known by now: a later round's depend on what came of the rounds before."""
        return [cell for trial in self._proposed(row) for cell in self.planner.cells([trial])]

    def _proposed(self, row: Row) -> list[Row]:
        """A row for each trial that is known by now."""
        condition = self.planner.track.conditions.get(row.condition)
        has_beta, rate = self.has_beta(row), condition.learning_rate if condition else None
        values: list[float | None] = []
        for numbers in rounds(self.rules.trials):
            settings = propose(self.rules, has_beta, rate, values)
            rows = [
                dataclasses.replace(row, chosen=dataclasses.replace(chosen, trial=f"t{number:02d}"))
                for number, chosen in enumerate(settings)
            ]
            found = [self._trial(rows[number]) for number in numbers]
            if None in found:
                return rows
            values += [trial.win_rate for trial in found if trial]
        return rows

    def _trial(self, row: Row) -> Trial | None:
        """What came of a trial; None unless it has ended with all seeds, under the rules as they are now."""
        attempts = [self._attempt(cell) for cell in self.planner.cells([row])]
        assert row.chosen is not None
        return Trial(row.chosen, tuple(attempt for attempt in attempts if attempt)) if None not in attempts else None

    def _attempt(self, cell: Cell) -> Attempt | None:
        place = self.workplace
        if not place.record_path(cell.id).exists():
            return None
        record = place.read_record(cell.id)
        if record["keys"] != cell.keys or record["status"] == "interrupted":
            return None
        return Attempt(cell.seed, record["status"], kept_preferences(place.items(cell.id)))

    def conclude(self, row: Row) -> None:
        """Write the study of a row whose trials have all ended."""
        trials = [self._trial(trial) for trial in self._proposed(row)]
        whole = [trial for trial in trials if trial]
        if len(whole) == self.rules.trials:
            study = Study(row.name, self.key(row), resolved(self.rules), tuple(whole))
            write_study(self.folder.study_path(row.name), study)


def apply(track: Track, choices: Sequence[tuple[Row, Chosen | None]]) -> Track:
    """The track with the chosen settings in its rows; rows that have none yet are left out, and are ``to_tune`` still."""
    known = dict(choices)
    rows = [dataclasses.replace(row, chosen=known[row]) if row in known else row for row in track.rows if known.get(row, True)]
    return dataclasses.replace(track, rows=tuple(rows), to_tune=tuple(row for row, chosen in choices if chosen is None))
