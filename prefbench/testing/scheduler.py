"""The contract of schedulers: what the core relies on when somebody else's rule chooses the pairs."""

from __future__ import annotations

import numpy as np

from prefbench.api import POOL_STATISTICS, Scheduler
from prefbench.testing.contract import Contract, require, require_diagnostics
from prefbench.testing.offered import Offered
from prefbench.testing.snapshots import snapshot, state_bytes, through_a_checkpoint
from prefbench.testing.training import PAIRS, Policy, Training, contents
from prefbench.train.tree import flatten, unflatten

SIZES = (1, 2, 7, 32)
"""Pools that a scheduler is offered."""
POOL = 16
FEW = 24
"""Pairs of the run that is stopped after three steps, which have then seen all of them: what is remembered of them matters afterwards."""
EARLY, LATE = 30, 90
"""Steps after which the size of a state is compared."""


class SchedulerContract(Contract[Scheduler]):
    """Every check of a scheduler. ``variants`` are the options that it is checked with, one set at a time."""

    def exercise(self, component: Scheduler) -> None:
        """A few steps of a run, rehearsals and all."""
        training = Training(component, POOL)
        training.rehearse()
        training.steps(3)

    # ---------------------------------------------------------------- choices

    def test_positions_are_distinct_and_in_range(self) -> None:
        """As many as are asked for, for pools of 1, 2, 7 and 32 pairs and for other ratios than its own."""
        for make in self.makers():
            for size in SIZES:
                training = Training(make(), size)
                for asked in (training.selected, 1, (training.size + 1) // 2, training.size):
                    training.choose(training.offer(training.next_ids()), asked)
                    training.now += 1

    def test_the_same_generator_gives_the_same_choice(self) -> None:
        """Two runs of the same seed select the same pairs."""
        for make in self.makers():
            one, other = Training(make(), POOL).steps(5), Training(make(), POOL).steps(5)
            remedy = "draw from the rng that select, prepare and next_pool are handed, and from nothing else"
            require(one == other, make(), "two runs of the same seed select other pairs", remedy)

    def test_the_inputs_stay_as_they_are(self) -> None:
        """Neither a pool nor the columns are changed: the core keeps both."""
        for make in self.makers():
            scheduler = make()
            columns = Offered(scheduler.needs, Policy().column)
            before = snapshot(columns)
            scheduler.prepare(columns, Policy().pairs, np.random.default_rng(0))
            remedy = "work on copies: np.sort(x), not x.sort()"
            require(snapshot(columns) == before, scheduler, "prepare changes the columns that it is handed", remedy)
            training = Training(make(), POOL)
            training.now = 5  # losses differ by then
            pools = [training.offer(training.next_ids()) for _ in range(3)]
            shown = [snapshot(contents(pool)) for pool in pools]
            for pool in pools:
                training.choose(pool, training.selected)
            require([snapshot(contents(pool)) for pool in pools] == shown, scheduler, "it changes the pools that it is handed", remedy)

    def test_only_what_is_declared_is_read(self) -> None:
        """``wants`` and ``needs`` name every statistic and column that it reads."""
        for make in self.makers():
            scheduler = make()
            for name in scheduler.wants:
                known = name in POOL_STATISTICS
                require(known, scheduler, f"it wants the statistic {name!r}, and there is none", f"there are {', '.join(POOL_STATISTICS)}")
            training = Training(scheduler, POOL, watch=True)
            training.rehearse()
            training.steps(3)

    def test_ratio_and_rehearsals_are_possible(self) -> None:
        """The ratio is above 0 and at most 1, rehearsals are a whole number."""
        for make in self.makers():
            scheduler = make()
            ratio, rehearsals = scheduler.ratio, scheduler.rehearsals
            require(0.0 < ratio <= 1.0, scheduler, f"its ratio is {ratio!r}", "the ratio is a share of the pool, above 0 and at most 1")
            whole = isinstance(rehearsals, int) and rehearsals >= 0
            require(whole, scheduler, f"its rehearsals are {rehearsals!r}", "rehearsals are a number of pools, 0 or more")

    # ---------------------------------------------------------------- rows and pools of its own

    def test_prepared_rows_are_distinct(self) -> None:
        """``prepare`` gives distinct row numbers, at least a pool of them, or None, and the same ones when a run goes on and it is asked again."""
        for make in self.makers():
            one, other = Training(make(), POOL), Training(make(), POOL)
            wrong = f"prepare gives {len(one.rows)} row numbers of {PAIRS} where at least a pool of {POOL} is due"
            require(len(one.rows) >= POOL, one.scheduler, wrong, "keep a larger share of the pairs")
            remedy = "draw from the rng that prepare is handed: a run that goes on asks a new scheduler for the same rows"
            require(one.rows.tolist() == other.rows.tolist(), one.scheduler, "prepare gives other rows for the same generator", remedy)

    def test_drawn_pools_are_distinct(self) -> None:
        """``next_pool`` gives as many distinct row numbers as a pool has, or None."""
        for make in self.makers():
            for size in SIZES:
                training = Training(make(), size)
                training.rehearse()
                training.steps(3)

    # ---------------------------------------------------------------- state

    def test_a_run_goes_on_where_it_stopped(self) -> None:
        """Three steps, a checkpoint, a new scheduler and three more steps select what six steps select; nothing else carries state along."""
        for make in self.makers():
            whole = Training(make(), FEW // 3, Policy(FEW))
            whole.rehearse()
            due = whole.steps(6)[3:]
            stopped = Training(make(), FEW // 3, Policy(FEW))
            stopped.rehearse()
            stopped.steps(3)
            run, state = unflatten(*flatten(stopped.state())), through_a_checkpoint(stopped.scheduler)
            self.exercise(make())  # another run in the same process must not be noticed
            resumed = Training(make(), FEW // 3, Policy(FEW))
            resumed.resume(run, state)
            remedy = "keep state in attributes of the scheduler; state_dict() and load_state_dict() then need not be written"
            wrong = "a run that goes on from a checkpoint selects other pairs than one that never stopped"
            require(resumed.steps(3) == due, whole.scheduler, wrong, remedy)

    def test_the_memory_is_bounded(self) -> None:
        """What a checkpoint holds of it after 90 pools is no more than after 30, within a quarter: by then it has seen every pair often."""
        for make in self.makers():
            training = Training(make(), POOL)
            training.rehearse()
            training.steps(EARLY)
            early = state_bytes(training.scheduler)
            training.steps(LATE - EARLY)
            late = state_bytes(training.scheduler)
            wrong = f"its state grows without bound: {early} bytes after {EARLY} pools, {late} after {LATE}"
            require(late <= 1.25 * early + 256, training.scheduler, wrong, "replace old entries when a limit of bytes is reached")

    def test_diagnostics_keep_their_names(self) -> None:
        """The same names at every step, and numbers."""
        for make in self.makers():
            scheduler = make()
            training = Training(scheduler, POOL)
            training.rehearse()
            told = [dict(scheduler.diagnostics()) for _ in range(5) if len(training.step())]
            require_diagnostics(scheduler, told)
