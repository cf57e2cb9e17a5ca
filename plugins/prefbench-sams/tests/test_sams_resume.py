"""A run that was killed after any step and went on from its file selects what the whole run selects."""

from __future__ import annotations

import copy

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
ROUNDS = 7


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kept", range(1, ROUNDS))
def test_a_restored_scheduler_goes_on_as_the_other_does(options: dict[str, object], kept: int) -> None:
    whole, first, second, rng = Sams(**options), Sams(**options), Sams(**options), np.random.default_rng(0)  # type: ignore[arg-type]
    wanted = [chosen.tolist() for _, chosen in play(whole, range(ROUNDS), np.random.default_rng(0))]
    before = play(first, range(kept), rng)
    second.load_state_dict(through_a_file(first.state_dict()))
    after = play(second, range(kept, ROUNDS), rng, before[-1])
    assert [chosen.tolist() for _, chosen in before + after] == wanted
    assert second.diagnostics() == pytest.approx(whole.diagnostics(), rel=0, abs=0, nan_ok=True)


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
