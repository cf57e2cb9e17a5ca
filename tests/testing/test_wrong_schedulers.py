"""Schedulers that are wrong on purpose, each in one way, and the checks that find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from prefbench.api import Pool, Scheduler, hyper
from tests.testing.caught import caught

MEMORY: dict[int, float] = {}
"""Where ``KeptInTheModule`` keeps its state."""


@dataclass
class Sound(Scheduler):
    """The pairs of the highest loss, drawn anew among equals."""

    name = "sound"
    wants = ("loss",)
    ratio: float = hyper(0.5, low=0.0, high=1.0)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.argsort(-(pool.statistics["loss"] + 1e-6 * rng.normal(size=len(pool))))[:size]


@dataclass
class Remembering(Sound):
    """The pairs whose loss fell most since they were last seen; one number per pair is kept, as it should be."""

    last: dict[str, float] = field(default_factory=dict, init=False)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        before = np.array([self.last.get(str(row), 2.0) for row in pool.ids])
        self.last |= {str(row): float(loss) for row, loss in zip(pool.ids, pool.statistics["loss"], strict=True)}
        return np.argsort(pool.statistics["loss"] - before + 1e-6 * rng.normal(size=len(pool)))[:size]


@dataclass
class Curriculum(Sound):
    """Easy pairs first, in an order of its own."""

    needs = ("score-gap",)

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        return np.argsort(-columns["score-gap"])[: size // 2]


@dataclass
class OwnPools(Sound):
    """Draws its pools itself."""

    rows: int = field(default=0, init=False)

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        self.rows = size
        return None

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        return rng.choice(self.rows, size=size, replace=False)


@dataclass
class Repeats(Sound):
    """Draws with replacement."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, len(pool), size)


@dataclass
class RowNumbers(Sound):
    """Gives the rows of the training pairs, not their positions in the pool."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return pool.ids[super().select(pool, size, rng)]


@dataclass
class Mask(Sound):
    """Gives a mask."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros(len(pool), dtype=bool)
        mask[super().select(pool, size, rng)] = True
        return mask


@dataclass
class FixedShare(Sound):
    """Gives half the pool, whatever is asked for."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return super().select(pool, max(1, round(0.5 * len(pool))), rng)


@dataclass
class GlobalDraws(Sound):
    """Draws from the generator that everybody draws from."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.random.permutation(len(pool))[:size]


@dataclass
class KeptInTheModule(Remembering):
    """Its state lives in a global of the module, which no checkpoint holds."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        before = np.array([MEMORY.get(int(row), 2.0) for row in pool.ids])
        MEMORY.update(zip(pool.ids.tolist(), pool.statistics["loss"].tolist(), strict=True))
        return np.argsort(pool.statistics["loss"] - before + 1e-6 * rng.normal(size=len(pool)))[:size]


@dataclass
class LeftOut(Remembering):
    """state_dict() forgets what it remembers."""

    def state_dict(self) -> dict[str, Any]:
        return {}


@dataclass
class NoFile(Remembering):
    """Its state is a set, which no checkpoint can hold."""

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        self.seen = {1, 2}


@dataclass
class UndeclaredStatistic(Sound):
    """Reads the margins, and wants losses."""

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.argsort(pool.statistics["margin"])[:size]


@dataclass
class UndeclaredColumn(Curriculum):
    """Reads a column in ``prepare`` that it does not need."""

    needs = ()


@dataclass
class NoStatistic(Sound):
    """Wants what no pool has."""

    wants = ("loss", "losses")


@dataclass
class Grows(Sound):
    """Keeps every pool that it ever saw."""

    pools: list[Any] = field(default_factory=list, init=False)

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        self.pools.append(previous.statistics["loss"])


@dataclass
class InPlace(Sound):
    """Sorts the losses where they stand."""

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        previous.statistics["loss"].sort()


@dataclass
class SortsColumns(Curriculum):
    """Sorts the column where it stands."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        columns["score-gap"].sort()
        return None


@dataclass
class UnseededOrder(Curriculum):
    """Prepares another order at every call: a run that goes on would see other pairs."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        return np.random.default_rng().permutation(size)


@dataclass
class PreparesTwice(Curriculum):
    """Prepares a row twice."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        return np.concatenate([np.arange(size), [0]])


@dataclass
class PreparesTooFew(Curriculum):
    """Prepares fewer rows than a pool has."""

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        return np.arange(5)


@dataclass
class PoolsTwice(OwnPools):
    """Draws pools with replacement."""

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        return rng.integers(0, self.rows, size) // 2


@dataclass
class Nothing(Sound):
    """Trains on no pair at all."""

    ratio: float = hyper(0.0, low=0.0, high=1.0)


@dataclass
class HalfARehearsal(Sound):
    """Rehearses two and a half times."""

    rehearsals: float = 2.5  # type: ignore[assignment]


@dataclass
class NoNumber(Sound):
    """Its diagnostics are texts."""

    def diagnostics(self) -> Mapping[str, float]:
        return {"mood": "fine"}  # type: ignore[dict-item]


@dataclass
class HiddenOption(Sound):
    """Its temperature can be changed by nobody."""

    temperature: float = field(default=1e-6, init=False)


POSITIONS = "positions are distinct and in range"
STATE = "a run goes on where it stopped"
DECLARED = "only what is declared is read"
SAME = "the same generator gives the same choice"


@pytest.mark.parametrize("sound", [Sound, Remembering, Curriculum, OwnPools])
def test_a_sound_scheduler_passes(sound: type[Scheduler]) -> None:
    assert caught("scheduler", sound) == {}


def test_a_scheduler_may_keep_fewer_rows_than_the_largest_pool_of_the_checks() -> None:
    @dataclass
    class Strict(Sound):
        def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
            return np.arange(size // 5)

    assert caught("scheduler", Strict) == {}


@pytest.mark.parametrize(
    ("wrong", "checks", "said"),
    [
        (KeptInTheModule, {STATE, SAME}, "a run that goes on from a checkpoint selects other pairs"),
        (LeftOut, {STATE}, "a run that goes on from a checkpoint selects other pairs"),
        (NoFile, {STATE, "the memory is bounded"}, "the state of sound.seen: a checkpoint cannot hold a set"),
        (UndeclaredStatistic, {DECLARED}, "it reads 'margin', which it does not declare\nadd 'margin' to its `wants`"),
        (UndeclaredColumn, {DECLARED}, "it reads 'score-gap', which it does not declare\nadd 'score-gap' to its `needs`"),
        (NoStatistic, {DECLARED}, "it wants the statistic 'losses', and there is none"),
        (Grows, {"the memory is bounded"}, "its state grows without bound"),
        (InPlace, {"the inputs stay as they are"}, "it changes the pools that it is handed"),
        (SortsColumns, {"the inputs stay as they are"}, "prepare changes the columns that it is handed"),
        (NoNumber, {"diagnostics keep their names"}, "diagnostics() gives no number for ['mood']"),
        (Nothing, {"ratio and rehearsals are possible"}, "its ratio is 0.0"),
        (HiddenOption, {"every option is part of the identity"}, "the field temperature is a setting that options() does not have"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_one_mistake_fails_the_checks_that_are_about_it(wrong: type[Scheduler], checks: set[str], said: str) -> None:
    problems = caught("scheduler", wrong)
    assert set(problems) == checks
    assert any(said in problem for problem in problems.values())


@pytest.mark.parametrize(
    ("wrong", "check", "said"),
    [
        (FixedShare, POSITIONS, "(shape (1,), int64) for 2 of a pool of 2"),
        (Repeats, POSITIONS, "return an integer array of `size` distinct positions in [0, len(pool))"),
        (RowNumbers, POSITIONS, "int64) for 1 of a pool of 1\n"),
        (Mask, POSITIONS, "select gives [True] (shape (1,), bool) for 1 of a pool of 1"),
        (GlobalDraws, SAME, "two runs of the same seed select other pairs"),
        (GlobalDraws, "global generators are left alone", "it moved the global generator of numpy"),
        (UnseededOrder, "prepared rows are distinct", "prepare gives other rows for the same generator"),
        (HalfARehearsal, "ratio and rehearsals are possible", "its rehearsals are 2.5"),
        (PreparesTwice, "prepared rows are distinct", "prepare gives 97 row numbers of type int64, where distinct ones in [0, 96) are due"),
        (PreparesTooFew, "prepared rows are distinct", "prepare gives 5 row numbers of 96 where at least a pool of 16 is due"),
        (PoolsTwice, "drawn pools are distinct", "next_pool gives 7 row numbers of type int64, where 7 distinct ones in [0, 96) are due"),
    ],
)
def test_a_mistake_that_shows_in_several_ways_is_named_by_its_own_check(wrong: type[Scheduler], check: str, said: str) -> None:
    assert said in caught("scheduler", wrong)[check]
