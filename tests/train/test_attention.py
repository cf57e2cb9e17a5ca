"""Attention over packed tokens: FlexAttention, which a GPU is given, against the calls per block that a CPU is given."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prefbench.train.attention import by_blocks, flexible
from prefbench.train.device import autocast
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.layout import PADDED, SHARED, Layout, Packing, micro_batches
from tests.models import random_tokens, tiny_llama


def packing() -> Packing:
    tokens = random_tokens(5)
    sides = [tokens.chosen_ids, tokens.rejected_ids]
    (batch,) = micro_batches(Layout(SHARED, slack=4), tokens.prompt_ids, sides, 10_000, torch.device("cpu"))
    assert batch.packing is not None
    return batch.packing


@pytest.mark.parametrize("window", [None, 6])
def test_both_kernels_give_the_same(window):
    packed = packing()
    torch.manual_seed(0)
    states = [torch.randn(1, 4, len(packed.part), 16) for _ in range(3)]
    with torch.no_grad():
        blocks = by_blocks(*states, packed, window, dropout=0.0, scale=0.25)
        flex = flexible(*states, packed, window, scale=0.25)
    assert blocks.shape == flex.shape == (1, len(packed.part), 4, 16)
    assert torch.allclose(blocks, flex, atol=1e-6)


def test_query_heads_share_keys_in_groups():
    packed = packing()
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, len(packed.part), 16) for heads in (4, 2, 2))
    whole = [states.repeat_interleave(2, dim=1) for states in (key, value)]
    with torch.no_grad():
        repeated = by_blocks(query, *whole, packed, None, 0.0, None)
        assert torch.allclose(flexible(query, key, value, packed, None, None), repeated, atol=1e-6)
        assert torch.allclose(by_blocks(query, key, value, packed, None, 0.0, None), repeated, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's kernels need a GPU")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_a_training_step_on_a_gpu_has_the_gradients_of_padded_rows(dtype, tolerance):
    tokens = random_tokens(40)  # more than one tile of 128, and no multiple of it
    model = tiny_llama(hidden_size=64).cuda()
    scorer = make_scorer(model, dtype)
    assert scorer.layout.name == SHARED, scorer.layout.reason

    def gradients(used: Scorer) -> torch.Tensor:
        model.zero_grad()
        with autocast(dtype):
            for batch in used.micro_batches(tokens.prompt_ids, [tokens.chosen_ids, tokens.rejected_ids], 10_000):
                (used.sequence_log_probs(batch) * (1 + batch.rows)).sum().backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    shared, padded = (gradients(dataclasses.replace(scorer, layout=Layout(name))) for name in (SHARED, PADDED))
    assert (shared - padded).norm() <= tolerance * padded.norm()
