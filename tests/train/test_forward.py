"""The forward against a naive implementation that keeps every logit in float64."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from prefbench.train import head
from prefbench.train.forward import Scorer, make_scorer, sum_by_owner
from tests.models import random_tokens, tiny_llama, tiny_neox


def tiny_gemma2() -> PreTrainedModel:
    """A model that caps its logits softly."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, final_logit_softcapping=2.0, initializer_range=0.5,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def naive_sum(model: PreTrainedModel, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    """log p(answer | prompt): one sequence at a time, all logits, float64 softmax."""
    tokens = torch.tensor([[*prompt, *answer]])
    log_probs = torch.log_softmax(model(input_ids=tokens).logits[0].double(), dim=-1)
    return sum(log_probs[len(prompt) - 1 + i, token] for i, token in enumerate(answer))


def sums(scorer: Scorer, budget: int) -> torch.Tensor:
    tokens = random_tokens(12)
    result = torch.zeros(12, dtype=torch.float64)
    for batch in scorer.micro_batches(tokens.prompt_ids, [tokens.chosen_ids], budget):
        result[batch.rows] = scorer.sequence_log_probs(batch)
    return result


@pytest.mark.parametrize("make", [tiny_llama, tiny_neox, tiny_gemma2])
@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_log_probs_equal_the_naive_ones_for_any_architecture_and_any_micro_batch(make, budget):
    model, tokens = make(), random_tokens(12)
    with torch.no_grad():
        expected = torch.stack([naive_sum(model, p, a) for p, a in zip(tokens.prompt_ids, tokens.chosen_ids, strict=True)])
        assert sums(make_scorer(model, "float32"), budget).numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_a_soft_cap_on_the_logits_is_part_of_the_head():
    model = tiny_gemma2()
    assert make_scorer(model, "float32").split_head
    with torch.no_grad():
        capped = sums(make_scorer(model, "float32"), 10_000)
        model.config.final_logit_softcapping = None
        assert not torch.allclose(capped, sums(Scorer(model, "float32", split_head=True), 10_000))


def test_a_model_that_does_more_behind_its_head_is_run_whole():
    class Scaled(type(tiny_llama())):
        def forward(self, **arguments):
            output = super().forward(**arguments)
            output.logits = output.logits * 3.0
            return output

    model = tiny_llama()
    model.__class__ = Scaled
    scorer = make_scorer(model, "float32")
    assert not scorer.split_head
    with torch.no_grad():
        assert not torch.allclose(sums(scorer, 10_000), sums(Scorer(model, "float32", split_head=True), 10_000))


def test_projection_in_blocks_gives_the_same_values_and_gradients(monkeypatch):
    def gradient() -> torch.Tensor:
        model = tiny_llama()
        sums(make_scorer(model, "float32"), 10_000).sum().backward()
        return model.model.embed_tokens.weight.grad

    whole = gradient()
    monkeypatch.setattr(head, "LOGIT_BYTES", 4 * 50 * 7)  # seven response positions at a time
    assert torch.allclose(whole, gradient(), rtol=1e-5, atol=1e-6)


def test_distributions_are_normalised_and_agree_with_the_token_log_probs():
    scorer, tokens = make_scorer(tiny_llama(), "float32"), random_tokens(5)
    with torch.no_grad():
        for batch in scorer.micro_batches(tokens.prompt_ids, [tokens.chosen_ids], 100):
            whole = scorer.distributions(batch)
            assert whole.exp().sum(-1).numpy() == pytest.approx(1.0)
            picked = whole.gather(1, batch.targets[:, None])[:, 0]
            assert picked.numpy() == pytest.approx(scorer.token_log_probs(batch).numpy(), abs=1e-5)


def test_sequences_are_summed_in_float64():
    """In float32 the sum of so many tokens would be off by some thousandths."""
    values = -(torch.arange(20_000) % 7 + 0.1).float()
    exact = sum(values.tolist())
    found = sum_by_owner(values, torch.zeros(len(values), dtype=torch.int64), 1)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(exact, rel=1e-12)
    assert torch.zeros(1).index_add(0, torch.zeros(len(values), dtype=torch.int64), values).item() != pytest.approx(exact, rel=1e-8)
