"""Columns of plugins: what they may use, and their cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from prefbench.api import Column, Pair, TrainedPolicy
from prefbench.columns.reference import ReferenceColumn
from prefbench.columns.trained import Training, train_policy
from prefbench.data.tokens import TokenPairs
from prefbench.errors import PrefbenchError
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.forward import Scorer
from prefbench.train.job import PairData


@dataclass(frozen=True)
class ColumnValues:
    """A column's value per pair (float64, shape (N,)), what it noted, and the seconds that computing it took."""

    values: np.ndarray
    facts: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Context:
    """What a column is computed from: the pairs of ``data`` with their token ids, the reference, and how policies are trained for it."""

    data: PairData
    reference_column: ReferenceColumn
    reference: Scorer
    training: Training | None
    tell: Callable[[Mapping[str, Any]], None] = lambda _: None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def tokens(self) -> TokenPairs:
        """The pairs' token ids."""
        return self.data.tokens

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs, in the order of the values that are due."""
        return self.tokens.pairs

    @property
    def prompt_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the prompts."""
        return self.tokens.prompt_ids

    @property
    def chosen_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the chosen answers."""
        return self.tokens.chosen_ids

    @property
    def rejected_ids(self) -> Sequence[Sequence[int]]:
        """Token ids of the rejected answers."""
        return self.tokens.rejected_ids

    def log_probs(self) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """Per-token log-probs of chosen and rejected answers under the model that training starts from."""
        return self.reference_column.chosen, self.reference_column.rejected

    def fresh_model(self) -> PreTrainedModel:
        """A copy of the model that training starts from, in float32 whatever the track's weights are: all of it may be trained."""
        return self.reference.copy().model.float()

    def train(self, rows: Sequence[int], epochs: float, seed: int) -> TrainedPolicy:
        """A policy trained on some of the pairs as the row of the board would be. Raises PrefbenchError unless the column declares it."""
        if self.training is None:
            raise PrefbenchError(
                "a column that trains policies must say so: its values depend on the objective",
                "write `uses_objective = True` in its class",
                exit_code=1,
            )
        return train_policy(self.training, self.reference, self.data, rows, epochs, seed, self.tell)

    def note(self, **facts: float) -> None:
        """Keep numbers about the column."""
        self.facts.update({name: float(value) for name, value in facts.items()})

    def report(self, message: str) -> None:
        """Say what is going on."""
        self.tell({"message": message})

    def in_canonical_order(self, order: Sequence[int]) -> Context:
        """The same pairs in an order that does not depend on the seed; what is noted there is noted here."""
        return Context(self.data.take(order), self.reference_column.take(order), self.reference, self.training, self.tell, self.facts)


def column_values(column: Column, key: str, context: Context, cache: Path) -> ColumnValues:
    """The column's value per pair: from the cache, or computed and cached. Raises PrefbenchError for wrong shapes and numbers.

    ``key`` says what the values depend on; the order of the pairs is no part of it.
    """
    path = cache / "columns" / column.name / f"{key}.json.gz"
    order = context.tokens.canonical_order()
    known = read_or_set_aside(path, read_sealed)
    if known is None:
        start = time.perf_counter()
        values = checked_values(column, column.compute(context.in_canonical_order(order)), len(order))
        known = {"values": values.tolist(), "facts": context.facts, "seconds": round(time.perf_counter() - start, 3)}
        write_sealed(path, known)
    ordered = np.asarray(known["values"], dtype=np.float64)
    return ColumnValues(ordered[np.argsort(order)], known["facts"], known["seconds"])


def checked_values(column: Column, values: Any, count: int) -> np.ndarray:
    """The values as float64, shape (count,), or PrefbenchError."""
    hint = "compute(context) returns one finite number per pair"
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PrefbenchError(f"column {column.name!r} gave no numbers: {error}", hint, exit_code=1) from None
    if numbers.shape != (count,):
        raise PrefbenchError(f"column {column.name!r} gave shape {numbers.shape}, where ({count},) is due", hint, exit_code=1)
    if odd := int((~np.isfinite(numbers)).sum()):
        raise PrefbenchError(f"column {column.name!r} gave {odd} of {count} numbers that are not finite", hint, exit_code=1)
    return numbers


def pair_column(pairs: Sequence[Pair], name: str) -> np.ndarray | None:
    """A column that came with the pairs, float64, shape (N,); None unless every pair has it. Raises PrefbenchError for NaN."""
    if not pairs or not all(name in pair.columns for pair in pairs):
        return None
    values = np.array([pair.columns[name] for pair in pairs], dtype=np.float64)
    if odd := int((~np.isfinite(values)).sum()):
        raise PrefbenchError(f"the pairs' own {name!r} has {odd} numbers that are not finite", "give every pair a number", exit_code=1)
    return values
