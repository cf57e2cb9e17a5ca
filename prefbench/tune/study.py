"""What came of a row's trials: the file that a board keeps of them, and the settings that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.config import Chosen
from prefbench.errors import DamagedError
from prefbench.store.files import lines_digest, read_lines, write_lines

DECIMALS = 4
"""Kept of a preference."""
DIVERGED = "diverged"


@dataclass(frozen=True)
class Attempt:
    """One trial with one seed: how it ended, and the judge's preferences for its answers over the starting model's, None without a verdict."""

    seed: int
    status: str
    preferences: tuple[float | None, ...] = ()

    @property
    def win_rate(self) -> float | None:
        """The mean preference; 0 where training diverged, which is a result; None where it failed."""
        if self.status == DIVERGED:
            return 0.0
        given = [preference for preference in self.preferences if preference is not None]
        return float(np.mean(given)) if given else None


@dataclass(frozen=True)
class Trial:
    """Settings, and what came of them with each seed."""

    settings: Chosen
    attempts: tuple[Attempt, ...]

    @property
    def win_rate(self) -> float | None:
        """The mean over seeds; None where one of them failed."""
        rates = [attempt.win_rate for attempt in self.attempts]
        known = [rate for rate in rates if rate is not None]
        return float(np.mean(known)) if len(known) == len(rates) else None


@dataclass(frozen=True)
class Study:
    """The trials of a row, in their order, under a track's rules of tuning. ``key`` is what they depend on besides the settings."""

    row: str
    key: str
    rules: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial with the highest win rate, of equals the first; None where all failed."""
        found = [trial for trial in self.trials if trial.win_rate is not None]
        # Rounded: of two means that are equal in numbers, the last bit is not to choose.
        return max(found, key=lambda trial: round(trial.win_rate or 0.0, 2 * DECIMALS), default=None)

    @property
    def failed(self) -> int:
        """Trials without a win rate."""
        return sum(trial.win_rate is None for trial in self.trials)

    @property
    def diverged(self) -> int:
        """Trials in which training diverged with some seed."""
        return sum(any(attempt.status == DIVERGED for attempt in trial.attempts) for trial in self.trials)


def kept_preferences(items: Iterable[Mapping[str, Any]]) -> tuple[float | None, ...]:
    """The preferences of a cell's items, as a study keeps them."""
    found = (item["preference"] for item in items)
    return tuple(None if preference is None else round(preference, DECIMALS) for preference in found)


def write_study(path: Path, study: Study) -> None:
    """A line about the study, then one for each trial and seed."""
    head = {"row": study.row, "key": study.key, "rules": dict(study.rules)}
    write_lines(path, [head, *(_line(number, trial, attempt) for number, trial in enumerate(study.trials) for attempt in trial.attempts)])


def _line(number: int, trial: Trial, attempt: Attempt) -> dict[str, Any]:
    settings = {"learning_rate": trial.settings.learning_rate, "beta": trial.settings.beta}
    return {"trial": number, **settings, "seed": attempt.seed, "status": attempt.status, "preferences": list(attempt.preferences)}


def read_study(path: Path) -> Study:
    """The study of a file. Raises DamagedError where it is none."""
    try:
        head, *lines = read_lines(path)
        numbers = dict.fromkeys(line["trial"] for line in lines)
        trials = [_trial([line for line in lines if line["trial"] == number]) for number in numbers]
        return Study(head["row"], head["key"], head["rules"], tuple(trials))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(
            f"{path}: damaged: no study ({type(error).__name__}: {error})", "restore the file, or run the track again"
        ) from None


def _trial(lines: Sequence[Mapping[str, Any]]) -> Trial:
    attempts = [Attempt(line["seed"], line["status"], tuple(line["preferences"])) for line in lines]
    return Trial(Chosen(lines[0]["learning_rate"], lines[0]["beta"]), tuple(attempts))


def chosen_by(path: Path, study: Study) -> Chosen | None:
    """The settings that a study's file gives its row; None where all its trials failed."""
    best = study.best
    return Chosen(best.settings.learning_rate, best.settings.beta, lines_digest(path)) if best else None
