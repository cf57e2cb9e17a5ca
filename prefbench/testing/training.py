"""A made-up training run as a scheduler sees it: pools whose losses fall, step after step, with no model behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from prefbench.api import Pool, Scheduler
from prefbench.streams import stream
from prefbench.testing.contract import require
from prefbench.testing.offered import Offered, refusal

PAIRS = 96
LAYERS, WIDTH = 3, 8
"""Of the policy whose hidden states are made up."""


@dataclass(frozen=True)
class Policy:
    """Numbers of every pair under a policy that learns: margins are 0 before the first step and grow, faster for easy pairs."""

    pairs: int = PAIRS
    seed: int = 0

    def column(self, name: str) -> np.ndarray:
        """A number per pair, the same at every step, shape (pairs,)."""
        return 1.0 + 1.5 * stream(self.seed, "column", name).normal(size=self.pairs)

    def statistic(self, name: str, step: int) -> np.ndarray:
        """What ``Pool`` documents under this name, of every pair."""
        margin = self._margin(step)
        match name:
            case "loss":
                losses: np.ndarray = np.logaddexp(0.0, -0.5 * margin)
                return losses
            case "margin":
                return margin
            case "chosen_log_prob":
                return -20.0 - 10.0 * stream(self.seed, "home").uniform(size=self.pairs) + 0.3 * margin
        return (self._home + 0.1 * margin[:, None, None, None]).astype(np.float32)

    def _margin(self, step: int) -> np.ndarray:
        ease = 1.0 + stream(self.seed, "ease").normal(size=self.pairs)
        luck = stream(self.seed, "luck", str(step)).normal(size=self.pairs)
        learnt: np.ndarray = (1.0 - np.exp(-step / 20)) * (4.0 * ease + 0.5 * luck)
        return learnt

    @cached_property
    def _home(self) -> np.ndarray:
        return stream(self.seed, "hidden").normal(size=(self.pairs, 2, LAYERS, WIDTH))


class Training:
    """A run of a scheduler, which is asked, offered and told what the core asks, offers and tells."""

    def __init__(self, scheduler: Scheduler, size: int, policy: Policy | None = None, watch: bool = False) -> None:
        self.scheduler, self.watch = scheduler, watch
        self.policy = policy or Policy()
        columns = Offered(scheduler.needs, self.policy.column, self._refusal("needs"))
        prepared = scheduler.prepare(columns, self.policy.pairs, self._rng("prepare"))
        self.rows = np.arange(self.policy.pairs) if prepared is None else self._distinct("prepare", prepared)
        self.size = min(size, len(self.rows))  # the core refuses fewer rows than a pool; the check of prepare does too
        self.shuffled = prepared is None or scheduler.reshuffled
        self.pools = self._epochs("data")
        self.select_rng, self.pool_rng = self._rng("select"), self._rng("pool")
        self.now, self.drawn = 0, 0
        self.previous: tuple[Pool, np.ndarray] | None = None

    @property
    def selected(self) -> int:
        """K: the pairs of a pool that are trained on."""
        return max(1, min(self.size, round(self.scheduler.ratio * self.size)))

    def rehearse(self) -> None:
        """What goes before the first step, where the scheduler wants it."""
        pools = self._epochs("rehearse")
        for _ in range(self.scheduler.rehearsals):
            self.choose(self.offer(next(pools)), self.selected)

    def step(self) -> np.ndarray:
        """Row numbers of the pairs that the next step trains on."""
        ids = self.next_ids()
        picked: np.ndarray = ids[self.choose(self.offer(ids), self.selected)]
        self.now += 1
        return picked

    def steps(self, count: int) -> list[list[int]]:
        """The rows of some steps."""
        return [self.step().tolist() for _ in range(count)]

    def next_ids(self) -> np.ndarray:
        """Row numbers of the next pool: the scheduler's own draw, or the next of the epochs."""
        own = self.scheduler.next_pool(self.size, self.pool_rng)
        if own is not None:
            return self._distinct("next_pool", own, self.size)
        self.drawn += 1
        return next(self.pools)

    def offer(self, ids: np.ndarray) -> Pool:
        """These pairs as the scheduler sees them now."""
        columns = Offered(self.scheduler.needs, lambda name: self.policy.column(name)[ids], self._refusal("needs"))
        statistics = Offered(self.scheduler.wants, lambda name: self.policy.statistic(name, self.now)[ids], self._refusal("wants"))
        return Pool(ids.copy(), columns, statistics, min(1.0, self.now / 200))

    def choose(self, pool: Pool, size: int) -> np.ndarray:
        """Positions that the scheduler selects, once it has observed the pool. Raises ContractError unless they are what is due."""
        if self.previous is not None:
            self.scheduler.observe(*self.previous, pool)
        chosen = np.asarray(self.scheduler.select(pool, size, self.select_rng))
        wrong = f"select gives {chosen.tolist()!r:.80} (shape {chosen.shape}, {chosen.dtype}) for {size} of a pool of {len(pool)}"
        due = chosen.shape == (size,) and _are_distinct(chosen, len(pool))
        require(due, self.scheduler, wrong, "return an integer array of `size` distinct positions in [0, len(pool))")
        self.previous = pool, chosen
        return chosen

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the run, but for the scheduler's own state."""
        previous = None if self.previous is None else (contents(self.previous[0]), self.previous[1])
        rngs = [rng.bit_generator.state for rng in (self.select_rng, self.pool_rng)]
        return {"now": self.now, "drawn": self.drawn, "previous": previous, "rngs": rngs}

    def resume(self, state: dict[str, Any], scheduler_state: dict[str, Any]) -> None:
        """Become the run that these were taken from; the scheduler has prepared its rows by now, and its state comes after."""
        self.now, self.drawn = state["now"], state["drawn"]
        for _ in range(self.drawn):
            next(self.pools)
        self.select_rng.bit_generator.state, self.pool_rng.bit_generator.state = state["rngs"]
        self.scheduler.load_state_dict(scheduler_state)
        self.previous = None if state["previous"] is None else (Pool(**state["previous"][0]), state["previous"][1])

    def _epochs(self, name: str) -> Iterator[np.ndarray]:
        rng, waiting = self._rng(name), np.empty(0, dtype=np.int64)
        while True:
            while len(waiting) < self.size:
                waiting = np.concatenate([waiting, self.rows[rng.permutation(len(self.rows))] if self.shuffled else self.rows])
            yield waiting[: self.size]
            waiting = waiting[self.size :]

    def _distinct(self, method: str, rows: np.ndarray, size: int | None = None) -> np.ndarray:
        """The rows that a method gave. Raises ContractError unless they are distinct rows, ``size`` of them where a size is due."""
        rows = np.asarray(rows)
        enough = rows.ndim == 1 and (len(rows) > 0 if size is None else len(rows) == size)
        due = "" if size is None else f"{size} "
        wrong = f"{method} gives {rows.size} row numbers of type {rows.dtype}, where {due}distinct ones in [0, {self.policy.pairs}) are due"
        remedy = f"{method} returns an integer array of distinct row numbers, or None"
        require(enough and _are_distinct(rows, self.policy.pairs), self.scheduler, wrong, remedy)
        return rows

    def _refusal(self, declaration: str) -> Any:
        return refusal(self.scheduler, declaration) if self.watch else None

    def _rng(self, name: str) -> np.random.Generator:
        return stream(self.policy.seed, name)


def contents(pool: Pool) -> dict[str, Any]:
    """Everything that a pool holds, for a snapshot or a checkpoint."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(pool).items()}


def _are_distinct(rows: np.ndarray, count: int) -> bool:
    return bool(np.issubdtype(rows.dtype, np.integer) and len(np.unique(rows)) == len(rows) and rows.min() >= 0 and rows.max() < count)
