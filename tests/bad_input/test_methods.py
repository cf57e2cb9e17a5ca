"""Objectives and schedulers that give other things than were asked for: their cells fail with the reason, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefbench.store.folder import Folder
from tests.bad_input.place import Bad, Spoil, Told, each
from tests.bad_input.plugin_files import define, plugin, with_options

# ---------------------------------------------------------------- what an objective gives


def loss(result: str, *more: str) -> Spoil:
    """An objective that makes this of good losses."""
    return plugin(define("Objective", "mine", *more, "def per_pair(self, batch):", "    losses = -batch.margin", f"    {result}"))


OBJECTIVES = [
    Bad(
        "loss-scalar",
        "objective 'mine' returned () where one loss per pair, shape (4,), is due",
        "return the losses unreduced",
        loss("return losses.mean()"),
    ),
    Bad("loss-too-short", "objective 'mine' returned (3,) where one loss per pair", "", loss("return losses[1:]")),
    Bad("loss-column", "objective 'mine' returned (4, 1) where one loss per pair", "", loss("return losses[:, None]")),
    Bad("loss-number", "objective 'mine' returned float where one loss per pair", "", loss("return 0.5")),
    Bad("loss-none", "objective 'mine' returned NoneType where one loss per pair", "", loss("losses")),
    Bad("loss-numpy", "objective 'mine' returned ndarray where one loss per pair", "", loss("return losses.detach().numpy()")),
    Bad(
        "loss-integers",
        "objective 'mine' returned losses of type torch.int64, where floating-point numbers are due",
        "",
        loss("return losses.long()"),
    ),
    Bad("loss-detached", "objective 'mine' returned losses without a gradient", "detach", loss("return losses.detach()")),
    Bad("loss-raises", "KeyError: 'gap'", "", loss('return losses * batch.columns["gap"]')),
    Bad(
        "state-raises", "ValueError: no state", "", loss("return losses", "def update(self, batch):", "    raise ValueError('no state')\n")
    ),
]
DIVERGED = [
    Bad("loss-nan", "Diverged: the loss was nan at step 0", "", loss("return losses * float('nan')")),
    Bad("loss-infinite", "Diverged: the loss was inf at step 0", "", loss("return losses * 0 + float('inf')")),
    Bad("loss-grows", "Diverged: the loss was 1e+06 at step 1", "", loss("return losses * 0 + (1e6 if batch.progress else 1.0)")),
]


# ---------------------------------------------------------------- what a scheduler gives


def selection(returned: str, prepared: str = "None") -> Spoil:
    """A scheduler of half the pool."""
    prepare = f"def prepare(self, columns, size, rng): return {prepared}"
    return plugin(define("Scheduler", "picks", "ratio: float = 0.5", prepare, f"def select(self, pool, size, rng): return {returned}"))


PICKS = "where 2 distinct positions in [0, 4) are due"
ORDER = "scheduler 'picks' prepared"
SCHEDULERS = [
    Bad("positions-twice", f"scheduler 'picks' selected [1, 1] {PICKS}", "array of `size` positions", selection("np.array([1, 1])")),
    Bad("positions-out-of-range", f"scheduler 'picks' selected [3, 4] {PICKS}", "", selection("np.array([3, 4])")),
    Bad("positions-negative", f"scheduler 'picks' selected [-1, 0] {PICKS}", "", selection("np.array([-1, 0])")),
    Bad("positions-too-many", f"scheduler 'picks' selected [0, 1, 2] {PICKS}", "", selection("np.arange(3)")),
    Bad("positions-fractions", f"scheduler 'picks' selected [0.4, 1.7] {PICKS}", "", selection("np.array([0.4, 1.7])")),
    Bad("positions-mask", f"scheduler 'picks' selected [True, False] {PICKS}", "", selection("np.array([True, False])")),
    Bad("positions-none", f"scheduler 'picks' selected None {PICKS}", "", selection("None")),
    Bad("positions-pool-ids", f"scheduler 'picks' selected [100, 101] {PICKS}", "", selection("[100, 101]")),
    Bad("order-empty", f"{ORDER} 0 row numbers", "distinct row numbers", selection("np.arange(size)", "np.array([], dtype=int)")),
    Bad("order-too-short", f"{ORDER} 3 row numbers", "distinct row numbers", selection("np.arange(size)", "np.arange(3)")),
    Bad("order-twice", f"{ORDER} 45 row numbers", "distinct row numbers", selection("np.arange(size)", "np.zeros(size, dtype=int)")),
    Bad("order-out-of-range", f"{ORDER} 46 row numbers", "distinct row numbers", selection("np.arange(size)", "np.arange(size + 1)")),
    Bad(
        "order-fractions",
        f"{ORDER} 45 row numbers of type float64",
        "distinct row numbers",
        selection("np.arange(size)", "np.linspace(0, 1, size)"),
    ),
]


# ---------------------------------------------------------------- what is said, and what goes on


@each(OBJECTIVES)
def test_an_objective_that_breaks_its_contract_costs_its_own_cells(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--only mine --only dpo --seeds 0,1 --plugin mine.py"))
    records = Folder(place / "run").records()
    assert told.code == 1
    assert any(line.startswith("failed: mine.uniform.s0") and bad.error in line for line in told.stderr.splitlines())
    assert records["mine.uniform.s0"]["status"] == "failed"
    assert bad.error.split(": ")[-1] in records["mine.uniform.s0"]["error"]["message"]
    assert records["dpo.uniform.s0"]["status"] == records["dpo.uniform.s1"]["status"] == "done"


@each(DIVERGED)
def test_a_loss_that_is_no_number_is_a_row_of_its_own_kind_and_no_failure(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--only mine --plugin mine.py"))
    assert told.code == 0
    assert Folder(place / "run").read_record("mine.uniform.s0")["status"] == "diverged"
    assert "mine,uniform" in (place / "run" / "board.csv").read_text()


@each(SCHEDULERS)
def test_a_scheduler_that_breaks_its_contract_costs_its_own_cells(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--scheduler picks --scheduler uniform --plugin mine.py"))
    records = Folder(place / "run").records()
    assert told.code == 1
    assert f"failed: dpo.picks.s0: PrefbenchError: {bad.error}" in told.stderr
    assert (records["dpo.picks.s0"]["status"], records["dpo.uniform.s0"]["status"]) == ("failed", "done")
