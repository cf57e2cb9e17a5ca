"""The contract of columns: what every cell that shares one relies on."""

from __future__ import annotations

import numpy as np

from prefbench.api import Column
from prefbench.testing.column_context import TinyContext
from prefbench.testing.contract import Contract, require
from prefbench.testing.snapshots import snapshot


class ColumnContract(Contract[Column]):
    """Every check of a column, on a dozen pairs and a model of a few thousand weights.

    ``variants`` are the options that it is checked with, one set at a time; give options that make a column that trains quick.
    """

    def exercise(self, component: Column) -> None:
        """Compute it once."""
        _values(component)

    def test_one_finite_number_per_pair(self) -> None:
        """float64, shape (N,)."""
        for make in self.makers():
            column = make()
            values = _values(column)
            due = f"({len(TinyContext().pairs)},) of float64 is due"
            wrong = f"compute gives {_described(values)}, where shape {due}"
            right = isinstance(values, np.ndarray) and values.shape == (len(TinyContext().pairs),) and values.dtype == np.float64
            require(right, column, wrong, "return np.array([...], dtype=np.float64) with one number per pair")
            require(bool(np.isfinite(values).all()), column, "compute gives numbers that are not finite", "give every pair a finite number")

    def test_the_same_twice(self) -> None:
        """The same pairs give the same numbers, bit by bit: what a cell finds in the cache is what it would have computed."""
        for make in self.makers():
            remedy = "draw from generators of its own, seeded by an option or by pair.id"
            require(snapshot(_values(make())) == snapshot(_values(make())), make(), "it gives other numbers at the second time", remedy)

    def test_the_inputs_stay_as_they_are(self) -> None:
        """Neither the pairs nor the model that training starts from is changed; ``fresh_model`` is a copy."""
        for make in self.makers():
            column = make()
            context = context_for(column)
            before = _shown(context)
            column.compute(context)
            remedy = "work on copies; train on context.fresh_model(), which is new at every call"
            require(_shown(context) == before, column, "it changes the pairs, their tokens or the model", remedy)

    def test_notes_are_numbers(self) -> None:
        """What it notes for the record is a finite number each."""
        for make in self.makers():
            column = make()
            context = context_for(column)
            column.compute(context)
            odd = [name for name, value in context.notes.items() if not isinstance(value, (int, float)) or not np.isfinite(value)]
            require(not odd, column, f"its note {odd[:1]} is no finite number", "note(name=float(value))")


def context_for(column: Column) -> TinyContext:
    """What the core would hand it: policies are trained only for a column that says that it does so."""
    return TinyContext(may_train=column.uses_objective)


def _values(column: Column) -> np.ndarray:
    return column.compute(context_for(column))


def _shown(context: TinyContext) -> object:
    """Everything that a column is handed, for comparison."""
    weights = context.fresh_model().state_dict()
    log_probs = [list(answers) for answers in context.log_probs()]
    return snapshot([[list(pair.columns.items()), pair.id] for pair in context.pairs]), snapshot(log_probs), snapshot(weights)


def _described(values: object) -> str:
    return f"shape {values.shape} of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
