"""The loop: gradients against a naive implementation, what reaches objective and scheduler, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from prefbench.api import Objective, Pool, Scheduler
from prefbench.config import TrainRules
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.random_subset import RandomSubset
from prefbench.schedulers.uniform import Uniform
from prefbench.streams import stream
from prefbench.train.forward import make_scorer
from prefbench.train.job import PairData, TrainJob, pair_batch
from prefbench.train.loop import DivergedError, accumulate_gradients, learning_rate_factor, train
from prefbench.train.meter import Clocks
from prefbench.train.pools import Epochs
from tests.models import random_tokens, tiny_llama
from tests.train.test_forward import naive_sum


@dataclass
class SortedMargins(Objective):
    """Couples the pairs of a batch: each margin counts by its rank."""

    name = "sorted-margins"
    batch_coupled = True

    def per_pair(self, batch):
        return -torch.nn.functional.logsigmoid(batch.margin) * (1 + batch.margin.argsort().argsort().double()) - batch.margin.mean() / 10


def make_job(objective: Objective, scheduler: Scheduler | None = None, count: int = 24, **changes: object) -> TrainJob:
    tokens, rng = random_tokens(count), np.random.default_rng(1)
    data = PairData(tokens, rng.normal(-30, 3, count), rng.normal(-20, 3, count), {"gap": np.arange(count, dtype=float)})
    rules = TrainRules(**{"steps": 6, "pool": 8, "warmup": 2, "micro_batch_tokens": 64, "learning_rate": 1e-2, **changes})
    scorer = make_scorer(tiny_llama(), "float32")
    return TrainJob(scorer, data, objective, scheduler or Uniform(), rules, rules.learning_rate, seed=0)


def gradients(job: TrainJob, ids: np.ndarray) -> tuple[float, list[torch.Tensor]]:
    _, losses, _ = accumulate_gradients(job, ids, 0)
    return float(losses.mean()), [p.grad for p in job.scorer.model.parameters()]


def naive_gradients(job: TrainJob, ids: np.ndarray) -> tuple[float, list[torch.Tensor]]:
    """The same in double precision, one sequence at a time, one graph, every logit kept."""
    model, tokens = tiny_llama().double(), job.data.tokens
    chosen = [naive_sum(model, tokens.prompt_ids[i], tokens.chosen_ids[i]) for i in ids]
    rejected = [naive_sum(model, tokens.prompt_ids[i], tokens.rejected_ids[i]) for i in ids]
    loss = job.objective.per_pair(pair_batch(job, ids, torch.stack(chosen + rejected)[:, None], 0)).mean()
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters()]


def relative_difference(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    a, b = (torch.cat([g.flatten().double() for g in gradient]) for gradient in (left, right))
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("objective", [Dpo(beta=0.1), SortedMargins()], ids=["dpo", "batch-coupled"])
@pytest.mark.parametrize("micro_batch_tokens", [1, 64, 10_000])
def test_loss_and_gradient_equal_the_naive_ones_for_any_micro_batch_size(objective, micro_batch_tokens):
    ids = np.array([3, 17, 5, 0, 11, 20, 8])
    loss, gradient = gradients(make_job(objective, micro_batch_tokens=micro_batch_tokens), ids)
    expected_loss, expected = naive_gradients(make_job(objective), ids)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_difference(gradient, expected) < 1e-5


def test_the_order_of_the_pairs_changes_no_gradient():
    ids = np.arange(10)
    _, forwards = gradients(make_job(SortedMargins()), ids)
    _, backwards = gradients(make_job(SortedMargins()), ids[::-1].copy())
    assert relative_difference(forwards, backwards) < 1e-5


def trained_weights(job: TrainJob) -> torch.Tensor:
    train(job, Clocks())
    return torch.cat([p.detach().flatten() for p in job.scorer.model.parameters()])


def test_the_same_seed_gives_the_same_weights_to_the_bit():
    assert torch.equal(trained_weights(make_job(Dpo())), trained_weights(make_job(Dpo())))


def test_the_fused_optimiser_makes_the_plain_ones_steps(monkeypatch):
    fused, adamw, used = trained_weights(make_job(Dpo())), torch.optim.AdamW, []

    def plain(*weights, fused, **settings):
        used.append(fused)
        return adamw(*weights, foreach=False, fused=False, **settings)

    monkeypatch.setattr(torch.optim, "AdamW", plain)
    unfused = trained_weights(make_job(Dpo()))
    assert used == [True]
    start = torch.cat([p.detach().flatten() for p in make_job(Dpo()).scorer.model.parameters()])
    assert (fused - unfused).norm() < 1e-4 * (unfused - start).norm()


def test_training_lowers_the_loss_and_moves_the_margin():
    log = train(make_job(Dpo(beta=0.5), steps=30), Clocks())
    assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    assert log.rows[-1]["margin"] > log.rows[0]["margin"]


def first_pools(job: TrainJob, count: int) -> list[list[int]]:
    pools = Epochs(job).pools(stream(job.seed, "data"))
    return [next(pools).tolist() for _ in range(count)]


def test_two_objectives_with_one_seed_see_the_same_pairs_in_the_same_order():
    pools = [first_pools(make_job(objective), 9) for objective in (Dpo(), SortedMargins())]
    assert pools[0] == pools[1]
    assert sorted(i for pool in pools[0][:3] for i in pool) == list(range(24))  # an epoch holds every pair once


def test_a_scheduler_that_prepares_sets_the_order():
    @dataclass
    class Backwards(Uniform):
        name = "backwards"

        def prepare(self, columns, size, rng):
            return np.arange(size)[::-1]

    assert first_pools(make_job(Dpo(), Backwards()), 1) == [[23, 22, 21, 20, 19, 18, 17, 16]]


def test_loss_ranked_trains_on_the_highest_losses_of_the_pool():
    seen: list[Pool] = []

    @dataclass
    class Spy(LossRanked):
        def select(self, pool, size, rng):
            seen.append(pool)
            chosen = super().select(pool, size, rng)
            assert set(pool.statistics["loss"][chosen]) == set(sorted(pool.statistics["loss"])[-size:])
            return chosen

    log = train(make_job(Dpo(), Spy(ratio=0.5)), Clocks())
    assert len(seen) == 6
    assert (log.pairs_forward, log.pairs_backward) == (6 * (8 + 4), 6 * 4)


def test_a_scheduler_hears_of_its_last_choice_one_step_later():
    heard = []

    @dataclass
    class Listener(RandomSubset):
        def observe(self, previous, chosen, current):
            heard.append((previous.progress, len(chosen), current.progress))

    train(make_job(Dpo(), Listener(ratio=0.25)), Clocks())
    assert heard == [(i / 5, 2, (i + 1) / 5) for i in range(5)]


def test_selection_draws_from_a_stream_of_its_own():
    picked: list[list[int]] = []

    @dataclass
    class Spy(RandomSubset):
        def select(self, pool, size, rng):
            chosen = super().select(pool, size, rng)
            picked.append(chosen.tolist())
            return chosen

    train(make_job(Dpo(), Spy(ratio=0.5)), Clocks())
    rng = stream(0, "select", "random-subset")
    expected = [RandomSubset(ratio=0.5).select(Pool(np.arange(8), {}, {}, 0.0), 4, rng).tolist() for _ in range(6)]
    assert picked == expected


def test_a_loss_that_is_no_number_ends_the_run_with_its_step():
    @dataclass
    class Breaks(Dpo):
        def per_pair(self, batch):
            return super().per_pair(batch) * (float("nan") if batch.progress > 0.5 else 1.0)

    with pytest.raises(DivergedError) as caught:
        train(make_job(Breaks()), Clocks())
    assert caught.value.step == 3


def test_a_loss_beyond_the_tracks_bound_ends_the_run():
    with pytest.raises(DivergedError):
        train(make_job(Dpo(), loss_bound=1e-3), Clocks())


def test_a_loss_that_starts_high_has_as_much_more_room():
    """SPPO's starts at 1 / (2 beta^2), half a million at its paper's beta; the room is for its growth, and one that grows is still found."""

    @dataclass
    class Grows(Dpo):
        factor: float = 1.0

        def per_pair(self, batch):
            return super().per_pair(batch) * 1e6 * (self.factor if batch.progress > 0.5 else 1.0)

    assert len(train(make_job(Grows(), learning_rate=1e-5), Clocks()).rows) == 6
    with pytest.raises(DivergedError):
        train(make_job(Grows(factor=1e5), learning_rate=1e-5), Clocks())


@pytest.mark.parametrize("positions", [[0, 0, 1, 2], [0, 1, 2], [0, 1, 2, 8], [-1, 0, 1, 2]])
def test_a_scheduler_that_gives_wrong_positions_is_told_so(positions):
    @dataclass
    class Wrong(RandomSubset):
        def select(self, pool, size, rng):
            return np.array(positions)

    with pytest.raises(PrefbenchError, match="distinct positions"):
        train(make_job(Dpo(), Wrong(ratio=0.5)), Clocks())


@pytest.mark.parametrize("reduce", [torch.mean, lambda losses: losses[:-1], lambda losses: losses[:, None], lambda losses: 0.5])
def test_an_objective_that_gives_no_loss_per_pair_is_told_so(reduce):
    @dataclass
    class Wrong(Dpo):
        def per_pair(self, batch):
            return reduce(super().per_pair(batch))

    with pytest.raises(PrefbenchError, match="one loss per pair"):
        train(make_job(Wrong()), Clocks())


def test_warm_up_and_cosine():
    rules = TrainRules(steps=100, warmup=10)
    assert [learning_rate_factor(step, rules) for step in (0, 9, 10, 55)] == pytest.approx([0.1, 1.0, 1.0, 0.5])
    assert learning_rate_factor(99, rules) < 0.001


def test_hinge_pairs_beyond_their_margin_count_as_inactive():
    @dataclass
    class HalfOff(Dpo):
        def per_pair(self, batch):
            losses = super().per_pair(batch)
            return torch.where(torch.arange(len(losses)) % 2 == 0, losses, losses.detach() * 0)

    log = train(make_job(HalfOff()), Clocks())
    assert log.rows[0]["active"] == 0.5
