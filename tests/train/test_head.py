"""The head with one buffer against a log-softmax that keeps everything: values, and the gradients of hidden states, matrix and bias."""

from __future__ import annotations

import pytest
import torch

from prefbench.train import head
from prefbench.train.head import head_logits, target_log_probs
from tests.models import tiny_llama

POSITIONS, WIDTH, WORDS = 23, 16, 50


def model(bias: bool = False, cap: float | None = None) -> torch.nn.Module:
    found = tiny_llama()
    if bias:
        found.lm_head = torch.nn.Linear(WIDTH, WORDS)
    found.config.final_logit_softcapping = cap
    return found


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(POSITIONS, WIDTH, requires_grad=True), torch.randint(0, WORDS, (POSITIONS,)), torch.randn(POSITIONS)


def plainly(owner: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(head_logits(owner, hidden).float(), dim=-1).gather(1, targets[:, None])[:, 0]


def values_and_gradients(function, owner: torch.nn.Module) -> list[torch.Tensor]:
    hidden, targets, slope = inputs()
    values = function(owner, hidden, targets)
    return [values.detach(), *torch.autograd.grad(values, [hidden, *owner.lm_head.parameters()], slope)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("block", [1, 7, POSITIONS])
def test_values_and_gradients_are_those_of_a_log_softmax(monkeypatch, bias, cap, block):
    monkeypatch.setattr(head, "LOGIT_BYTES", 4 * WORDS * block)
    monkeypatch.setattr(head, "CHUNK", 3 * WORDS)
    owner = model(bias, cap)
    for found, expected in zip(values_and_gradients(target_log_probs, owner), values_and_gradients(plainly, owner), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).norm() < 1e-6 * expected.norm()


def test_a_frozen_matrix_gets_no_gradient_and_the_hidden_states_theirs():
    owner = model()
    owner.requires_grad_(False)
    hidden, targets, slope = inputs()
    expected = torch.autograd.grad(plainly(owner, hidden, targets), hidden, slope)[0]
    target_log_probs(owner, hidden, targets).backward(slope)
    assert torch.allclose(hidden.grad, expected, atol=1e-6)
    assert owner.lm_head.weight.grad is None


def test_a_second_backward_through_one_graph_is_right_too():
    """The buffer was overwritten by the first."""
    hidden, targets, slope = inputs()
    values = target_log_probs(model(), hidden, targets)
    first, second = (torch.autograd.grad(values, hidden, slope, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_in_bfloat16_the_gradients_are_as_good_as_those_of_the_plain_head():
    def gradients(function) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.cat([gradient.flatten() for gradient in values_and_gradients(function, model())])

    exact = torch.cat([gradient.flatten() for gradient in values_and_gradients(plainly, model())])
    plain, ours = ((gradients(function) - exact).norm() / exact.norm() for function in (plainly, target_log_probs))
    assert 1e-4 < ours < 1.5 * plain


def test_certain_and_impossible_tokens_have_finite_log_probs():
    """A probability that float32 cannot hold still has a logarithm."""
    owner = model()
    with torch.no_grad():
        owner.lm_head.weight.mul_(1000)
    hidden, targets, _ = inputs()
    values = target_log_probs(owner, hidden, targets)
    assert values.min() < -200
    assert values.isfinite().all()


def test_the_forward_and_backward_hold_one_buffer_of_logits(monkeypatch):
    from tests.train.test_recompute import Alive

    def peak(function) -> int:
        owner, (hidden, targets, slope) = tiny_llama(vocab_size=20_000), inputs()
        with Alive() as alive:
            function(owner, hidden, targets).backward(slope)
        return alive.peak

    monkeypatch.setattr(head, "CHUNK", 20_000)
    buffer, matrix = 4 * POSITIONS * 20_000, 4 * WIDTH * 20_000
    assert peak(target_log_probs) < 1.5 * buffer + 2 * matrix
    assert peak(plainly) > 2.5 * buffer


def test_block_by_block_no_more_than_a_block_is_held_at_a_time(monkeypatch):
    from tests.train.test_recompute import Alive

    monkeypatch.setattr(head, "CHUNK", 20_000)
    owner, (hidden, targets, slope) = tiny_llama(vocab_size=20_000), inputs()

    def peak(rows: int, gradient: bool) -> int:
        monkeypatch.setattr(head, "LOGIT_BYTES", 4 * 20_000 * rows)
        with Alive() as alive, torch.set_grad_enabled(gradient):
            values = target_log_probs(owner, hidden, targets)
            if gradient:
                values.backward(slope)
        return alive.peak

    buffer, matrix = 4 * POSITIONS * 20_000, 4 * WIDTH * 20_000
    assert peak(2, gradient=False) < 0.4 * buffer + matrix < peak(POSITIONS, gradient=False)
    assert peak(2, gradient=True) < 0.6 * buffer + 3 * matrix  # itself, its gradient, and what is added to that
