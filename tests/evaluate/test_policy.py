"""A policy's answers, scores and divergence, against the models' own logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefbench.api import Pair, Question, Sampling
from prefbench.data.tokens import encode_answers, encode_prompts
from prefbench.evaluate.policy import ModelPolicy
from prefbench.train.forward import make_scorer
from tests.models import tiny_llama, word_tokenizer
from tests.train.test_forward import naive_sum

PROMPT = ({"role": "user", "content": "w1 w2"},)


def policy_of(policy_seed: int, seed: int = 0) -> ModelPolicy:
    policy, reference = make_scorer(tiny_llama(policy_seed), "float32"), make_scorer(tiny_llama(0), "float32")
    return ModelPolicy(policy, reference, word_tokenizer(), seed, micro_batch_tokens=50)


def test_a_second_turn_sees_the_first_answer():
    policy = policy_of(0)
    question = Question("7", ("w1", "w2 w3"))
    ((first, second),) = policy.answer([question], [Sampling(max_new_tokens=4)], "x")
    dialogue = ({"role": "user", "content": "w1"}, {"role": "assistant", "content": first}, {"role": "user", "content": "w2 w3"})
    assert policy.sample([dialogue], ["7"], [Sampling(max_new_tokens=4)], "x/1") == [second]


def test_questions_of_one_and_two_turns_go_together():
    answers = policy_of(0).answer([Question("1", ("w1",)), Question("2", ("w1", "w2"))], [Sampling(max_new_tokens=3)] * 2, "x")
    assert [len(turns) for turns in answers] == [1, 2]


def test_scores_equal_the_naive_ones():
    pairs = [Pair(PROMPT, "w3 w4", "w5"), Pair(PROMPT, "w6", "w7 w8 w9")]
    policy, tokenizer = policy_of(1), word_tokenizer()
    scores = policy.score(pairs)
    prompt_ids = encode_prompts(tokenizer, [PROMPT] * 2)
    rejected = encode_answers(tokenizer, [PROMPT] * 2, prompt_ids, ["w5", "w7 w8 w9"])
    with torch.no_grad():
        expected = [float(naive_sum(tiny_llama(1), p, r)) for p, r in zip(prompt_ids, rejected, strict=True)]
    assert scores["policy_rejected"] == pytest.approx(expected, rel=1e-5)
    assert np.abs(scores["policy_chosen"] - scores["reference_chosen"]).min() > 0.01


def test_divergence_is_the_sum_of_the_full_distributions_divergence_per_token():
    policy, tokenizer = policy_of(1), word_tokenizer()
    (value,) = policy.divergence([PROMPT], ["w3 w4"])
    prompt_ids = encode_prompts(tokenizer, [PROMPT])
    (answer,) = encode_answers(tokenizer, [PROMPT], prompt_ids, ["w3 w4"])
    tokens, start = torch.tensor([[*prompt_ids[0], *answer]]), len(prompt_ids[0]) - 1
    with torch.no_grad():
        p, q = (
            model(input_ids=tokens).logits[0, start : start + len(answer)].double().softmax(-1) for model in (tiny_llama(1), tiny_llama(0))
        )
    assert value == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)


def test_a_policy_that_is_its_reference_has_no_divergence():
    assert policy_of(0).divergence([PROMPT], ["w3 w4"])[0] == 0.0
