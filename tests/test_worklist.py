"""What the tasks of a run wait for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from prefbench.orders import Site
from prefbench.planned import Planned, RunOptions, plan_run
from prefbench.train.device import Share
from prefbench.worklist import worklist

TRACK = """
[track]
name = "mini"
version = 1
seeds = [0, 1]
[source]
name = "prefworld"
[train]
steps = 4
pool = 8
learning_rate = 1e-3
[[harness]]
name = "held_out"
[[grid]]
methods = ["dpo"]
schedulers = ["uniform", "loss-ranked"]
"""


def planned_in(folder: Path) -> Planned:
    """Two rows under two seeds."""
    track = folder / "mini.toml"
    track.write_text(TRACK)
    return plan_run(RunOptions(track=str(track), out=folder / "run"))


def test_where_seeds_have_the_same_pairs_the_first_one_computes_their_reference_column_with_all_cores(tmp_path):
    """The column is computed once, and not once by each of two workers at the same time."""
    planned = planned_in(tmp_path)

    def data_tasks(*varied: str) -> list[tuple[str, tuple[str, ...], int]]:
        site = Site(dataclasses.replace(planned.track, seed_varies=varied), (), planned.folder.root, tmp_path, "float32")
        found = worklist(planned.pending, planned.planner, site, Share(4, 1, alone=4))
        return [(task.id, task.behind, task.payload.threads) for task in found if task.id.startswith("data")]

    assert data_tasks("order") == [("data s0", (), 4), ("data s1", ("data s0",), 1)]
    assert data_tasks("order", "labels") == [("data s0", (), 1), ("data s1", (), 1)]  # each has pairs of its own


def test_under_conditions_the_samples_of_a_seed_are_drawn_once(tmp_path):
    """Two workers would otherwise wait for the same file while others have nothing to do."""
    track = tmp_path / "mini.toml"
    conditions = "[conditions.clean]\n[conditions.noisy]\nsource = { noise = 0.2 }\n"
    track.write_text(TRACK.replace("[[grid]]", conditions + '[[grid]]\nconditions = ["clean", "noisy"]'))
    planned = plan_run(RunOptions(track=str(track), out=tmp_path / "run"))
    site = Site(planned.track, (), planned.folder.root, tmp_path, "float32")
    tasks = {task.id: task for task in worklist(planned.pending, planned.planner, site, Share(1, 1, 1))}
    waits = {name: task.behind for name, task in tasks.items() if name.startswith("data")}
    assert waits["data clean s0"] == ()
    assert waits["data noisy s0"] == ("data clean s0",)
    assert "data noisy s1" in tasks["dpo.loss-ranked.noisy.s1"].after
    assert set(waits).issuperset(name for behind in waits.values() for name in behind)  # or nothing would ever begin


def test_a_trial_that_fails_costs_no_cell(tmp_path):
    planned = planned_in(tmp_path)
    site = Site(planned.track, (), planned.folder.root, tmp_path, "float32")
    cells = {task.id: task for task in worklist(planned.pending, planned.planner, site, Share(1, 1, 1)) if task.payload.kind == "cell"}
    ranked = cells["dpo.loss-ranked.s0"]
    assert ranked.behind == ("compilation", "selection dpo.loss-ranked")
    assert not set(ranked.behind) & set(ranked.after)
