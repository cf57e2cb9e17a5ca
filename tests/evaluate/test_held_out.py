"""Held-out pairs: accuracy by label and by truth, margins in nats, and the divergence; the reference against itself is at zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration, Pair
from prefbench.evaluate.held_out import HeldOut


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(60):
        chosen, rejected = (" ".join(["right"] * rng.integers(0, 4) + ["um"] * rng.integers(1, 4)) for _ in range(2))
        truth = chosen.count("right") - rejected.count("right")
        prompt = ({"role": "user", "content": f"question {i // 2}"},)
        made.append(Pair(prompt, f"{chosen} a{i}", f"{rejected} b{i}", {"gold_margin": float(truth)}))
    return made


def items_of(world: Any, pairs: list[Pair], **options: Any) -> list[dict[str, Any]]:
    harness, source = HeldOut(**options.pop("harness", {})), world.source(held=pairs)
    return harness.judge(harness.collect(world.policy(**options), source), world.length_lover(), source, Calibration())


def mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values())))


def test_the_reference_against_itself_is_at_zero(world: Any, pairs: list[Pair]) -> None:
    values = HeldOut().values(items_of(world, pairs))
    means = {metric: mean(by_id) for metric, by_id in values.items()}
    assert means == {"held_out_accuracy": 0.5, "held_out_gold_accuracy": 0.5, "margin": 0.0, "chosen_reward": 0.0, "kl": 0.0}


def test_a_policy_that_moved_towards_merit(world: Any, pairs: list[Pair]) -> None:
    truth = np.array([pair.columns["gold_margin"] for pair in pairs])
    values = HeldOut().values(items_of(world, pairs, shift=0.25))
    assert mean(values["margin"]) == pytest.approx(0.25 * truth.mean())
    assert values["chosen_reward"] == values["margin"], "this policy moves the chosen answers only"
    assert mean(values["held_out_accuracy"]) == pytest.approx(np.where(truth == 0, 0.5, truth > 0).mean())
    assert set(values["held_out_gold_accuracy"].values()) == {1.0}
    assert len(values["held_out_gold_accuracy"]) == np.count_nonzero(truth), "a true tie has no right order"


def test_a_pair_is_judged_right_before_its_margin_is_rounded(world: Any, pairs: list[Pair]) -> None:
    items = items_of(world, pairs, shift=1e-7)
    assert {item["margin"] for item in items} == {0.0}
    assert {item["correct"] for item in items} == {0.0, 0.5, 1.0}


def test_divergence_is_measured_once_per_prompt_up_to_the_limit(world: Any, pairs: list[Pair]) -> None:
    items = items_of(world, pairs, shift=0.5, harness={"divergence_prompts": 7})
    assert [row for row, item in enumerate(items) if item["kl"] is not None] == [0, 2, 4, 6, 8, 10, 12]
    assert all(item["kl"] > 0 for item in items if item["kl"] is not None)
    unlimited = HeldOut().values(items_of(world, pairs, shift=0.5))
    assert len(unlimited["kl"]) == 30
    assert "kl" not in HeldOut().values(items_of(world, pairs, harness={"divergence_prompts": 0}))


def test_without_known_truth_there_is_no_gold_accuracy(world: Any, pairs: list[Pair]) -> None:
    plain = [Pair("as plain text", pair.chosen, pair.rejected) for pair in pairs]
    values = HeldOut().values(items_of(world, plain, shift=1.0))
    assert "held_out_gold_accuracy" not in values
    assert set(values["held_out_accuracy"]) == {pair.id for pair in plain}


def test_a_source_without_held_out_pairs_gives_nothing(world: Any) -> None:
    assert items_of(world, []) == []
