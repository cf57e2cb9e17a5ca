"""No ratio is told of two sides that did not train the same thing."""

from __future__ import annotations

import pytest

from benchmarks.trl.losses import agreement, of_trainings, worst_of
from tests.benchmarks.trl.made_up import trained

LOSSES = [0.6931, 0.70, 0.71, 0.66, 0.69, 0.72, 0.65, 0.60]


def test_equal_losses_let_a_ratio_be_told():
    assert agreement(LOSSES, LOSSES).ratio(3.0, 2.0) == "1.50x"


def test_losses_that_differ_refuse_it_and_say_by_how_much():
    off = [*LOSSES[:3], LOSSES[3] * (1 + 2e-5), *LOSSES[4:]]
    assert agreement(LOSSES, off).ratio(3.0, 2.0) == "refused: losses differ by 2.0e-05"
    assert agreement(LOSSES, off, tolerance=1e-4).refusal == ""


def test_a_difference_below_the_tolerance_is_none():
    assert agreement(LOSSES, [loss * (1 - 9e-6) for loss in LOSSES]).ratio(3.0, 2.0) == "1.50x"


def test_the_first_eight_steps_are_compared():
    assert agreement([*LOSSES, 0.5], [*LOSSES, 5.0]).refusal == ""
    assert agreement(LOSSES, [*LOSSES[:7], 5.0]).refusal


def test_a_side_that_trained_less_is_no_match():
    with pytest.raises(ValueError, match="shorter"):
        agreement(LOSSES, LOSSES[:7])


@pytest.mark.parametrize("broken", [0, 7])
def test_a_loss_that_is_no_number_is_no_agreement(broken):
    losses = [float("nan") if step == broken else loss for step, loss in enumerate(LOSSES)]
    assert "nan" in agreement(LOSSES, losses).refusal
    assert "nan" in agreement(losses, losses).refusal


def test_losses_that_do_not_move_show_nothing():
    """With a learning rate of zero any two optimisers agree."""
    still = [0.6931] * 8
    assert agreement(still, still).refusal.startswith("losses hardly moved")


def test_other_tokens_refuse_it_whatever_the_losses():
    pairs = [(trained(losses=LOSSES), trained(losses=LOSSES, tokens_digest="other"))]
    assert of_trainings(pairs).refusal == "the two sides trained on different tokens"


def test_of_several_rounds_the_worst_counts():
    off = [loss * (1 + 3e-5) for loss in LOSSES]
    found = [agreement(LOSSES, LOSSES), agreement(LOSSES, off), agreement(LOSSES, LOSSES)]
    assert worst_of(found).ratio(3.0, 2.0) == "refused: losses differ by 3.0e-05"
    still = agreement([0.6931] * 8, [0.6931] * 8)
    assert worst_of([still, agreement(LOSSES, [loss * (1 + 5e-6) for loss in LOSSES])]).refusal == still.refusal
