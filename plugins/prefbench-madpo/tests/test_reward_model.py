"""The reward model: which token it reads, how much it holds in memory at a time, and that training keeps the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prefbench_madpo.reward_model import RewardModel, TokenPairs, pad_right
from prefbench_madpo.training import Best, Recipe, Training, accuracy, batches, log_loss
from tiny import random_pairs, tiny_llama


@pytest.fixture
def model() -> RewardModel:
    """With a head that is not zero."""
    model = RewardModel(tiny_llama())
    torch.nn.init.normal_(model.head, generator=torch.Generator().manual_seed(1))
    return model


def test_the_reward_reads_the_last_token_of_the_text(model: RewardModel) -> None:
    """The head on the last hidden state of the text run alone, without any padding."""
    text = [5, 6, 7, 8]
    state = model.backbone(input_ids=torch.tensor([text])).last_hidden_state[0, -1]
    assert model([text]).item() == pytest.approx((state @ model.head).item(), abs=1e-6)
    assert model([text]).item() != pytest.approx(model([text[:-1]]).item(), abs=1e-3)


@pytest.mark.parametrize("longest", [5, 20, 60])
def test_more_padding_changes_nothing(model: RewardModel, longest: int) -> None:
    text = [5, 6, 7, 8]
    alone, padded = model([text]), model([text, [9] * longest])[:1]
    assert torch.allclose(alone, padded, atol=1e-5)


def test_padding_stands_on_the_right() -> None:
    tokens, mask = pad_right([[5, 6], [7, 8, 9]])
    assert tokens.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_micro_batches_keep_within_the_budget() -> None:
    """Longest text times texts, padding included; every row once; the one pair that is too long comes alone."""
    pairs = random_pairs(40)
    pairs = TokenPairs([*pairs.chosen, [5] * 70], [*pairs.rejected, [5]])
    parts = list(pairs.micro_batches(range(41), budget=100))
    assert sorted(row for part in parts for row in part) == list(range(41))
    assert all(2 * len(part) * max(pairs.length(row) for row in part) <= 100 for part in parts[:-1])
    assert parts[-1] == [40]
    assert len(parts) < 20


def test_margins_do_not_depend_on_the_budget(model: RewardModel) -> None:
    pairs, rows = random_pairs(12), [7, 2, 11, 0]
    apart = [(model([pairs.chosen[row]]) - model([pairs.rejected[row]])).item() for row in rows]
    for budget in (1, 60, 10_000):
        margins = model.score(pairs, rows, budget)
        assert margins.dtype == np.float64
        assert margins.tolist() == pytest.approx(apart, abs=1e-5)


def test_gradients_do_not_depend_on_the_budget() -> None:
    """One step on all pairs at once and in parts: the sum over parts is the batch's mean, not a mean of means."""
    weights = []
    for budget in (50, 10_000):
        model, pairs = RewardModel(tiny_llama()), random_pairs(16)
        recipe = Recipe(learning_rate=1e-2, warm_up=0.0, epochs=3, batch_size=16, micro_batch_tokens=budget)
        Training(model, pairs, recipe, str).run(range(16), [])
        weights.append(model.head.detach())
    assert weights[0].norm() > 0
    assert torch.allclose(*weights, atol=1e-5)


def test_training_is_adam_on_the_mean_log_loss() -> None:
    """Three steps on all pairs against the same written out: a gradient taken anew at each, its norm at most 1, the rates of the cosine."""
    trained, by_hand, pairs = RewardModel(tiny_llama()), RewardModel(tiny_llama()), random_pairs(8)
    recipe = Recipe(learning_rate=0.1, warm_up=0.0, epochs=3, batch_size=8)
    Training(trained, pairs, recipe, str).run(range(8), [])
    weights = list(by_hand.parameters())
    optimiser = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.01)
    for share in (1 / 6, 3 / 6, 5 / 6):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * share)) / 2
        loss = torch.log1p(torch.exp(by_hand(pairs.rejected) - by_hand(pairs.chosen))).mean()
        gradients = torch.autograd.grad(loss, weights)
        shrink = min(1.0, 1.0 / math.sqrt(sum(gradient.square().sum().item() for gradient in gradients)))
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = shrink * gradient
        optimiser.step()
    assert torch.allclose(trained.head, by_hand.head, atol=1e-5)
    assert trained.head.abs().max() > 0.01


def test_an_untrained_reward_is_even() -> None:
    margins = RewardModel(tiny_llama()).score(random_pairs(8), range(8), 1000)
    assert margins.tolist() == 8 * [0.0]
    assert (accuracy(margins), log_loss(margins)) == (0.5, pytest.approx(math.log(2)))


def test_the_learning_rate_rises_and_then_falls_along_a_cosine() -> None:
    recipe = Recipe(learning_rate=2.0, warm_up=0.2)
    assert [recipe.rate(done) for done in (0.1, 0.2, 0.6, 1.0)] == pytest.approx([1.0, 2.0, 1.0, 0.0], abs=1e-9)


def test_every_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    order = [row for batch in batches([3, 5, 8, 9, 12], Recipe(epochs=2, batch_size=2)) for row in batch]
    assert sorted(order[:5]) == sorted(order[5:]) == [3, 5, 8, 9, 12]
    assert order[:5] != order[5:]
    assert [len(batch) for batch in batches(range(5), Recipe(epochs=1, batch_size=2))] == [2, 2, 1]


def test_the_best_weights_are_kept_apart_from_the_model() -> None:
    """The losses 0.6, 0.5, 0.5, 0.7: the second is the best, and a tie is no improvement."""
    model, best = RewardModel(tiny_llama()), Best()
    for step, loss in enumerate([0.6, 0.5, 0.5, 0.7]):
        torch.nn.init.constant_(model.head, step)
        best.see(model, loss)
    assert (best.loss, best.stood) == (0.5, 2)
    best.restore(model)
    assert model.head.tolist() == 16 * [1.0]


def test_training_stops_when_patience_ends_and_leaves_the_best_weights() -> None:
    """Labels by coin, learned by heart: the held-out loss falls by chance at first, then rises."""
    said: list[str] = []
    model, pairs = RewardModel(tiny_llama()), random_pairs(64)
    recipe = Recipe(learning_rate=1e-2, epochs=20, batch_size=8, patience=4)
    steps = Training(model, pairs, recipe, said.append).run(range(48), range(48, 64))
    losses = [float(line.rsplit(" ", 1)[1]) for line in said]
    assert steps == 2 * (len(losses) - 1) < 120  # 6 steps an epoch, 4 evaluations an epoch: one every other step
    assert int(np.argmin(losses)) == len(losses) - 1 - 4
    assert log_loss(model.score(pairs, range(48, 64), 1000)) == pytest.approx(min(losses), abs=1e-4)
    assert losses[-1] > min(losses) + 1e-3
