"""prefbench's side in miniature: the order that it tells is the one that it trained in, and a cached reference is not run again."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.trl.ours import read_pairs, read_tokens, rules_of, run
from benchmarks.trl.rounds import alternate
from benchmarks.trl.sides import tokens_digest
from benchmarks.trl.step import PREFBENCH
from prefbench.schedulers.uniform import Uniform

SEEN: list[int] = []


@dataclass
class Watching(Uniform):
    """All pairs, noting which."""

    def select(self, pool, size, rng):
        SEEN.extend(pool.ids.tolist())
        return np.arange(size)


def test_the_order_told_is_the_order_trained_in(training, workload):
    SEEN.clear()
    found = run(training, {"scheduler": f"{__name__}:Watching"})
    assert found.order == SEEN
    assert sorted(found.order) == list(range(16))
    tokens = read_tokens(workload, rules_of(training)).take(found.order)
    assert found.tokens_digest == tokens_digest(tokens.prompt_ids, tokens.chosen_ids, tokens.rejected_ids)
    assert found.tokens_digest != tokens_digest(tokens.prompt_ids, tokens.rejected_ids, tokens.chosen_ids)


def test_the_losses_are_those_of_every_step(training):
    found = run(training, {})
    assert len(found.losses) == len(found.ends) == len(found.processor_ends) == 8
    assert found.losses[0] == pytest.approx(math.log(2))
    assert max(abs(loss - math.log(2)) for loss in found.losses) > 1e-4
    assert found.ends == sorted(found.ends)
    assert found.began < found.ends[0]
    assert found.peak_bytes > 2**20


def test_a_second_objective_or_seed_runs_no_reference_and_a_change_of_tokens_does(training, workload, tmp_path):
    """The first runs all of it: each prompt once at least, and each answer."""
    training = dataclasses.replace(training, scratch=str(tmp_path))
    tokens = sum(len(f"{pair.prompt}{pair.chosen}{pair.rejected}".split()) for pair in read_pairs(workload))
    assert run(training, {}).reference_tokens >= tokens
    for changed in ({"objective": "ipo"}, {"seed": 1}, {"learning_rate": 1e-4}):
        assert run(dataclasses.replace(training, **changed), {}).reference_tokens == 0
    cut = dataclasses.replace(training, max_length=100)
    assert 0 < run(cut, {}).reference_tokens < tokens


def test_a_process_of_its_own_gives_the_same_as_this_one(training):
    told: list[str] = []
    ((outcome,),) = alternate((PREFBENCH,), training, rounds=1, tell=told.append).values()
    here = run(training, {})
    assert outcome.trained.losses == pytest.approx(here.losses, rel=1e-5)  # another number of threads sums in another order
    assert outcome.trained.tokens_digest == here.tokens_digest
    assert outcome.started < outcome.trained.began < outcome.ended
    assert len(told) == 1
