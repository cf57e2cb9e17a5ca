"""Schedulers one after another: the first ones reorder or cut the pairs before training, the last one picks among what they left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefbench.api import Pool, Scheduler
from prefbench.errors import PrefbenchError


@dataclass
class Chain(Scheduler):
    """A chain of schedulers, such as ``selective + sams``.

    Every link is asked to ``prepare`` the rows that the links before it kept, with the columns cut to them; what is trained on is what the last one
    left. At each step only the last link picks; it sees the rows numbered from 0 as if there were no others. Each link prepares with a generator
    of its own, so that none moves another's draws.

    Raises PrefbenchError for a link before the last that prepares nothing or that picks at each step, since what it picks would be lost.
    """

    links: tuple[Scheduler, ...]
    offered: np.ndarray = field(init=False, repr=False)
    """What the last link's row numbers stand for: the rows that the links before it kept, in their order, int64; after ``prepare``."""
    places: np.ndarray = field(init=False, repr=False)
    """The reverse: of each of all pairs, its row number as the last link has it; int64, shape (N,), -1 where it was not kept."""
    orderer: Scheduler | None = field(init=False, repr=False, default=None)
    """The last link whose ``prepare`` gave rows; after ``prepare``."""

    def __post_init__(self) -> None:
        for link in self.links[:-1]:
            _refuse_unless_it_only_prepares(link)
        self.ratio, self.divisor, self.rehearsals = self.picker.ratio, self.picker.divisor, self.picker.rehearsals
        self.stale = self.picker.stale

    @property
    def name(self) -> str:  # type: ignore[override]  # a class attribute everywhere else; a chain's follows from its links
        """The links' names in their order, for example ``selective+sams``."""
        return "+".join(link.name for link in self.links)

    @property
    def picker(self) -> Scheduler:
        """The last link."""
        return self.links[-1]

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of all links, each once."""
        return tuple(dict.fromkeys(name for link in self.links for name in link.needs))

    @property
    def wants(self) -> tuple[str, ...]:
        """The statistics of the last link; no other sees a pool."""
        return self.picker.wants

    @property
    def reshuffled(self) -> bool:
        """Whether the last link that gave rows has them shuffled."""
        return self.orderer is not None and self.orderer.reshuffled

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray | None:
        """The rows that all links together left; None when no link gave any."""
        kept, self.orderer = np.arange(size), None
        for link, own in zip(self.links, rng.spawn(len(self.links)), strict=True):
            self.offered = kept
            rows = link.prepare({name: columns[name][kept] for name in link.needs}, len(kept), own)
            if rows is not None:
                kept, self.orderer = self._originals(link, rows), link
        self.places = np.full(size, -1)
        self.places[self.offered] = np.arange(len(self.offered))
        return None if self.orderer is None else kept

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        """The last link's own pool, if it draws one, as row numbers of all pairs."""
        rows = self.picker.next_pool(size, rng)
        return None if rows is None else self._originals(self.picker, rows)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """What the last link selects."""
        return self.picker.select(self._as_picker_sees(pool), size, rng)

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        """Shown to the last link."""
        self.picker.observe(self._as_picker_sees(previous), chosen, self._as_picker_sees(current))

    def diagnostics(self) -> Mapping[str, float]:
        """The last link's."""
        return self.picker.diagnostics()

    def state_dict(self) -> dict[str, Any]:
        """Each link's state; the rows are not in it, because every run prepares them before it goes on."""
        return {"links": [link.state_dict() for link in self.links]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give each link its state."""
        for link, own in zip(self.links, state["links"], strict=True):
            link.load_state_dict(own)

    def _originals(self, link: Scheduler, rows: np.ndarray) -> np.ndarray:
        """The row numbers, among all pairs, of rows of those that a link was offered."""
        rows, count = np.asarray(rows), len(self.offered)
        if not np.issubdtype(rows.dtype, np.integer) or (rows < 0).any() or (rows >= count).any():
            # Caught here: a mask or a negative number would pick other rows, and nobody could tell afterwards.
            raise PrefbenchError(
                f"scheduler {link.name!r} gave row numbers of type {rows.dtype} where integers in [0, {count}) are due",
                f"in the chain {self.name!r} it is offered {count} rows; prepare and next_pool return row numbers among them",
                exit_code=1,
            )
        originals: np.ndarray = self.offered[rows]
        return originals

    def _as_picker_sees(self, pool: Pool) -> Pool:
        """The pool with the last link's row numbers, and with its columns only."""
        columns = {name: pool.columns[name] for name in self.picker.needs}
        return dataclasses.replace(pool, ids=self.places[pool.ids], columns=columns)


def _refuse_unless_it_only_prepares(link: Scheduler) -> None:
    """Raise PrefbenchError for a link that does not prepare, or whose picks at each step would be lost."""
    prepares = type(link).prepare is not Scheduler.prepare
    picks = link.ratio != 1.0 or link.wants or type(link).next_pool is not Scheduler.next_pool
    if prepares and not picks:
        return
    wrong = "picks at each step" if picks else "neither reorders nor pre-selects the pairs"
    raise PrefbenchError(
        f"scheduler {link.name!r} {wrong}, so that it can only be the last of a chain",
        "in `first + second`, the first reorders or pre-selects the pairs before training, and the second picks among what is left",
    )
