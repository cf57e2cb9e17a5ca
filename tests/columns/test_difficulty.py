"""The difficulty column: no pair is scored by a policy that saw it, and what is told about it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from prefbench.api import ColumnContext
from prefbench.columns.difficulty import Difficulty
from prefbench.errors import PrefbenchError

Loss = Callable[[int, frozenset[int], int], float]
"""The loss of a row under a policy trained on some rows with a seed."""


@dataclass
class Trainer:
    """Of a column's context, what the difficulty uses; a training remembers its rows, and its losses are told by ``loss``."""

    count: int
    loss: Loss = lambda row, trained, seed: float(row)
    trainings: list[tuple[frozenset[int], float, int]] = field(default_factory=list)
    scored: list[tuple[int, ...]] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> range:
        return range(self.count)

    def train(self, rows: Sequence[int], epochs: float, seed: int) -> Any:
        trained = frozenset(rows)
        assert len(trained) == len(rows)
        self.trainings.append((trained, epochs, seed))

        def losses(wanted: Sequence[int]) -> np.ndarray:
            self.scored.append(tuple(wanted))
            return np.array([self.loss(row, trained, seed) for row in wanted])

        return SimpleNamespace(losses=losses)

    def note(self, **facts: float) -> None:
        self.facts |= facts

    def report(self, message: str) -> None:
        self.messages.append(message)


def compute(trainer: Trainer, **options: Any) -> np.ndarray:
    return Difficulty(**options).compute(cast(ColumnContext, trainer))


def seen_or_not(row: int, trained: frozenset[int], seed: int) -> float:
    """-1 for a pair that the policy saw, otherwise the sum of the rows that it was trained on."""
    return -1.0 if row in trained else float(sum(trained))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_pair_is_scored_by_the_policy_that_saw_all_folds_but_its_own(folds: int) -> None:
    trainer = Trainer(17, seen_or_not)
    values = compute(trainer, folds=folds)
    for (trained, _, _), held_out in zip(trainer.trainings, trainer.scored, strict=True):
        assert trained | set(held_out) == set(range(17))
        assert values[list(held_out)].tolist() == [sum(trained)] * len(held_out)
    assert sorted(row for held_out in trainer.scored for row in held_out) == list(range(17))


def test_folds_are_as_equal_as_can_be_and_dealt_at_random() -> None:
    trainer = Trainer(100)
    compute(trainer, folds=3)
    assert sorted(len(held_out) for held_out in trainer.scored) == [33, 33, 34]
    neighbours = sum(row + 1 in held_out for held_out in trainer.scored for row in held_out)
    assert 15 < neighbours < 55  # of 99, a third if dealt at random; none or nearly all if dealt in turn or in blocks


def test_repeats_have_other_folds_and_seeds_and_are_averaged() -> None:
    trainer = Trainer(10, lambda row, trained, seed: row + 1000.0 * seed)
    values = compute(trainer, repeats=3, epochs=0.5)
    assert values == pytest.approx(np.arange(10) + 1000.0 * 42)
    assert [(epochs, seed) for _, epochs, seed in trainer.trainings] == [(0.5, seed) for seed in (41, 41, 42, 42, 43, 43)]
    assert len({trained for trained, _, _ in trainer.trainings}) == 6


def test_the_same_pairs_have_the_same_difficulty_again() -> None:
    assert np.array_equal(compute(Trainer(12, seen_or_not), repeats=2), compute(Trainer(12, seen_or_not), repeats=2))


def test_every_training_is_told_of() -> None:
    trainer = Trainer(11)
    compute(trainer, repeats=2)
    assert len(trainer.messages) == 4
    assert trainer.messages[2] == "difficulty: policy 3 of 4, on 5 of 11 pairs"


def test_the_mean_and_the_rank_correlation_between_repeats_are_noted() -> None:
    """By hand: ranks 1 2 3 4 against 2 1 4 3 have squared differences 1 + 1 + 1 + 1, and 1 - 6 * 4 / (4 * 15) = .6."""
    losses = {41: [0.1, 0.2, 0.3, 9.0], 42: [0.5, 0.4, 0.8, 0.7]}
    trainer = Trainer(4, lambda row, trained, seed: losses[seed][row])
    compute(trainer, repeats=2)
    assert trainer.facts == pytest.approx({"mean_held_out_loss": (9.6 + 2.4) / 8, "rank_correlation": 0.6})


def test_one_repeat_has_nothing_to_correlate_with() -> None:
    trainer = Trainer(4)
    compute(trainer)
    assert trainer.facts == {"mean_held_out_loss": 1.5}


def test_three_repeats_are_correlated_two_by_two() -> None:
    """The first two agree and the third is reversed: (1 - 1 - 1) / 3."""
    trainer = Trainer(6, lambda row, trained, seed: -float(row) if seed == 43 else float(row))
    compute(trainer, repeats=3)
    assert trainer.facts["rank_correlation"] == pytest.approx(-1 / 3)


def test_pairs_that_are_all_equally_hard_give_a_correlation_of_0_and_no_nan() -> None:
    trainer = Trainer(6, lambda row, trained, seed: 0.0)
    assert compute(trainer, repeats=2).tolist() == [0.0] * 6
    assert trainer.facts["rank_correlation"] == 0.0


def test_fewer_pairs_than_folds_are_refused_before_anything_is_trained() -> None:
    trainer = Trainer(3)
    with pytest.raises(PrefbenchError, match="3 pairs into 4 folds"):
        compute(trainer, folds=4)
    assert trainer.trainings == []


def test_it_says_that_it_depends_on_the_objective() -> None:
    assert Difficulty.uses_objective
