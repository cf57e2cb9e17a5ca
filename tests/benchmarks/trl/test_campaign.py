"""The campaign as a track: what a run of it trains, and in which order."""

from __future__ import annotations

import pytest

from benchmarks.trl import campaign
from benchmarks.trl.ours import drawn_order, read_pairs
from benchmarks.trl.whole_run import TrainedCell, run_order
from benchmarks.trl.workload import SIZES
from prefbench.cell import training_job
from prefbench.config import Track, read_track
from prefbench.registry import load_registry
from prefbench.workshop import Site, Workshop

LOSSES = [0.6931, 0.70, 0.71, 0.66, 0.69, 0.72, 0.65, 0.60]


@pytest.fixture
def track(training, workload) -> Track:
    return read_track(campaign.write_track(workload, training, SIZES["xs"].vocabulary), load_registry(()))


def test_the_track_has_every_objective_under_every_seed_with_the_training_of_the_other_side(track, training):
    assert {row.method for row in track.rows} == {"dpo", "ipo", "apo-zero"}
    assert {row.scheduler for row in track.rows} == {"uniform"}
    assert track.seeds == campaign.SEEDS
    rules = track.train
    assert (rules.steps, rules.pool, rules.learning_rate, rules.dtype) == (
        training.steps,
        training.batch,
        training.learning_rate,
        "float32",
    )
    assert (rules.warmup, rules.schedule, rules.clip, rules.weight_decay) == (0, "constant", 1.0, 0.0)


@pytest.mark.parametrize("seed", campaign.SEEDS)
def test_trl_is_given_the_order_that_a_run_trains_in(track, workload, tmp_path, seed):
    shop = Workshop(Site(track, (), tmp_path / "run", tmp_path / "cache", "float32"))
    data = shop.data(seed).pairs
    job = training_job(shop, track.rows[0], seed, data, lambda _: None)
    trained = [data.tokens.pairs[row].prompt for row in drawn_order(job)]
    pairs = read_pairs(workload)
    assert trained == [pairs[row].prompt for row in run_order(workload, seed)]
    assert sorted(run_order(workload, seed)) == list(range(16))


def test_cells_are_found_by_trls_name_of_their_objective():
    cells = [TrainedCell("apo-zero", 1, LOSSES, 1), TrainedCell("dpo", 0, LOSSES, 1)]
    assert campaign.by_objective(cells) == {("apo_zero", 1): LOSSES, ("sigmoid", 0): LOSSES}


def test_one_training_that_disagrees_refuses_the_whole_campaign():
    def made(seconds: float, last: float) -> campaign.Campaign:
        return campaign.Campaign(seconds, 2 * seconds, 2**20, {("ipo", 0): LOSSES, ("ipo", 1): [*LOSSES[:7], last]}, {})

    found = {"prefbench": [made(10.0, 0.6), made(12.0, 0.6)], "TRL": [made(40.0, 0.6), made(48.0, 0.6)]}
    assert campaign.lines(found)[1] == ["TRL", "44.0", "88.0", "1", "0.0e+00", "4.00x", "4.00x"]
    found["TRL"][1] = made(48.0, 0.61)
    assert campaign.lines(found)[1][-1].startswith("refused: losses differ by 1.7e-02")
