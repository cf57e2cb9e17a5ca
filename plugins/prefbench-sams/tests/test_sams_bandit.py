"""Does it learn? Good arms make the loss fall, and their hidden states tell them; with the hidden states shuffled nothing does."""

from __future__ import annotations

import pytest
from prefbench_sams import Sams
from sams_pools import share_of_good_arms

ROUNDS, LAST = 150, 50


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_the_arms_that_make_the_loss_fall(seed: int) -> None:
    """Random choice takes half its arms from the good half."""
    shares = share_of_good_arms(Sams(replay_batches=8), seed, ROUNDS)
    assert shares[-LAST:].mean() > 0.8


def test_it_finds_nothing_where_hidden_states_tell_nothing() -> None:
    """50 rounds of four arms: the share of good ones is .5 with a standard deviation of .03."""
    shares = share_of_good_arms(Sams(replay_batches=8), 0, ROUNDS, shuffled=True)
    assert abs(shares[-LAST:].mean() - 0.5) < 0.12
