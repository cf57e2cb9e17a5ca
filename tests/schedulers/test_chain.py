"""Chains: what each link sees, what is trained on, and what cannot be a chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from prefbench.api import Pool, Scheduler
from prefbench.errors import PrefbenchError
from prefbench.schedulers.chain import Chain
from prefbench.schedulers.curriculum import Curriculum
from prefbench.schedulers.loss_ranked import LossRanked
from prefbench.schedulers.margin_filter import MarginFilter
from prefbench.schedulers.online_batch import OnlineBatch
from prefbench.schedulers.random_subset import RandomSubset
from prefbench.schedulers.rho_loss import RhoLoss
from prefbench.schedulers.selective import Selective
from prefbench.schedulers.uniform import Uniform
from prefbench.train.tree import flatten, unflatten

DIFFICULTY = np.array([0.9, 0.1, 0.5, 0.3, 2.0, 0.7, 0.2, 1.1])
MARGIN = np.array([1.0, -3.0, 2.0, 0.5, 4.0, -1.0, 3.0, 0.0])
COLUMNS = {"difficulty": DIFFICULTY, "reference-margin": MARGIN}


def prepare(*links: Scheduler, seed: int = 0) -> tuple[Chain, list[int] | None]:
    chain = Chain(links)
    rows = chain.prepare(COLUMNS, 8, np.random.default_rng(seed))
    return chain, None if rows is None else rows.tolist()


def pool(ids: list[int], progress: float = 0.0) -> Pool:
    rows = np.array(ids)
    return Pool(rows, {name: values[rows] for name, values in COLUMNS.items()}, {"loss": np.sin(rows.astype(float))}, progress)


@dataclass
class Witness(Scheduler):
    """Keeps what it was shown; drops the first row that it is offered."""

    name = "witness"
    needs = ("reference-margin",)
    ratio: float = 0.25
    seen: list[object] = field(init=False, default_factory=list)

    def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
        self.seen.append({name: values.tolist() for name, values in columns.items()})
        return np.arange(1, size)

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        self.seen.append((pool.ids.tolist(), {name: values.tolist() for name, values in pool.columns.items()}))
        return np.arange(size)

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        self.seen.append((previous.ids.tolist(), chosen.tolist(), current.ids.tolist()))


def test_the_second_link_decides_about_what_the_first_one_kept() -> None:
    """The four largest margins are rows 4, 6, 2 and 0; the easier two of these are 6 (.2) and 2 (.5). The other way round, the four easiest are
    1, 6, 3 and 2, and the larger margins of these belong to 6 and 2 too, but in the order of a filter."""
    assert prepare(MarginFilter(), Selective())[1] == [6, 2]
    assert prepare(Selective(share=0.75), MarginFilter())[1] == [6, 2, 0]
    assert prepare(Selective(), Curriculum())[1] == [6, 2, 3, 1]


def test_the_picker_sees_the_kept_rows_numbered_from_0_and_its_own_columns_only() -> None:
    """Selective keeps 1, 6, 3, 2 in this order; the witness drops the first of them, and still numbers the rest as it was offered them."""
    witness = Witness()
    chain, rows = prepare(Selective(), witness)
    assert rows == [6, 3, 2]
    chosen = chain.select(pool([2, 6]), 1, np.random.default_rng(0))
    chain.observe(pool([2, 6]), chosen, pool([3, 6]))
    assert witness.seen == [
        {"reference-margin": [-3.0, 3.0, 0.5, 2.0]},
        ([3, 1], {"reference-margin": [2.0, 3.0]}),
        ([3, 1], [0], [2, 1]),
    ]


def test_a_scheduler_that_draws_its_own_pools_draws_kept_rows_only() -> None:
    chain, rows = prepare(Selective(), OnlineBatch())
    assert rows == [1, 6, 3, 2]
    drawn: set[int] = set()
    for step in range(30):
        rng = np.random.default_rng(step)
        ids = chain.next_pool(2, rng)
        assert ids is not None
        chain.select(pool(ids.tolist()), 1, rng)
        drawn |= set(ids.tolist())
    assert drawn == {1, 6, 3, 2}


def test_its_losses_are_kept_under_the_right_rows() -> None:
    """Under a steep pressure the draws follow the losses: of rows 1, 6, 3 and 2, sin says 2, 1, 3, 6."""
    chain, _ = prepare(Selective(), OnlineBatch(pressure=1e300, ratio=1.0))
    chain.select(pool([6, 1, 2, 3]), 4, np.random.default_rng(0))
    ids = chain.next_pool(4, np.random.default_rng(0))
    assert ids is not None
    assert ids.tolist() == [2, 1, 3, 6]


def test_a_chain_speaks_for_its_links() -> None:
    chain = Chain((MarginFilter(), Selective(), RhoLoss(ratio=0.25)))
    assert chain.name == "margin-filter+selective+rho-loss"
    assert (chain.ratio, chain.wants, chain.needs) == (0.25, ("loss",), ("reference-margin", "difficulty"))
    assert Chain((Selective(), Uniform())).wants == ()


def test_a_chain_picks_divides_and_rehearses_as_its_last_link_does() -> None:
    @dataclass
    class Summed(RandomSubset):
        divisor: str = "offered"
        rehearsals: int = 3

    chain = Chain((Selective(), Summed(ratio=0.75)))
    assert (chain.ratio, chain.divisor, chain.rehearsals) == (0.75, "offered", 3)


@pytest.mark.parametrize(
    ("links", "reshuffled"),
    [
        ((Selective(), RandomSubset()), False),
        ((Selective(order="shuffled"), RandomSubset()), True),
        ((MarginFilter(), Curriculum()), False),
        ((Curriculum(), MarginFilter()), True),
    ],
    ids=lambda value: value if isinstance(value, bool) else "+".join(link.name for link in value),
)
def test_rows_are_shuffled_where_the_last_link_that_gave_them_says_so(links: tuple[Scheduler, ...], reshuffled: bool) -> None:
    assert prepare(*links)[0].reshuffled is reshuffled


def test_no_link_moves_the_draws_of_another() -> None:
    """The ranking of unseen pairs is drawn in the second link's prepare; the first one's random places must not change it."""
    orders = [prepare(Curriculum(epsilon=epsilon), OnlineBatch())[0].picker.state_dict()["tie_break"] for epsilon in (0.0, 0.5)]
    assert np.array_equal(*orders)
    again = prepare(Curriculum(epsilon=0.5), OnlineBatch(), seed=1)[0].picker.state_dict()["tie_break"]
    assert not np.array_equal(orders[0], again)


def test_the_same_generator_prepares_the_same_rows() -> None:
    assert prepare(Curriculum(epsilon=0.8), Uniform(), seed=3)[1] == prepare(Curriculum(epsilon=0.8), Uniform(), seed=3)[1]


@pytest.mark.parametrize("first", [Uniform(), RandomSubset(), LossRanked(), OnlineBatch(), Witness()], ids=lambda link: link.name)
def test_a_link_that_prepares_nothing_or_picks_at_each_step_can_only_be_the_last(first: Scheduler) -> None:
    with pytest.raises(PrefbenchError, match=f"{first.name!r}.*last of a chain") as caught:
        Chain((first, Uniform()))
    assert "first + second" in caught.value.hint


@pytest.mark.parametrize("rows", [np.array([True] * 4), np.array([0, -1]), np.array([0, 4])], ids=["mask", "negative", "beyond"])
def test_rows_that_a_link_was_not_offered_are_refused(rows: np.ndarray) -> None:
    """A mask would be read as rows, and -1 as the last row: other pairs would be trained on, and nobody could tell."""

    @dataclass
    class Wrong(Uniform):
        name = "wrong"

        def prepare(self, columns: Mapping[str, np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
            return rows

    with pytest.raises(PrefbenchError, match="'wrong' gave row numbers"):
        prepare(Selective(), Wrong())


def steps(chain: Chain, numbers: range) -> list[list[int]]:
    pools = []
    for step in numbers:
        ids = chain.next_pool(3, np.random.default_rng(step))
        assert ids is not None
        chain.select(pool(ids.tolist(), step / 9), 2, np.random.default_rng(step))
        pools.append(ids.tolist())
    return pools


def own_pools_of_what_is_easy() -> Chain:
    return prepare(Selective(share=0.75), OnlineBatch())[0]


def test_a_chain_that_was_killed_goes_on_with_the_states_of_its_links() -> None:
    expected = steps(own_pools_of_what_is_easy(), range(8))
    first, second = own_pools_of_what_is_easy(), own_pools_of_what_is_easy()
    before = steps(first, range(3))
    second.load_state_dict(unflatten(*flatten(first.state_dict())))
    assert before + steps(second, range(3, 8)) == expected
    assert steps(own_pools_of_what_is_easy(), range(3, 8)) != expected[3:]
