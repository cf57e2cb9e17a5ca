"""Both sides on the same pairs, once for each loss: TRL's own trainer is the check."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.trl.losses import of_trainings
from benchmarks.trl.rounds import alternate, train
from benchmarks.trl.step import PRECOMPUTE, PREFBENCH, TRL

pytest.importorskip("trl", reason="TRL is not installed; `nox -s trl` installs it")


@pytest.mark.parametrize(("objective", "contender"), [("sigmoid", TRL), ("ipo", PRECOMPUTE), ("apo_zero", TRL)])
def test_both_sides_train_the_same(training, objective, contender):
    training = dataclasses.replace(training, objective=objective)
    found = alternate((PREFBENCH, contender), training, rounds=1, tell=lambda _: None)
    ours, theirs = (outcomes[0].trained for outcomes in found.values())
    assert of_trainings([(ours, theirs)]).refusal == ""
    assert (theirs.reference_tokens > 0) == (contender is PRECOMPUTE)


def test_another_order_is_refused(training):
    (ours,) = alternate((PREFBENCH,), training, rounds=1, tell=lambda _: None)["prefbench"]
    other = dataclasses.replace(training, order=tuple(reversed(ours.trained.order)))
    theirs = train(TRL, other)
    assert of_trainings([(ours.trained, theirs.trained)]).refusal == "the two sides trained on different tokens"
