"""The three layouts against one sequence at a time, for every architecture of the zoo; and what a micro-batch holds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from prefbench.train.forward import Scorer, make_scorer, per_token_log_probs
from prefbench.train.layout import PACKED, PADDED, SHARED, Layout, MicroBatch, micro_batches
from tests.models import WINDOW, ZOO, random_tokens, tiny_llama, tiny_model

TOKENS = random_tokens(10)
SIDES = [TOKENS.chosen_ids, TOKENS.rejected_ids]
SLACKS = [0, 5, 1000]
"""No padding, a little, and as much as makes one block of all families."""


def in_layout(scorer: Scorer, name: str, slack: int = 0) -> Scorer:
    return dataclasses.replace(scorer, layout=Layout(name, slack))


@torch.no_grad()
def alone(model: PreTrainedModel, prompt: tuple[int, ...], answer: tuple[int, ...]) -> np.ndarray:
    """log p of each token of the answer: the sequence alone, all logits of the whole model, float64 softmax."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].double()
    return torch.log_softmax(logits, dim=-1)[range(len(answer)), list(answer)].numpy()


def test_which_architectures_are_packed_with_shared_prompts_and_why_the_others_are_not():
    layouts = {name: make_scorer(tiny_model(name), "float32").layout for name in ZOO}
    assert {name: layout.reason for name, layout in layouts.items() if layout.name == PADDED} == {"gemma2": "attention is eager"}
    assert {layout.name for name, layout in layouts.items() if name != "gemma2"} == {SHARED}


@pytest.mark.parametrize("name", [name for name in ZOO if name != "gemma2"])
@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_every_tokens_log_prob_is_that_of_the_sequence_alone_in_every_layout(name, budget):
    scorer = make_scorer(tiny_model(name), "float32")
    for layout, slack in [(PADDED, 0), *((kind, slack) for kind in (PACKED, SHARED) for slack in SLACKS)]:
        found = per_token_log_probs(in_layout(scorer, layout, slack), TOKENS.prompt_ids, SIDES, budget)
        for side, answers in enumerate(SIDES):
            for prompt, answer, values in zip(TOKENS.prompt_ids, answers, found[side], strict=True):
                assert values == pytest.approx(alone(scorer.model, prompt, answer), abs=1e-5)


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt-neox"])
@pytest.mark.parametrize("slack", SLACKS)
def test_gradients_are_those_of_padded_tokens(name, slack):
    def gradients(layout: str) -> list[torch.Tensor]:
        scorer = in_layout(make_scorer(tiny_model(name), "float32"), layout, slack)
        for batch in scorer.micro_batches(TOKENS.prompt_ids, SIDES, 200):
            (scorer.sequence_log_probs(batch) * (1 + batch.rows)).sum().backward()
        return [weight.grad for weight in scorer.model.parameters()]

    for packed, padded in zip(gradients(SHARED), gradients(PADDED), strict=True):
        assert (packed - padded).norm() <= 1e-5 * padded.norm()


def test_windows_are_shorter_than_the_sequences_here():
    """Else the tests above would say nothing about them."""
    assert max(len(prompt) + len(answer) for prompt, answer in zip(TOKENS.prompt_ids, SIDES[0], strict=True)) > 2 * WINDOW


def test_attention_that_lets_one_answer_see_the_other_is_noticed():
    """What a plain causal mask over shared prompts would do."""
    scorer = make_scorer(tiny_llama(), "float32")
    (batch,) = scorer.micro_batches(TOKENS.prompt_ids, SIDES, 10_000)
    wrong = dataclasses.replace(batch, packing=dataclasses.replace(batch.packing, branching=False, masks={}))
    with torch.no_grad():
        right, leaking = (scorer.sequence_log_probs(one) for one in (batch, wrong))
    first = batch.rows < len(TOKENS.prompt_ids)
    assert torch.allclose(right[first], leaking[first])
    assert not torch.allclose(right[~first], leaking[~first])


def test_packed_tokens_are_refused_by_a_model_that_would_read_them_as_one_text():
    model = tiny_llama()
    (batch,) = micro_batches(Layout(SHARED), TOKENS.prompt_ids, SIDES, 10_000, model.device)
    with pytest.raises(ValueError, match="make_scorer"):
        Scorer(model, "float32", split_head=True).token_log_probs(batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_a_model_that_looks_back_without_attention_is_padded(dtype, scale):
    """As convolutions do, across the borders of packed sequences."""
    model = tiny_llama(initializer_range=scale).to(dtype)
    model.model.embed_tokens.register_forward_hook(lambda _module, _inputs, found: found + found.roll(1, dims=1))
    layout = make_scorer(model, "float32" if dtype == torch.float32 else "bfloat16").layout
    assert (layout.name, layout.reason) == (PADDED, "LlamaForCausalLM has other states for packed tokens")
    assert model.config._attn_implementation == "sdpa"


def test_layers_of_another_kind_than_attention_are_padded_untried():
    model = tiny_llama()
    model.config.layer_types = ["conv", "full_attention"]
    assert "look back without attention" in make_scorer(model, "float32").layout.reason


def test_rotary_embeddings_that_follow_the_longest_text_are_padded():
    model = tiny_llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    assert "longest text" in make_scorer(model, "float32").layout.reason


def test_a_model_that_cannot_be_tried_is_padded_with_the_reason(monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("no kernel\nfor these heads")

    monkeypatch.setattr("prefbench.train.attention.by_blocks", fails)
    assert make_scorer(tiny_llama(), "float32").layout.reason == "LlamaForCausalLM cannot be given packed tokens: no kernel"


def test_a_model_with_windows_that_the_attention_may_not_be_told_of_is_padded():
    model = tiny_model("mistral")
    model.config.model_type = "unheard-of"
    assert "windows" in make_scorer(model, "float32").layout.reason


# ---------------------------------------------------------------- what a micro-batch holds


@pytest.mark.parametrize("name", [PADDED, PACKED, SHARED])
def test_every_sequence_is_in_one_micro_batch_beside_the_others_of_its_prompt_and_the_budget_holds(name):
    tokens = random_tokens(30)
    batches = micro_batches(Layout(name), tokens.prompt_ids, [tokens.chosen_ids, tokens.rejected_ids], 120, torch.device("cpu"))
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(60))
    assert all({row % 30 for row in batch.rows.tolist() if row < 30} == {row % 30 for row in batch.rows.tolist()} for batch in batches)
    assert all(batch.tokens.numel() <= 120 for batch in batches)
    assert len(batches) < 30


def test_a_prompt_is_there_once_where_it_is_shared():
    def count(name: str) -> int:
        (batch,) = micro_batches(Layout(name), TOKENS.prompt_ids, SIDES, 10_000, torch.device("cpu"))
        return batch.tokens.numel()

    prompts, answers = sum(map(len, TOKENS.prompt_ids)), sum(len(answer) for side in SIDES for answer in side)
    assert count(SHARED) == prompts + answers
    assert count(PACKED) == 2 * prompts + answers
    assert count(PADDED) > count(PACKED)


def test_padding_within_a_block_is_at_most_the_slack():
    def widths(slack: int) -> list[tuple[int, int]]:
        (batch,) = micro_batches(Layout(SHARED, slack), TOKENS.prompt_ids, SIDES, 10_000, torch.device("cpu"))
        return list(blocks_of(batch))

    whole = sorted((len(p) + len(c) + len(r) for p, c, r in zip(TOKENS.prompt_ids, *SIDES, strict=True)), reverse=True)
    assert [width for families, width in widths(0) for _ in range(families)] == whole
    for slack in (3, 8):
        padded = [width for families, width in widths(slack) for _ in range(families)]
        assert all(0 <= wide - real <= slack for wide, real in zip(padded, whole, strict=True))
        assert len(widths(slack)) < len(widths(0))


def blocks_of(batch: MicroBatch) -> tuple[tuple[int, int], ...]:
    assert batch.packing is not None
    return batch.packing.blocks


def test_the_verdicts_of_a_judge_share_their_prompt():
    scorer = make_scorer(tiny_llama(), "float32")
    verdicts = [[(5, 6)], [(7,)], [(8, 9, 10)]]
    (batch,) = scorer.micro_batches([(3, 4, 5)], verdicts, 100)
    assert batch.tokens.numel() == 3 + 6
    found = per_token_log_probs(scorer, [(3, 4, 5)], verdicts, 100)
    for (values,), (verdict,) in zip(found, verdicts, strict=True):
        assert values == pytest.approx(alone(scorer.model, (3, 4, 5), verdict), abs=1e-5)
