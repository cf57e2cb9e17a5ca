"""The campaign of kills in short: one while the base model is trained; tests/test_survival.py kills a cell's training."""

from __future__ import annotations

import random

import pytest

from benchmarks.kill_campaign import STAGES, campaign, draw, stage_of


def test_killed_runs_end_with_the_results_of_an_undisturbed_one(tmp_path):
    found = list(campaign(tmp_path, kills=1, stages=("base",)))
    assert [(attempt.moment.stage, attempt.killed, attempt.identical) for attempt in found] == [("base", True, True)]


def test_moments_lie_within_the_stage_that_they_are_drawn_for():
    begun = [(1.0, "base"), (3.0, "sft"), (4.0, "train"), (6.0, "record"), (7.0, "train"), (7.5, "record")]
    lengths = {"base": {2.0}, "train": {2.0, 0.5}}
    for stage, possible in lengths.items():
        moments = [draw(begun, stage, random.Random(seed)) for seed in range(50)]
        assert {moment.occurrence for moment in moments} == set(range(len(possible)))
        assert all(0 <= moment.delay <= max(possible) for moment in moments)


@pytest.mark.parametrize(
    ("event", "stage"),
    [
        (("started", "prepare", None), "base"),
        (("progress", "prepare", {"message": "sft: step 25 of 40"}), "sft"),
        (("started", "data s0", None), "data"),
        (("started", "calibrate mt_bench", None), "calibrate"),
        (("progress", "dpo.uniform.s0", {"stage": "judge"}), "judge"),
        (("progress", "dpo.uniform.s0", {"step": 3}), ""),
        (("done", "dpo.uniform.s0", None), "record"),
        (("done", "data s0", None), ""),
    ],
)
def test_what_begins_with_an_event(event, stage):
    assert stage_of(*event) == stage
    assert stage in ("", *STAGES)
