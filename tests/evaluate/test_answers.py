"""Sampling: against a plain loop without cache or padding, and independent of batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import Sampling
from prefbench.data.tokens import encode_prompts
from prefbench.evaluate import answers
from prefbench.evaluate.answers import Draws, generate
from prefbench.streams import stream
from tests.models import tiny_llama, tiny_neox, word_tokenizer

PROMPTS = [({"role": "user", "content": "w1 " * n},) for n in (1, 7, 3, 12, 2)]
IDS = ["a", "b", "c", "d", "e"]
SAMPLING = [Sampling(temperature=1.0, max_new_tokens=n) for n in (12, 5, 12, 12, 1)]


def naive(model, tokenizer, prompt, id_, sampling) -> str:
    """One row alone, the whole prefix forwarded at every step, numpy's own inversion of the cumulative distribution."""
    ids, new = encode_prompts(tokenizer, [prompt])[0], []
    draws = stream(3, "test", id_).random(12)
    for step in range(sampling.max_new_tokens):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + new])).logits[0, -1].double().numpy()
        weights = np.exp((logits - logits.max()) / sampling.temperature)
        new.append(int(np.searchsorted(np.cumsum(weights / weights.sum()), draws[step], side="right")))
        if new[-1] == 1:
            break
    return tokenizer.decode(new, skip_special_tokens=True).strip()


@pytest.mark.parametrize("make", [tiny_llama, tiny_neox])
def test_answers_equal_those_of_a_plain_loop(make):
    model, tokenizer = make(), word_tokenizer()
    model.generation_config.eos_token_id = 1
    expected = [naive(model, tokenizer, *row) for row in zip(PROMPTS, IDS, SAMPLING, strict=True)]
    assert generate(model, tokenizer, PROMPTS, IDS, SAMPLING, Draws(3, "test")) == expected


def test_batching_and_company_change_no_answer(monkeypatch):
    model, tokenizer = tiny_llama(), word_tokenizer()
    together = generate(model, tokenizer, PROMPTS, IDS, SAMPLING, Draws(3, "test"))
    alone = generate(model, tokenizer, PROMPTS[2:3], IDS[2:3], SAMPLING[2:3], Draws(3, "test"))
    monkeypatch.setattr(answers, "CPU_CACHE_BYTES", 1)
    assert generate(model, tokenizer, PROMPTS, IDS, SAMPLING, Draws(3, "test")) == together
    assert alone == together[2:3]


def test_seed_stream_and_id_each_give_other_draws():
    model, tokenizer = tiny_llama(), word_tokenizer()
    long = [Sampling(max_new_tokens=12)] * 5
    drawn = {tuple(generate(model, tokenizer, PROMPTS, ids, long, Draws(seed, name))) for ids, seed, name in (
        (IDS, 3, "test"), (IDS, 4, "test"), (IDS, 3, "other"), (IDS[::-1], 3, "test"),
    )}  # fmt: skip
    assert len(drawn) == 4


def test_temperature_zero_is_greedy():
    model, tokenizer = tiny_llama(), word_tokenizer()
    greedy = [Sampling(temperature=0.0, max_new_tokens=6)] * 5
    first = generate(model, tokenizer, PROMPTS, IDS, greedy, Draws(0, "x"))
    assert first == generate(model, tokenizer, PROMPTS, IDS, greedy, Draws(1, "y"))
    ids = torch.tensor(encode_prompts(tokenizer, PROMPTS[:1]))
    reference = model.generate(ids, do_sample=False, max_new_tokens=6, eos_token_id=1, pad_token_id=0)[0, ids.shape[1] :]
    assert first[0] == tokenizer.decode(reference, skip_special_tokens=True).strip()


def test_draws_follow_the_distribution():
    model, tokenizer = tiny_llama(), word_tokenizer()
    ids = [str(i) for i in range(2000)]
    texts = generate(model, tokenizer, PROMPTS[:1] * 2000, ids, [Sampling(max_new_tokens=1)] * 2000, Draws(0, "many"))
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(encode_prompts(tokenizer, PROMPTS[:1]))).logits[0, -1].double().softmax(-1).numpy()
    top = int(expected[5:].argmax()) + 5
    share = np.mean([text == f"w{top - 5}" for text in texts])
    assert share == pytest.approx(expected[top], abs=4 * float(np.sqrt(expected[top] / 2000)))
