"""Answers that survive: whatever the batch after which a run is killed, the next one draws only what is missing, and the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from prefbench.api import Pair, Question, Sampling
from prefbench.engine.tasks import TaskStoppedError
from prefbench.evaluate import answers
from prefbench.evaluate.held_out import HeldOut
from prefbench.evaluate.kept_answers import KeptAnswers, Progress
from prefbench.evaluate.policy import ModelPolicy
from prefbench.train.forward import make_scorer
from tests.models import tiny_llama, word_tokenizer

QUESTIONS = [Question(str(i), ("w1 " * (1 + i % 4), "w2 w3")[: 1 + i % 2]) for i in range(12)]
SAMPLING = [Sampling(temperature=1.0, max_new_tokens=8, top_p=0.9)] * len(QUESTIONS)
BATCHES = 4 + 2
"""Of three rows each: twelve first turns, six second ones."""


@pytest.fixture(autouse=True)
def three_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(answers, "_batches", lambda model, asked: [range(len(asked))[i : i + 3] for i in range(0, len(asked), 3)])


@pytest.fixture
def drawn(monkeypatch) -> list[list[str]]:
    """The ids of every batch that the model draws."""
    batches: list[list[str]] = []
    draw = answers._generate_batch

    def count(model, asked, source, ends):
        batches.append([row.id for row in asked])
        return draw(model, asked, source, ends)

    monkeypatch.setattr(answers, "_generate_batch", count)
    return batches


def policy_of(kept: KeptAnswers | None = None, reports: Iterator[Any] | None = None, seed: int = 5) -> ModelPolicy:
    def report(progress: Mapping[str, Any]) -> None:
        if reports is not None and next(reports):
            raise TaskStoppedError

    scorer = make_scorer(tiny_llama(), "float32")
    return ModelPolicy(scorer, scorer, word_tokenizer(), seed, 50, progress=Progress(report, kept))


def stopped_after(batches: int) -> Iterator[bool]:
    return itertools.chain(itertools.repeat(False, batches), itertools.repeat(True))


@pytest.mark.parametrize("finished", range(BATCHES))
def test_a_run_that_is_stopped_between_batches_draws_the_others_when_it_goes_on(tmp_path, drawn, finished):
    expected = policy_of().answer(QUESTIONS, SAMPLING, "x")
    drawn.clear()
    with pytest.raises(TaskStoppedError):
        policy_of(KeptAnswers(tmp_path / "kept", "key"), stopped_after(finished)).answer(QUESTIONS, SAMPLING, "x")
    assert len(drawn) == finished
    assert policy_of(KeptAnswers(tmp_path / "kept", "key")).answer(QUESTIONS, SAMPLING, "x") == expected
    assert len(drawn) == BATCHES


@pytest.mark.parametrize(("finished", "missing"), [(1, 20), (1, 1), (3, 50), (4, 1), (5, 20)])
def test_a_half_written_line_is_dropped_and_its_batch_drawn_again(tmp_path, drawn, finished, missing):
    expected = policy_of().answer(QUESTIONS, SAMPLING, "x")
    with pytest.raises(TaskStoppedError):
        policy_of(KeptAnswers(tmp_path / "kept", "key"), stopped_after(finished)).answer(QUESTIONS, SAMPLING, "x")
    whole = (tmp_path / "kept").read_bytes()
    (tmp_path / "kept").write_bytes(whole[:-missing])
    drawn.clear()
    assert policy_of(KeptAnswers(tmp_path / "kept", "key")).answer(QUESTIONS, SAMPLING, "x") == expected
    assert len(drawn) == BATCHES - finished + 1
    assert len(whole.splitlines()) == 3 * finished
    assert all(json.loads(line)["key"] == "key" for line in (tmp_path / "kept").read_bytes().splitlines())


def test_a_changed_line_is_not_believed(tmp_path, drawn):
    expected = policy_of(KeptAnswers(tmp_path / "kept", "key")).answer(QUESTIONS, SAMPLING, "x")
    lines = (tmp_path / "kept").read_text().splitlines(keepends=True)
    tokens = json.loads(lines[4])["tokens"]
    lines[4] = lines[4].replace(f'"tokens":{json.dumps(tokens, separators=(",", ":"))}', '"tokens":[7,7]')
    (tmp_path / "kept").write_text("".join(lines))
    drawn.clear()
    assert policy_of(KeptAnswers(tmp_path / "kept", "key")).answer(QUESTIONS, SAMPLING, "x") == expected
    assert len(drawn) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda path: policy_of(KeptAnswers(path, "another key")).answer(QUESTIONS, SAMPLING, "x"),
        lambda path: policy_of(KeptAnswers(path, "key"), seed=6).answer(QUESTIONS, SAMPLING, "x"),
        lambda path: policy_of(KeptAnswers(path, "key")).answer(QUESTIONS, SAMPLING, "y"),
        lambda path: policy_of(KeptAnswers(path, "key")).answer(QUESTIONS, [Sampling(max_new_tokens=8)] * 12, "x"),
    ],
    ids=["key", "seed", "stream", "sampling"],
)
def test_answers_of_another_key_seed_stream_or_sampling_are_no_answers(tmp_path, drawn, other):
    policy_of(KeptAnswers(tmp_path / "kept", "key")).answer(QUESTIONS, SAMPLING, "x")
    drawn.clear()
    other(tmp_path / "kept")
    assert len(drawn) == BATCHES


def test_another_key_starts_the_file_anew(tmp_path):
    policy_of(KeptAnswers(tmp_path / "kept", "old")).answer(QUESTIONS, SAMPLING, "x")
    policy_of(KeptAnswers(tmp_path / "kept", "new")).answer(QUESTIONS, SAMPLING, "x")
    assert {json.loads(line)["key"] for line in (tmp_path / "kept").read_text().splitlines()} == {"new"}


def test_the_fresh_answers_of_held_out_are_kept_too(tmp_path, drawn, world):
    pairs = [Pair(({"role": "user", "content": f"w{i}"},), "w1", "w2") for i in range(7)]
    source = world.source(held=pairs)
    expected = HeldOut(max_new_tokens=5).collect(policy_of(), source)
    drawn.clear()
    with pytest.raises(TaskStoppedError):
        HeldOut(max_new_tokens=5).collect(policy_of(KeptAnswers(tmp_path / "kept", "key"), stopped_after(2)), source)
    assert HeldOut(max_new_tokens=5).collect(policy_of(KeptAnswers(tmp_path / "kept", "key")), source) == expected
    assert len(drawn) == 3


def test_the_seconds_that_answers_took_are_kept_with_them(tmp_path):
    kept = KeptAnswers(tmp_path / "kept", "key")
    line = {"stream": "x", "tokens": [1], "seconds": 0.25}
    kept.add([{**line, "id": "a", "asked": "1"}, {**line, "id": "b", "asked": "2"}])
    assert kept.seconds() == KeptAnswers(tmp_path / "kept", "key").seconds() == 0.5
    assert KeptAnswers(tmp_path / "kept", "another").seconds() == 0.0


def test_where_no_line_can_be_written_the_error_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    kept = KeptAnswers(tmp_path / "file" / "kept", "key")
    with pytest.raises(Exception, match=r"file/kept: cannot be written"):
        policy_of(kept).answer(QUESTIONS, SAMPLING, "x")
