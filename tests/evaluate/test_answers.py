"""Sampling: against a plain loop without cache or padding, and independent of batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import Sampling
from prefbench.data.tokens import encode_prompts
from prefbench.evaluate import answers
from prefbench.evaluate.answers import generate
from prefbench.evaluate.asked import Asked, Draws, Requests
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
        for token in {*ids, *new}:
            logits[token] *= sampling.repetition_penalty if logits[token] < 0 else 1 / sampling.repetition_penalty
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
    assert generate(model, tokenizer, Requests(PROMPTS, IDS, SAMPLING, Draws(3, "test"))) == expected


def test_batching_and_company_change_no_answer(monkeypatch):
    model, tokenizer = tiny_llama(), word_tokenizer()
    together = generate(model, tokenizer, Requests(PROMPTS, IDS, SAMPLING, Draws(3, "test")))
    alone = generate(model, tokenizer, Requests(PROMPTS[2:3], IDS[2:3], SAMPLING[2:3], Draws(3, "test")))
    monkeypatch.setattr(answers, "CPU_CACHE_BYTES", 1)
    assert generate(model, tokenizer, Requests(PROMPTS, IDS, SAMPLING, Draws(3, "test"))) == together
    assert alone == together[2:3]


def test_seed_stream_and_id_each_give_other_draws():
    model, tokenizer = tiny_llama(), word_tokenizer()
    long = [Sampling(max_new_tokens=12)] * 5
    drawn = {tuple(generate(model, tokenizer, Requests(PROMPTS, ids, long, Draws(seed, name)))) for ids, seed, name in (
        (IDS, 3, "test"), (IDS, 4, "test"), (IDS, 3, "other"), (IDS[::-1], 3, "test"),
    )}  # fmt: skip
    assert len(drawn) == 4


def test_temperature_zero_is_greedy():
    model, tokenizer = tiny_llama(), word_tokenizer()
    greedy = [Sampling(temperature=0.0, max_new_tokens=6)] * 5
    first = generate(model, tokenizer, Requests(PROMPTS, IDS, greedy, Draws(0, "x")))
    assert first == generate(model, tokenizer, Requests(PROMPTS, IDS, greedy, Draws(1, "y")))
    ids = torch.tensor(encode_prompts(tokenizer, PROMPTS[:1]))
    reference = model.generate(ids, do_sample=False, max_new_tokens=6, eos_token_id=1, pad_token_id=0)[0, ids.shape[1] :]
    assert first[0] == tokenizer.decode(reference, skip_special_tokens=True).strip()


def test_answers_with_a_penalty_for_repetitions_equal_those_of_a_plain_loop():
    """Rows with and without one in the same batch, of prompts of several lengths."""
    model, tokenizer = sharper(tiny_llama()), word_tokenizer()
    sampling = [Sampling(1.0, 12, repetition_penalty=penalty) for penalty in (1.5, 1.0, 3.0, 0.2, 9.0)]
    expected = [naive(model, tokenizer, *row) for row in zip(PROMPTS, IDS, sampling, strict=True)]
    assert generate(model, tokenizer, Requests(PROMPTS, IDS, sampling, Draws(3, "test"))) == expected
    without = generate(model, tokenizer, Requests(PROMPTS, IDS, [Sampling(1.0, 12)] * 5, Draws(3, "test")))
    assert expected[1] == without[1]  # whose penalty is 1
    assert sum(found != other for found, other in zip(expected, without, strict=True)) >= 3


def test_padding_counts_as_no_repetition():
    """The padding token is a token of the vocabulary like any other."""
    asked = [Asked("a", [7], Sampling(repetition_penalty=2.0)), Asked("b", [5, 6, 7], Sampling())]
    tokens, mask = answers._left_pad([row.prompt for row in asked], torch.device("cpu"))
    history = answers._first_rows(asked, Draws(0, "x"), tokens, mask).history
    assert [set(row) for row in history.tolist()] == [{7}, {5, 6, 7}]


def sharper(model):
    """With logits far enough from 0 that a factor moves answers."""
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8)
    return model


@pytest.mark.parametrize("penalty", [1.5, 4.0])
def test_the_penalty_is_that_of_transformers(penalty):
    model, tokenizer = sharper(tiny_llama()), word_tokenizer()
    greedy = [Sampling(0.0, 12, repetition_penalty=penalty)]
    ids = torch.tensor(encode_prompts(tokenizer, PROMPTS[1:2]))
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": 1, "pad_token_id": 0}
    plain, reference = (model.generate(ids, **settings, repetition_penalty=p)[0, ids.shape[1] :] for p in (1.0, penalty))
    found = generate(model, tokenizer, Requests(PROMPTS[1:2], IDS[:1], greedy, Draws(0, "x")))
    assert found == [tokenizer.decode(reference, skip_special_tokens=True).strip()]
    assert found != [tokenizer.decode(plain, skip_special_tokens=True).strip()]


def test_draws_follow_the_distribution():
    model, tokenizer = tiny_llama(), word_tokenizer()
    ids = [str(i) for i in range(2000)]
    texts = generate(model, tokenizer, Requests(PROMPTS[:1] * 2000, ids, [Sampling(max_new_tokens=1)] * 2000, Draws(0, "many")))
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(encode_prompts(tokenizer, PROMPTS[:1]))).logits[0, -1].double().softmax(-1).numpy()
    top = int(expected[5:].argmax()) + 5
    share = np.mean([text == f"w{top - 5}" for text in texts])
    assert share == pytest.approx(expected[top], abs=4 * float(np.sqrt(expected[top] / 2000)))


# ---------------------------------------------------------------- top_p


def nucleus(weights: np.ndarray, top_p: float) -> list[int]:
    """The fewest most probable tokens that reach ``top_p`` together, one at a time."""
    found: list[int] = []
    for token in np.argsort(-weights, kind="stable"):
        if found and weights[found].sum() >= top_p:
            break
        found.append(int(token))
    return sorted(found)


def inverse_by_hand(logits: np.ndarray, temperature: float, top_p: float, uniform: float) -> int:
    weights = np.exp((logits - logits.max()) / temperature)
    weights /= weights.sum()
    tokens = nucleus(weights, top_p)
    passed, target = 0.0, uniform * weights[tokens].sum()
    for token in tokens:
        passed += weights[token]
        if passed > target:
            return token
    return tokens[-1]


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_from_the_nucleus_equal_an_inversion_by_hand(temperature, top_p):
    rng = np.random.default_rng(0)
    logits, uniform = rng.normal(0, 2, (200, 30)).astype(np.float32), rng.random(200)
    column = [torch.full((200, 1), value, dtype=torch.float64) for value in (temperature, top_p)]
    drawn = answers._draw(torch.from_numpy(logits), column[0], torch.from_numpy(uniform), column[1])
    expected = [inverse_by_hand(row.astype(np.float64), temperature, top_p, u) for row, u in zip(logits, uniform, strict=True)]
    assert drawn.tolist() == expected


def test_a_row_that_draws_from_everything_is_not_moved_by_one_that_does_not():
    rng = np.random.default_rng(1)
    logits, uniform = torch.from_numpy(rng.normal(0, 3, (500, 40))), torch.from_numpy(rng.random(500))
    top_p = torch.where(torch.arange(500)[:, None] % 2 == 0, 1.0, 0.5).double()
    temperature = torch.ones(500, 1, dtype=torch.float64)
    alone, together = answers._draw(logits, temperature, uniform), answers._draw(logits, temperature, uniform, top_p)
    assert torch.equal(alone[::2], together[::2])
    assert not torch.equal(alone[1::2], together[1::2])


def test_a_nucleus_of_everything_holds_the_rarest_tokens_too():
    probability = torch.tensor([[0.0, -50.0, -60.0, -45.0]], dtype=torch.float64).softmax(-1)  # the first is 1, to the last bit
    assert torch.equal(answers._nucleus(probability, torch.ones(1, 1, dtype=torch.float64)), probability)


def test_of_equally_probable_tokens_the_lower_ids_are_in_the_nucleus():
    uniform = torch.linspace(0, 1 - 1e-9, 50, dtype=torch.float64)
    column = [torch.full((50, 1), value, dtype=torch.float64) for value in (1.0, 0.5)]
    assert set(answers._draw(torch.zeros(50, 8), column[0], uniform, column[1]).tolist()) == {0, 1, 2, 3}


def test_the_smallest_nucleus_is_the_most_probable_token():
    model, tokenizer = tiny_llama(), word_tokenizer()
    greedy, narrow = ([Sampling(t, 6, p)] * 5 for t, p in ((0.0, 1.0), (1.0, 0.0)))
    assert generate(model, tokenizer, Requests(PROMPTS, IDS, narrow, Draws(0, "x"))) == generate(
        model, tokenizer, Requests(PROMPTS, IDS, greedy, Draws(0, "x"))
    )
