"""A run that was killed and went on from its file selects what the whole run selects."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from prefbench_sams import Sams
from sams_pools import play, through_a_file

OPTIONS = [
    {},
    {"selection": "softmax", "exploration": 0.0, "smoothing": 0.5},
    {"rehearsals": 3, "updates": 2, "replay_megabytes": 0.01},
    {"optimiser": "re-created", "arms": "all"},
]
ROUNDS = 8


@pytest.mark.parametrize("options", OPTIONS)
def test_one_that_is_restored_after_every_step_goes_on_as_one_that_never_stopped(options: dict[str, Any]) -> None:
    whole, stopped = Sams(**options), Sams(**options)
    rng, other_rng = np.random.default_rng(0), np.random.default_rng(0)
    last = other_last = None
    for number in range(ROUNDS):
        (last,) = play(whole, range(number, number + 1), rng, last)
        (other_last,) = play(stopped, range(number, number + 1), other_rng, other_last)
        assert other_last[1].tolist() == last[1].tolist()
        assert stopped.diagnostics() == pytest.approx(whole.diagnostics(), rel=0, abs=0, nan_ok=True)
        fresh = Sams(**options)
        fresh.load_state_dict(through_a_file(stopped.state_dict()))
        stopped = fresh


def test_a_state_is_a_copy() -> None:
    """Steps after it was taken, and a scheduler that goes on from it, leave it as it was."""
    scheduler, other, rng = Sams(), Sams(), np.random.default_rng(0)
    steps = play(scheduler, range(3), rng)
    state = scheduler.state_dict()
    frozen = copy.deepcopy(state)
    other.load_state_dict(state)
    for one in (scheduler, other):
        play(one, range(3, 5), rng, steps[-1])
    for name in ("networks", "moments"):
        assert_equal(state["learner"][name], frozen["learner"][name])


def assert_equal(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other)
        return
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    for key, value in one.items():
        assert_equal(value, other[key])
