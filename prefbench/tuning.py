"""Runs the trials of rows that are to be tuned, round by round, all rows side by side, and writes down what came of them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable

from prefbench.crew import Crew
from prefbench.plan import FINISHED
from prefbench.planned import Planned, due_trials
from prefbench.store.heal import heal
from prefbench.tune.trials import studied_row


def tune(planned: Planned, crew: Crew, on_plan: Callable[[Planned], None], prepared: Callable[[], None]) -> None:
    """Run the trials of the rows ``to_tune``, and write the studies of those whose trials have all ended: planned again, they have settings."""
    trials = planned.trials
    assert trials is not None
    heal(trials.workplace)
    due = due_trials(planned)
    while due.pending and not crew.request():
        on_plan(due)
        crew.run(due, prepared)
        remove_work(due)
        due = dataclasses.replace(due_trials(planned), retry_failed=False)  # once: what fails again is a failed trial
    for row in trials.planner.track.rows:
        trials.conclude(row)


def remove_work(due: Planned) -> None:
    """Of a trial that came to an end only its record and its items are needed."""
    for cell, state in due.looked_at_again().states.items():
        if state.status in FINISHED:
            shutil.rmtree(due.folder.cell(cell), ignore_errors=True)


def untuned(planned: Planned) -> dict[str, str]:
    """The rows that got no settings although their trials ended, each with the reason."""
    return {studied_row(planned.track, row).name: "no trial came to an end: see logs/ under trials/" for row in planned.track.to_tune}
