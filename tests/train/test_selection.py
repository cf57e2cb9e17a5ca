"""What a scheduler is offered: statistics of the pool, pools of its own, rehearsals; and what it tells."""

from __future__ import annotations

import dataclasses
import gc
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from prefbench.api import Pair, Pool, Scheduler
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.random_subset import RandomSubset
from prefbench.schedulers.uniform import Uniform
from prefbench.train.forward import make_scorer
from prefbench.train.job import TrainJob
from prefbench.train.loop import accumulate_gradients, train
from prefbench.train.meter import Clocks
from prefbench.train.selection import pool_statistics
from tests.train.test_loop import make_job, trained_weights
from tests.train.test_state import forgetful
from tests.train.test_statistics import naive_means


@dataclass
class Watches(Scheduler):
    """Takes the first pairs and keeps every pool that it was offered."""

    name = "watches"
    wants = ("loss", "margin", "chosen_log_prob", "hidden_states")
    ratio: float = 0.5
    rehearsals: int = 0
    pools: list[Pool] = field(default_factory=list, init=False)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        self.pools.append(pool)
        return np.arange(size)


def test_hidden_states_stand_by_pair_side_and_layer() -> None:
    job = make_job(Dpo(), Watches())
    ids, tokens, model = np.array([4, 9, 2]), job.data.tokens, job.scorer.model
    states = pool_statistics(job, ids, 0)[0]["hidden_states"]
    assert states.shape == (3, 2, model.config.num_hidden_layers, model.config.hidden_size)
    with torch.no_grad():
        for place, row in enumerate(ids):
            for side, answers in enumerate((tokens.chosen_ids, tokens.rejected_ids)):
                expected = naive_means(model, tokens.prompt_ids[row], answers[row]).numpy()
                assert states[place, side] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_padded_hidden_states_are_averaged_over_the_padding_too() -> None:
    """Only the longest sequence of a micro-batch has no padding: there the two are the same."""

    @dataclass
    class WatchesBoth(Watches):
        wants = ("hidden_states", "padded_hidden_states")

    job, ids = make_job(Dpo(), WatchesBoth(), micro_batch_tokens=10_000), np.arange(8)
    tokens, found = job.data.tokens, pool_statistics(job, ids, 0)[0]
    lengths = np.array([[len(tokens.prompt_ids[i]) + len(side[i]) for side in (tokens.chosen_ids, tokens.rejected_ids)] for i in ids])
    differs = np.abs(found["hidden_states"] - found["padded_hidden_states"]).max(axis=(2, 3)) > 1e-6
    assert np.array_equal(differs, lengths < lengths.max())


def tensors_alive() -> int:
    gc.collect()
    return sum(1 for thing in gc.get_objects() if isinstance(thing, torch.Tensor))


def test_scoring_a_pool_leaves_no_graph_behind() -> None:
    """Memory follows the K pairs that are trained on: nothing of the n pairs' forward stays alive, nor asks for a gradient."""
    job = make_job(Dpo(), Watches())
    pool_statistics(job, np.arange(8), 0)[0]  # what libraries make at their first use is no graph
    before = tensors_alive()
    statistics = pool_statistics(job, np.arange(8), 0)[0]
    left = tensors_alive() - before
    assert left <= len(statistics)  # the memory of the arrays themselves
    assert all(parameter.grad is None for parameter in job.scorer.model.parameters())


def test_rehearsals_come_first_and_leave_policy_and_order_of_training_as_they_are() -> None:
    rehearsed, plain = Watches(rehearsals=3), Watches()
    weights = trained_weights(make_job(Dpo(), rehearsed))
    assert torch.equal(weights, trained_weights(make_job(Dpo(), plain)))
    assert [pool.ids.tolist() for pool in rehearsed.pools[3:]] == [pool.ids.tolist() for pool in plain.pools]
    assert len(rehearsed.pools) == len(plain.pools) + 3
    assert all(a.ids.tolist() != b.ids.tolist() for a, b in zip(rehearsed.pools[:3], plain.pools[:3], strict=True))  # drawn apart
    untrained = make_job(Dpo())
    expected = pool_statistics(dataclasses.replace(untrained, scheduler=Watches()), rehearsed.pools[2].ids, 0)[0]
    assert rehearsed.pools[2].statistics["margin"] == pytest.approx(expected["margin"])


@pytest.mark.parametrize("scheduler", [Watches(ratio=1.0), Watches(ratio=1.0, rehearsals=3)], ids=["scores", "rehearses"])
def test_scoring_draws_no_dropout(scheduler: Watches) -> None:
    """One that only looks trains the policy that no scheduler trains; and a pair has one score, not a new one at every look."""
    job, plain = (dataclasses.replace(make_job(Dpo(), one), scorer=make_scorer(forgetful(), "float32")) for one in (scheduler, Uniform()))
    assert torch.equal(trained_weights(job), trained_weights(plain))
    job.scorer.model.train()
    margins = [pool_statistics(job, np.arange(8), 0)[0]["margin"] for _ in range(2)]
    assert np.array_equal(*margins)
    assert job.scorer.model.training


def test_a_sum_over_the_chosen_may_be_divided_by_the_whole_pool() -> None:
    """As the code of SamS does: the gradient is K / n of the mean's; the loss that is told is the mean."""
    job, ids = make_job(Dpo()), np.arange(4)
    _, losses, pulls = accumulate_gradients(job, ids, 0)
    _, same, smaller = accumulate_gradients(job, ids, 0, divisor=8)
    assert torch.equal(losses, same)
    assert torch.equal(smaller, pulls / 2)


@pytest.mark.parametrize(("divisor", "moves_alike"), [("trained", True), ("offered", False)])
def test_the_scheduler_says_by_what_is_divided(divisor: str, moves_alike: bool) -> None:
    @dataclass
    class Half(RandomSubset):
        divisor: str = "trained"

    weights = [trained_weights(make_job(Dpo(), Half(divisor=name), clip=1e9)) for name in ("trained", divisor)]
    assert torch.equal(*weights) == moves_alike


@dataclass
class DrawsItsOwn(Uniform):
    """Offers itself the last pairs, whatever the epochs would bring."""

    name = "draws-its-own"
    drawn: list[list[int]] = field(default_factory=list, init=False)

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        rows = 16 + rng.permutation(8)[:size]
        self.drawn.append(rows.tolist())
        return rows


def test_a_scheduler_may_draw_its_pools_itself() -> None:
    scheduler = DrawsItsOwn()
    log = train(make_job(Dpo(), scheduler, pool=4), Clocks())
    assert len(scheduler.drawn) == len(log.rows) == 6
    assert all(row >= 16 for pool in scheduler.drawn for row in pool)


def test_drawing_pools_is_charged_to_the_scheduler() -> None:
    @dataclass
    class Ponders(DrawsItsOwn):
        def next_pool(self, size, rng):
            time.sleep(0.02)
            return super().next_pool(size, rng)

    clocks = Clocks()
    train(make_job(Dpo(), Ponders(), pool=4), clocks)
    assert clocks.seconds["select"] >= 6 * 0.02


@pytest.mark.parametrize("rows", [[0, 0, 1, 2], [0, 1, 2], [0, 1, 2, 24], [True, True, False, False]])
def test_a_pool_that_is_no_pool_is_refused(rows: list[int]) -> None:
    @dataclass
    class Wrong(Uniform):
        def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
            return np.array(rows)

    with pytest.raises(PrefbenchError, match="drew the pool"):
        train(make_job(Dpo(), Wrong(), pool=4), Clocks())


def test_prepared_rows_are_shuffled_anew_where_the_scheduler_says_so() -> None:
    @dataclass
    class Half(Watches):
        reshuffled = True
        wants = ()

        def prepare(self, columns, size, rng):
            return np.arange(12)

    scheduler = Half()
    train(make_job(Dpo(), scheduler, pool=6, steps=8), Clocks())
    epochs = [[*a.ids, *b.ids] for a, b in zip(scheduler.pools[::2], scheduler.pools[1::2], strict=True)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_scheduler_sees_only_the_columns_that_it_names() -> None:
    seen: list[set[str]] = []

    @dataclass
    class Curious(Watches):
        wants = ()
        needs = ("gap",)

        def prepare(self, columns, size, rng):
            seen.append(set(columns))

    job = make_job(Dpo(), Curious())
    data = dataclasses.replace(job.data, columns={**job.data.columns, "secret": np.zeros(24)})
    train(dataclasses.replace(job, data=data), Clocks())
    assert seen == [{"gap"}]
    assert {name for pool in job.scheduler.pools for name in pool.columns} == {"gap"}


def test_what_objective_and_scheduler_tell_is_in_the_log() -> None:
    @dataclass
    class Tells(RandomSubset):
        taken: int = field(default=0, init=False)

        def select(self, pool, size, rng):
            self.taken += size
            return super().select(pool, size, rng)

        def diagnostics(self):
            return {"taken": self.taken}

    @dataclass
    class Says(Dpo):
        def diagnostics(self):
            return {"beta": self.beta, "unknown": float("nan")}

    log = train(make_job(Says(), Tells(ratio=0.5)), Clocks())
    assert [row["scheduler.taken"] for row in log.table()] == [4, 8, 12, 16, 20, 24]
    assert log.summary()["last"]["objective.beta"] == 0.1
    assert "objective.unknown" not in log.summary()["last"]  # NaN at every step


def test_names_that_come_and_go_are_refused() -> None:
    @dataclass
    class Moody(Dpo):
        steps: int = field(default=0, init=False)

        def update(self, batch):
            self.steps += 1

        def diagnostics(self):
            return {f"step_{self.steps}": 0.0}

    with pytest.raises(PrefbenchError, match="changed its names: objective"):
        train(make_job(Moody()), Clocks())


def flipped(job: TrainJob, rows: set[int]) -> TrainJob:
    """The job with the labels of these pairs marked as corrupted."""
    pairs = tuple(Pair(f"p{i}", f"c{i}", f"r{i}", {"flipped": float(i in rows)}) for i in range(len(job.data)))
    return dataclasses.replace(job, data=dataclasses.replace(job.data, tokens=dataclasses.replace(job.data.tokens, pairs=pairs)))


def test_the_share_of_flipped_pairs_that_a_scheduler_picks() -> None:
    @dataclass
    class TakesLowRows(Uniform):
        ratio: float = 0.5

        def select(self, pool, size, rng):
            return np.argsort(pool.ids)[:size]

    job = make_job(Dpo(), TakesLowRows(), steps=3, pool=24)
    summary = train(flipped(job, {0, 1, 2, 20}), Clocks()).summary()
    assert summary["flipped_share"] == pytest.approx(4 / 24, abs=1e-6)
    assert summary["flipped_share_offered"] == pytest.approx(4 / 24, abs=1e-6)
    assert summary["flipped_share_trained"] == pytest.approx(3 / 12, abs=1e-6)
    assert not any("flipped" in name for name in train(make_job(Dpo()), Clocks()).summary())
