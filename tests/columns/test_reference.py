"""The reference column: right, computed once, and shared only by what really is the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from prefbench.columns.reference import reference_column, reference_key
from prefbench.train.forward import make_scorer
from tests.models import random_tokens, tiny_llama
from tests.train.test_forward import naive_sum


class Counting:
    """A scorer that counts its forwards."""

    def __init__(self, seed: int = 0) -> None:
        self.scorer, self.forwards = make_scorer(tiny_llama(seed), "float32"), 0
        self.model, self.arithmetic, self.micro_batches = self.scorer.model, self.scorer.arithmetic, self.scorer.micro_batches

    def token_log_probs(self, batch):
        self.forwards += 1
        return self.scorer.token_log_probs(batch)


def test_sums_equal_the_naive_ones_in_the_order_of_the_pairs(tmp_path):
    tokens = random_tokens(9)
    chosen, rejected = reference_column(Counting(), "w", tokens, 60, tmp_path).sums()
    with torch.no_grad():
        expected = [float(naive_sum(tiny_llama(), p, a)) for p, a in zip(tokens.prompt_ids, tokens.rejected_ids, strict=True)]
    assert rejected == pytest.approx(expected, rel=1e-5)
    assert chosen.shape == (9,)


def test_the_second_use_costs_no_forward_and_gives_the_same_per_token_values(tmp_path):
    tokens, first, second = random_tokens(9), Counting(), Counting()
    made = reference_column(first, "w", tokens, 60, tmp_path)
    read = reference_column(second, "w", tokens, 60, tmp_path)
    assert (first.forwards > 0, second.forwards) == (True, 0)
    assert all(np.array_equal(a, b) for a, b in zip(made.chosen + made.rejected, read.chosen + read.rejected, strict=True))


def test_another_order_of_the_same_pairs_costs_no_forward_either(tmp_path):
    tokens, second = random_tokens(9), Counting()
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    names = ("pairs", "prompt_ids", "chosen_ids", "rejected_ids")
    shuffled = dataclasses.replace(tokens, **{name: tuple(getattr(tokens, name)[i] for i in order) for name in names})
    made = reference_column(Counting(), "w", tokens, 60, tmp_path)
    read = reference_column(second, "w", shuffled, 60, tmp_path)
    assert second.forwards == 0
    assert all(np.array_equal(made.rejected[i], read.rejected[place]) for place, i in enumerate(order))


def test_weights_tokens_and_arithmetic_each_miss_the_cache():
    tokens = random_tokens(3)
    changed = dataclasses.replace(tokens, chosen_ids=((*tokens.chosen_ids[0], 9), *tokens.chosen_ids[1:]))
    keys = {reference_key("w", tokens, "float32"), reference_key("v", tokens, "float32"), reference_key("w", tokens, "bfloat16")}
    assert len(keys | {reference_key("w", changed, "float32")}) == 4


def test_a_configuration_that_changes_what_the_weights_mean_misses_the_cache():
    """With another rotary base the same weights give other log-probs, and no safetensors file tells."""
    scorers = [make_scorer(tiny_llama(rope_parameters={"rope_type": "default", "rope_theta": base}), "float32") for base in (1e4, 1e5, 1e4)]
    one, other, same = (reference_key("w", random_tokens(3), scorer.arithmetic) for scorer in scorers)
    assert one == same != other


def test_a_torn_cache_file_is_written_anew(tmp_path):
    tokens = random_tokens(3)
    expected = reference_column(Counting(), "w", tokens, 60, tmp_path).sums()
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    assert np.array_equal(reference_column(Counting(), "w", tokens, 60, tmp_path).sums(), expected)
