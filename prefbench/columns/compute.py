"""Columns of plugins: what they may use, and their cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.api import Column, Pair
from prefbench.columns.reference import ReferenceColumn
from prefbench.data.tokens import TokenPairs
from prefbench.errors import PrefbenchError
from prefbench.identity import digest
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed


@dataclass(frozen=True)
class Context:
    """What a column is computed from: pairs, token ids, and the reference's per-token log-probs."""

    tokens: TokenPairs
    reference: ReferenceColumn

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
        return self.reference.chosen, self.reference.rejected


def column_values(column: Column, origin: Mapping[str, Any], context: Context, reference_key: str, cache: Path) -> np.ndarray:
    """The column's value per pair, float64, shape (N,): from the cache, or computed and cached. Raises PrefbenchError on a wrong shape."""
    key = digest({"column": column.name, "options": column.options(), "origin": dict(origin), "reference": reference_key})
    path = cache / "columns" / column.name / f"{key}.json.gz"
    if (known := read_or_set_aside(path, read_sealed)) is not None:
        return np.asarray(known["values"], dtype=np.float64)
    values = _numbers(column, column.compute(context))
    if values.shape != (len(context.tokens),) or not np.isfinite(values).all():
        raise PrefbenchError(
            f"column {column.name!r} gave shape {values.shape} or numbers that are not finite, where ({len(context.tokens)},) is due",
            "compute(context) returns one finite number per pair",
            exit_code=1,
        )
    write_sealed(path, {"values": values.tolist()})
    return values


def _numbers(column: Column, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PrefbenchError(
            f"column {column.name!r} gave no numbers: {error}", "compute(context) returns one finite number per pair", exit_code=1
        ) from None


def pair_column(pairs: Sequence[Pair], name: str) -> np.ndarray | None:
    """A column that came with the pairs, float64, shape (N,); None unless every pair has it."""
    if not pairs or not all(name in pair.columns for pair in pairs):
        return None
    return np.array([pair.columns[name] for pair in pairs], dtype=np.float64)
