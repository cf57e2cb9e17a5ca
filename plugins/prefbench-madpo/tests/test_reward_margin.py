"""The column: a tiny Llama learns a preference, what is recorded, what its values do and do not depend on, and the noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from prefbench_madpo import RewardMargin
from prefbench_madpo.reward_margin import gaussian, joined, split
from tiny import TinyContext, separable

QUICK = RewardMargin(learning_rate=1e-2, epochs=6, batch_size=16)


@pytest.fixture(scope="module")
def learned() -> tuple[TinyContext, np.ndarray]:
    context = separable(200)
    return context, QUICK.compute(context)


def test_a_preference_that_can_be_learned_is_learned(learned: tuple[TinyContext, np.ndarray]) -> None:
    context, margins = learned
    assert margins.shape == (200,)
    assert margins.dtype == np.float64
    assert (margins > 0).mean() > 0.98
    assert context.facts["held_out_accuracy"] == 1.0
    assert context.facts["held_out_loss"] < 0.1
    assert context.messages[-1].startswith("reward model: ")


def test_texts_are_a_prompt_with_either_answer() -> None:
    context = separable(3)
    pairs = joined(context)
    assert pairs.chosen[2] == context.prompt_ids[2] + context.chosen_ids[2]
    assert pairs.rejected[2] == context.prompt_ids[2] + context.rejected_ids[2]


def turned_round(context: TinyContext, share: float) -> TinyContext:
    """This share of the labels turned round, by a coin."""
    coins = np.random.default_rng(1).random(len(context.pairs)) < share
    texts = [(r, c) if coin else (c, r) for c, r, coin in zip(context.chosen_ids, context.rejected_ids, coins, strict=True)]
    return replace(context, chosen_ids=[chosen for chosen, _ in texts], rejected_ids=[rejected for _, rejected in texts])


def test_the_record_is_that_of_the_values() -> None:
    """Accuracies and loss of the margins that are returned, on the two parts; 180 pairs in batches of 16 are 12 steps an epoch."""
    context = turned_round(separable(200), share=0.2)
    margins, facts = QUICK.compute(context), context.facts
    rows, held_out = split([pair.id for pair in context.pairs], 0.1)
    right = margins > 0
    assert right[rows].mean() != right[held_out].mean() != right.mean()
    assert (facts["training_accuracy"], facts["held_out_accuracy"]) == pytest.approx((right[rows].mean(), right[held_out].mean()))
    assert facts["held_out_loss"] == pytest.approx(-np.log(1 / (1 + np.exp(-margins[held_out]))).mean())
    assert facts["epochs"] == facts["steps"] / 12 <= 6


def test_labels_by_coin_are_not_learned() -> None:
    """Held-out accuracy stays near chance, and early stopping keeps the loss at that of no opinion."""
    coin = turned_round(separable(200), share=0.5)
    QUICK.compute(coin)
    assert coin.facts["held_out_loss"] <= math.log(2) + 1e-9
    assert coin.facts["held_out_accuracy"] < 0.8
    assert coin.facts["epochs"] < 4


def test_same_options_same_values_in_any_order_of_the_pairs(learned: tuple[TinyContext, np.ndarray]) -> None:
    context, margins = learned
    assert QUICK.compute(separable(200)).tolist() == margins.tolist()
    order = np.random.default_rng(2).permutation(200)
    assert QUICK.compute(context.reordered(order)) == pytest.approx(margins[order], abs=1e-3)


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    replace(QUICK, epochs=1, noise=0.5).compute(separable(20))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_the_held_out_part_is_a_matter_of_ids() -> None:
    """A tenth, the same pairs in any order; the rest is what is trained on."""
    ids = [pair.id for pair in separable(200).pairs]
    rows, held_out = split(ids, 0.1)
    assert len(held_out) == 20
    assert sorted([*rows, *held_out]) == list(range(200))
    _, turned = split(ids[::-1], 0.1)
    assert {ids[::-1][row] for row in turned} == {ids[row] for row in held_out}


def test_without_a_held_out_part_training_runs_to_the_end() -> None:
    context = separable(32)
    replace(QUICK, held_out_share=0.0, epochs=3).compute(context)
    assert context.facts["epochs"] == 3.0
    assert "held_out_accuracy" not in context.facts


def test_noise_is_of_the_stated_size_and_belongs_to_the_pair(learned: tuple[TinyContext, np.ndarray]) -> None:
    """In standard deviations of the margins; drawn from the pair's id, so that another order, or fewer pairs, move no draw."""
    context, margins = learned
    noise = replace(QUICK, noise=0.5).compute(separable(200)) - margins
    assert noise.std() == pytest.approx(0.5 * margins.std(), rel=0.15)
    ids = [pair.id for pair in context.pairs]
    assert noise == pytest.approx(0.5 * margins.std() * gaussian(ids, seed=0), abs=1e-12)
    assert gaussian(ids[5:9], seed=0).tolist() == gaussian(ids, seed=0)[5:9].tolist()
    assert gaussian(ids, seed=1)[0] != gaussian(ids, seed=0)[0]


def test_noise_is_standard_normal() -> None:
    draws = gaussian([str(i) for i in range(5000)], seed=0)
    assert draws.mean() == pytest.approx(0.0, abs=0.05)
    assert draws.std() == pytest.approx(1.0, abs=0.05)
    assert np.mean(np.abs(draws) < 1.0) == pytest.approx(0.683, abs=0.03)
