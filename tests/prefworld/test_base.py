"""Training of the base model and SFT: the loss against transformers' own, and what counts as an answer."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from prefbench.prefworld import base
from prefbench.prefworld.corpus import base_corpus, demonstrations
from prefbench.prefworld.tokenizer import build_tokenizer


def test_gradients_are_those_of_one_padded_batch_in_transformers() -> None:
    texts = list(islice(base_corpus(0), 20))
    model, plain = base.new_model(0), base.new_model(0)
    loss = base._accumulate(model, [base._encode(text) for text in texts], answers_only=False)

    rows = build_tokenizer()(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
    expected = plain(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"], labels=labels).loss
    expected.backward()

    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_sft_learns_answers_and_their_end_only() -> None:
    text = "<user> now tell anna too <assistant> ahoy anna . <end> <user> now add two <assistant> two . <end>"
    learned = np.array(text.split())[base._answer_mask(base._encode(text))]
    assert list(learned) == ["ahoy", "anna", ".", "<end>", "two", ".", "<end>"]


def test_training_lowers_the_loss_and_repeats_exactly() -> None:
    def run() -> tuple[list[str], torch.Tensor]:
        model, lines = base.new_model(1), list[str]()
        for _ in range(2):
            base.train(model, demonstrations(1), base.sft_schedule(6), lines.append)
        return lines, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    (lines, weights), (again, same) = run(), run()
    assert lines == again
    assert torch.equal(weights, same)
    first, second = (float(line.split()[-1]) for line in lines)
    assert second < first - 0.5
