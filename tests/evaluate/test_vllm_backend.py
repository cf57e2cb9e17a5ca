"""vLLM as the back end of answers, over a stand-in with its call surface: what it is handed, and when it gives the GPU back."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from prefbench.api import Pair, Question, Sampling
from prefbench.engine.tasks import TaskStoppedError
from prefbench.errors import PrefbenchError
from prefbench.evaluate import vllm_backend
from prefbench.evaluate.kept_answers import UNTOLD, KeptAnswers, Progress
from prefbench.evaluate.policy import ModelPolicy
from prefbench.evaluate.vllm_backend import VllmEngine, refuse_missing
from prefbench.streams import stream_seed
from prefbench.train.checkpoint import save_policy
from prefbench.train.forward import make_scorer
from tests.models import tiny_llama, word_tokenizer

QUESTIONS = [Question(str(i), ("w1 " * (1 + i % 4), "w2 w3")[: 1 + i % 2]) for i in range(8)]
GREEDY = [Sampling(0.0, 6)] * 8
SAMPLED = [Sampling(0.7, 6, 0.9, 1.1)] * 8
STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def vllm(monkeypatch) -> Iterator[ModuleType]:
    """The stand-in, installed for the time of a test."""
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    import vllm

    yield vllm
    for name in ("vllm", "vllm.distributed"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "policy"
    save_policy(tiny_llama(), word_tokenizer(), folder)
    return folder


def policy_of(folder: Path, progress: Progress = UNTOLD, engine: bool = True) -> ModelPolicy:
    scorer = make_scorer(tiny_llama(), "float32")
    made = VllmEngine(folder, scorer.model, "float32", False, 5) if engine else None
    return ModelPolicy(scorer, scorer, word_tokenizer(), 5, 50, progress=progress, engine=made)


def test_greedy_answers_are_those_of_the_policy_itself(vllm, folder):
    expected = policy_of(folder, engine=False).answer(QUESTIONS, GREEDY, "x")
    assert policy_of(folder).answer(QUESTIONS, GREEDY, "x") == expected


def test_every_question_is_asked_in_token_ids_with_its_own_seed_and_the_tracks_sampling(vllm, folder):
    policy_of(folder).answer(QUESTIONS[:2], SAMPLED[:2], "x")
    (engine,) = vllm.LLM.made[-1:]
    assert (engine.model, engine.dtype, engine.trust_remote_code, engine.seed) == (str(folder), "float32", False, 5)
    (prompt, first), _, (longer, second) = engine.asked
    assert prompt == [2, 6, 3]  # <user> w1 <assistant>
    assert longer[:4] == [2, 6, 6, 3]
    assert (first.temperature, first.top_p, first.repetition_penalty, first.max_tokens, first.stop_token_ids) == (0.7, 0.9, 1.1, 6, [1])
    assert (first.seed, second.seed) == (stream_seed(5, "x/0", "0"), stream_seed(5, "x/1", "1"))


def test_the_same_seed_and_ids_give_the_same_answers_whatever_their_company(vllm, folder):
    together = policy_of(folder).answer(QUESTIONS, SAMPLED, "x")
    assert policy_of(folder).answer(QUESTIONS[3:5], SAMPLED[3:5], "x") == together[3:5]
    assert policy_of(folder).answer(QUESTIONS, SAMPLED, "y") != together


def test_the_engine_is_released_before_anything_is_scored_and_made_again_for_the_next_answers(vllm, folder):
    policy, before = policy_of(folder), len(vllm.LLM.made)
    policy.answer(QUESTIONS[:1], GREEDY[:1], "x")
    policy.answer(QUESTIONS[:1], GREEDY[:1], "y")
    assert len(vllm.LLM.made) == before + 1
    policy.score([Pair(({"role": "user", "content": "w1"},), "w3", "w4")])
    assert not vllm.LLM.made[-1].running
    policy.answer(QUESTIONS[:1], GREEDY[:1], "z")
    assert len(vllm.LLM.made) == before + 2
    policy.divergence([({"role": "user", "content": "w1"},)], ["w3"])
    assert not vllm.LLM.made[-1].running


@pytest.mark.parametrize(("finished", "answers"), [(0, 0), (1, 3), (2, 6), (3, 8), (4, 11)])
def test_groups_that_are_finished_are_not_asked_again(vllm, folder, tmp_path, monkeypatch, finished, answers):
    monkeypatch.setattr(vllm_backend, "QUESTIONS_AT_ONCE", 3)  # three groups of first turns, two of second ones
    expected = policy_of(folder).answer(QUESTIONS, SAMPLED, "x")
    left = itertools.count()

    def report(progress: object) -> None:
        if next(left) == finished:
            raise TaskStoppedError

    with pytest.raises(TaskStoppedError):
        policy_of(folder, Progress(report, KeptAnswers(tmp_path / "kept", "key"))).answer(QUESTIONS, SAMPLED, "x")
    again = policy_of(folder, Progress(kept=KeptAnswers(tmp_path / "kept", "key")))
    assert again.answer(QUESTIONS, SAMPLED, "x") == expected
    assert len(vllm.LLM.made[-1].asked) == 8 + 4 - answers


def test_no_engine_is_made_where_every_answer_is_finished(vllm, folder, tmp_path):
    expected = policy_of(folder, Progress(kept=KeptAnswers(tmp_path / "kept", "key"))).answer(QUESTIONS, SAMPLED, "x")
    before = len(vllm.LLM.made)
    assert policy_of(folder, Progress(kept=KeptAnswers(tmp_path / "kept", "key"))).answer(QUESTIONS, SAMPLED, "x") == expected
    assert len(vllm.LLM.made) == before


def test_a_prompt_that_leaves_no_room_is_refused_before_an_engine_is_made(vllm, folder):
    before = len(vllm.LLM.made)
    with pytest.raises(PrefbenchError, match="x/0: question 0 needs 203 positions"):
        policy_of(folder).answer(QUESTIONS[:1], [Sampling(max_new_tokens=200)], "x")
    assert len(vllm.LLM.made) == before


def test_where_vllm_is_not_installed_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(vllm_backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrefbenchError, match="vllm, which is not installed") as missing:
        refuse_missing()
    assert missing.value.hint == "pip install 'prefbench[vllm]'"
