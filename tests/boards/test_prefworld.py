"""What the committed Prefworld board shows, and what it must show if the harness is right."""

from __future__ import annotations

import numpy as np
import pytest

from prefbench.config import find_track, read_track
from prefbench.registry import load_registry
from prefbench.store.folder import Folder
from tests.boards.reading import LEADERBOARDS, read_rows

BOARD = LEADERBOARDS / "prefworld"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, str]]:
    return {(row["method"], row["scheduler"]): row for row in read_rows("prefworld")}


def test_dpo_is_clearly_above_sft(rows):
    assert float(rows["dpo", "uniform"]["gold_win_rate_low"]) > float(rows["sft", "-"]["gold_win_rate_high"])


def test_the_length_controlled_rate_is_nearer_to_the_truth_than_the_judges(rows):
    def distance(metric: str) -> float:
        return float(np.mean([abs(float(row[metric]) - float(row["gold_win_rate"])) for row in rows.values()]))

    assert distance("length_controlled_win_rate") < distance("win_rate")


def test_sft_against_itself_is_a_draw(rows):
    assert float(rows["sft", "-"]["gold_win_rate"]) == pytest.approx(0.5, abs=0.015)
    assert float(rows["sft", "-"]["held_out_accuracy"]) == 0.5


PAPERS = {"ams", "apo-hinge-zero", "apo-hinge-softplus", "madpo"}


def test_the_papers_losses_and_at_least_twelve_others_were_tuned_alike(rows):
    records = Folder(BOARD).records().values()
    assert {record["seed"] for record in records} == set(range(8))
    trained = {row["method"]: row for row in rows.values() if row["scheduler"] != "-"}
    assert trained.keys() >= PAPERS
    assert len(trained.keys() - PAPERS) >= 12
    assert {row["tuning"] for row in trained.values()} == {"tuned"}


def test_the_packaged_track_has_the_values_that_were_chosen_here(rows):
    track = read_track(find_track("prefworld"), load_registry())
    for label, method in track.methods.items():
        row = rows[label, "uniform"]
        assert method.learning_rate == float(row["learning_rate"]), label
        assert f"beta={method.objective.options['beta']}" in row["options"], label


NOISE = "prefworld-noise"


def test_the_noise_board_shows_settings_of_clean_labels_beside_those_of_each_level():
    conditions = {(row["method"], row["condition"]): row for row in read_rows(NOISE) if row["scheduler"] != "-"}
    methods = {method for method, _ in conditions}
    assert methods == {"dpo", "apo-zero", "apo-hinge-zero", "ams", "ipo", "robust", "madpo", "simpo"}
    for method in methods:
        for level in ("noise-20", "noise-40"):
            assert conditions[method, level]["tuning"] == "tuned"
            assert conditions[method, f"{level}-clean-tuned"]["tuning"] == "tuned under clean"
            shared = conditions[method, f"{level}-clean-tuned"], conditions[method, "clean"]
            assert len({(row["learning_rate"], row["options"]) for row in shared}) == 1


def test_noise_costs_every_loss_and_flips_as_many_labels_as_it_says():
    found = {(row["method"], row["condition"]): row for row in read_rows(NOISE) if row["scheduler"] != "-"}
    for method in {method for method, _ in found}:
        gold = [float(found[method, condition]["gold_win_rate"]) for condition in ("clean", "noise-20", "noise-40")]
        assert gold == sorted(gold, reverse=True), method
        assert float(found[method, "noise-40"]["flipped_percent"]) == pytest.approx(40, abs=1.5)
