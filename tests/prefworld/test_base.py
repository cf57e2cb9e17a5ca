"""Training of the base model and SFT: the loss against transformers' own, and what counts as an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.prefworld import base
from prefbench.prefworld.corpus import base_corpus, demonstrations
from prefbench.prefworld.tokenizer import build_tokenizer


def test_gradients_are_those_of_one_padded_batch_in_transformers() -> None:
    texts = list(islice(base_corpus(0), 20))
    model, plain = base.new_model(0), base.new_model(0)
    with ThreadPoolExecutor(2) as threads:
        loss = base._set_gradients(model, [base._encode(text) for text in texts], answers_only=False, threads=threads)

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


def trained(folder: Path, steps: int, report: Callable[[str], None]) -> torch.Tensor:
    """All weights of a new model after so many steps of SFT, with its checkpoint in ``folder``."""
    model = base.new_model(1)
    base.train(base.Stage(base.sft_schedule(steps), "1", folder), model, demonstrations(1), report)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_training_lowers_the_loss_and_repeats_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_EVERY", 3)
    lines: list[str] = []
    weights = trained(tmp_path / "a", 12, lines.append)
    assert torch.equal(weights, trained(tmp_path / "b", 12, lambda _: None))
    first, *_, last = (float(line.split()[-1]) for line in lines)
    assert last < first - 0.5


def test_the_weights_are_those_of_a_machine_with_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side_by_side = trained(tmp_path / "many", 6, lambda _: None)
    monkeypatch.setattr("prefbench.train.device.usable_cores", lambda: 1)
    assert torch.equal(side_by_side, trained(tmp_path / "one", 6, lambda _: None))


def test_a_batch_is_cut_into_parts_of_as_many_tokens_whose_texts_are_of_one_length() -> None:
    batch = [np.zeros(length) for length in (1, 2, 3, 4, 5, 5, 10, 10, 20, 20)]
    assert [[len(ids) for ids in batch[rows]] for rows in base._parts(batch)] == [[1, 2, 3, 4, 5, 5], [10, 10], [20], [20]]
    assert base._parts(batch[:1]) == [slice(0, 1)]


def test_training_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_EVERY", 3)
    whole = trained(tmp_path / "whole", 12, lambda _: None)

    def cut(line: str) -> None:
        if "step 6 " in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", 12, cut)
    lines: list[str] = []
    assert torch.equal(trained(tmp_path / "cut", 12, lines.append), whole)
    assert [line.split(",")[0] for line in lines] == ["sft: step 9 of 12", "sft: step 12 of 12"]


def test_a_checkpoint_of_another_schedule_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_EVERY", 3)
    trained(tmp_path, 6, lambda _: None)
    lines: list[str] = []
    trained(tmp_path, 12, lines.append)
    assert len(lines) == 4
