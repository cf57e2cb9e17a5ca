"""The made-up work: as large and as long as it is said to be, the same every time, and no two pairs alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.trl.cuda import SIZE, parameters
from benchmarks.trl.workload import LONGEST, SIZES, make, mean_words, random_pairs, word_counts


@pytest.mark.parametrize(("size", "millions"), [("xs", 0.23), ("s", 6.84), ("m", 26.45), (SIZE, 494.03)])
def test_models_are_as_large_as_said(size, millions):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SIZES[size].config())
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e6, 2) == millions


def test_the_floating_point_operations_count_every_matrix_of_the_model():
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SIZES[SIZE].config())
    in_layers = sum(weight.numel() for name, weight in model.named_parameters() if ".layers." in name and weight.dim() == 2)
    assert parameters() == (model.lm_head.weight.numel(), in_layers)


def test_lengths_are_as_said():
    mild = word_counts("mild", 4000, np.random.default_rng(0))
    assert mild.min(axis=0).tolist() == [96, 64, 64]
    assert mild.max(axis=0).tolist() == [160, 128, 128]
    wide = word_counts("wide", 4000, np.random.default_rng(0))
    assert wide.max() == LONGEST
    assert wide.mean(axis=0) == pytest.approx([119, 105, 105], abs=4)
    assert wide.std(axis=0).min() > 3 * mild.std(axis=0).max()


def test_a_token_is_a_word_and_answers_follow_their_prompts(workload):
    tokenizer = AutoTokenizer.from_pretrained(workload.model)
    rows = [json.loads(line) for line in workload.pairs.read_text().splitlines()]
    for row in rows:
        prompt, answer = (tokenizer(row[name])["input_ids"] for name in ("prompt", "chosen"))
        assert len(prompt) == len(row["prompt"].split())
        assert tokenizer(row["prompt"] + row["chosen"])["input_ids"] == prompt + answer
        assert not {*prompt, *answer} & set(tokenizer.all_special_ids)
    prompts, answers = mean_words(workload)
    assert prompts == pytest.approx(np.mean([len(row["prompt"].split()) for row in rows]))
    assert answers == pytest.approx(np.mean([len(row["chosen"].split()) + len(row["rejected"].split()) for row in rows]))


def test_the_same_arguments_make_the_same_work(workload, tmp_path):
    again, other = make(tmp_path / "again", "xs", "mild", 16), make(tmp_path / "other", "xs", "mild", 16, seed=1)
    for name in ("pairs.jsonl", "model/model.safetensors", "model/tokenizer.json"):
        first, second, third = ((made.folder / name).read_bytes() for made in (workload, again, other))
        assert first == second
        assert (first == third) == (name == "model/tokenizer.json")


def test_no_two_texts_are_alike():
    pairs = random_pairs(2048, "wide", 500, seed=0)
    texts = [text for pair in pairs for text in pair.values()]
    assert len(set(texts)) == len(texts) == 1500
