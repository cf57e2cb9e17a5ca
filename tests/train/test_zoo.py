"""Architectures that people tune, tiny and random: log-probs and greedy answers against one sequence at a time, and LoRA from end to end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prefbench.api import Pair, Sampling
from prefbench.columns.reference import reference_column
from prefbench.config import LoraRules, ModelRules
from prefbench.data.tokens import encode_prompts, render
from prefbench.evaluate.answers import generate
from prefbench.evaluate.asked import Draws, Requests
from prefbench.evaluate.policy import ModelPolicy
from prefbench.objectives.dpo import Dpo
from prefbench.train.adapters import fresh_policy
from prefbench.train.checkpoint import load_model, load_tokenizer, save_policy
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import PairData
from prefbench.train.loop import train
from prefbench.train.meter import Clocks
from tests.models import WINDOW, ZOO, attention_of, random_tokens, tiny_model, word_tokenizer
from tests.train.test_loop import make_job

TOKENS = random_tokens(10)
SEQUENCES = list(zip(TOKENS.prompt_ids, TOKENS.chosen_ids, strict=True))
NEW = 12


@torch.no_grad()
def naive_log_probs(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
    """log p of each token of the answer: one sequence at a time, all logits of the whole model, float64 softmax."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].double()
    return torch.log_softmax(logits, dim=-1)[range(len(answer)), list(answer)].numpy()


@torch.no_grad()
def batched_log_probs(scorer: Scorer) -> list[np.ndarray]:
    found = [np.empty(0)] * len(SEQUENCES)
    for batch in scorer.micro_batches(TOKENS.prompt_ids, [TOKENS.chosen_ids], 120):
        values = scorer.token_log_probs(batch)
        for place, row in enumerate(batch.rows.tolist()):
            found[row] = values[batch.owner == place].numpy()
    return found


def largest_difference(model: PreTrainedModel, scorer: Scorer) -> float:
    pairs = zip(SEQUENCES, batched_log_probs(scorer), strict=True)
    return max(float(np.abs(naive_log_probs(model, *sequence) - found).max()) for sequence, found in pairs)


@pytest.mark.parametrize("name", ZOO)
def test_every_tokens_log_prob_is_that_of_the_sequence_alone(name):
    model = tiny_model(name)
    scorer = make_scorer(model, "float32")
    assert scorer.split_head  # the whole vocabulary is projected nowhere
    assert max(len(prompt) + len(answer) for prompt, answer in SEQUENCES) > 2 * WINDOW
    assert largest_difference(model, scorer) < 1e-5


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral"])
def test_a_sliding_window_makes_a_difference_to_the_longer_sequences(name):
    """Else the test above would say nothing about it."""
    wide = tiny_model(name)
    wide.config.sliding_window = 1000
    for layer in wide.modules():
        if getattr(layer, "sliding_window", None):
            layer.sliding_window = 1000
    differences = [np.abs(naive_log_probs(wide, *s) - naive_log_probs(tiny_model(name), *s)).max() for s in SEQUENCES]
    lengths = [len(prompt) + len(answer) for prompt, answer in SEQUENCES]
    assert all((difference > 1e-3) == (length > WINDOW + 1) for difference, length in zip(differences, lengths, strict=True))


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("conversation", [True, False], ids=["template", "plain"])
@pytest.mark.parametrize("name", ZOO)
def test_greedy_answers_in_a_batch_are_those_of_transformers_one_prompt_at_a_time(name, conversation, padding_side):
    model, tokenizer = tiny_model(name), word_tokenizer(padding_side)
    texts = ["w1 w2", "w7", "w3 w4 w5 w6 w7 w8 w9 w10 w11 w12"]
    prompts = [({"role": "user", "content": text},) for text in texts] if conversation else texts
    if not conversation:
        tokenizer.chat_template = None
    greedy = [Sampling(temperature=0.0, max_new_tokens=NEW)] * len(texts)
    answers = generate(model, tokenizer, Requests(prompts, texts, greedy, Draws(0, "test")))
    assert answers == [alone(model, tokenizer, ids) for ids in encode_prompts(tokenizer, prompts)]


def alone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: list[int]) -> str:
    found = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=NEW)
    return tokenizer.decode(found[0, len(prompt) :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("conversation", [True, False], ids=["template", "plain"])
@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_scores_of_texts_are_those_of_each_text_alone_whatever_the_tokenizer_pads(name, conversation, padding_side):
    scorer, tokenizer = make_scorer(tiny_model(name), "float32"), word_tokenizer(padding_side)
    texts = [("w1 w2 ", "w3"), ("w4 ", "w5 w6 w7 w8 w9 w10 w11"), ("w12 w13 w14 w15 w16 w17 w18 ", "w19 w20")]
    pairs = [Pair(({"role": "user", "content": prompt},) if conversation else prompt, answer, "w1") for prompt, answer in texts]
    if not conversation:
        tokenizer.chat_template = None
    found = ModelPolicy(scorer, scorer, tokenizer, seed=0, micro_batch_tokens=60).score(pairs)["policy_chosen"]
    for pair, value in zip(pairs, found, strict=True):
        head = tokenizer(render(tokenizer, pair.prompt))["input_ids"]
        whole = tokenizer(f"{render(tokenizer, pair.prompt)}{pair.chosen} <eos>")["input_ids"]
        assert value == pytest.approx(naive_log_probs(scorer.model, head, whole[len(head) :]).sum(), abs=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_lora_trains_and_its_folder_gives_the_same_log_probs(name, tmp_path: Path):
    rules = ModelRules(attention=attention_of(name))
    reference = make_scorer(tiny_model(name), "float32")
    policy = fresh_policy(reference, LoraRules(rank=4), seed=0)
    data = PairData(TOKENS, *reference_column(reference, "weights", TOKENS, 256, tmp_path).sums())
    log = train(dataclasses.replace(make_job(Dpo(beta=0.5), steps=12), scorer=policy, data=data), Clocks())
    assert log.rows[0]["loss"] == pytest.approx(np.log(2), rel=1e-6)  # the policy starts as the reference
    assert log.rows[-1]["loss"] < 0.5
    save_policy(policy.model, word_tokenizer(), tmp_path / "policy")
    loaded = load_model(tmp_path / "policy", torch.device("cpu"), rules)
    assert (
        largest_difference(loaded, policy) < 1e-4 < largest_difference(reference.model, policy)
    )  # adapters merged: other sums, in float32
    assert loaded.config.tie_word_embeddings == (loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight)
    assert load_tokenizer(tmp_path / "policy").chat_template
