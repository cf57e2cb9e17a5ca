"""AlpacaEval from a policy's answers to the metrics, in a world where the true merit of an answer is known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration, JudgeReply
from prefbench.errors import PrefbenchError
from prefbench.evaluate.alpaca_eval import AlpacaEval
from prefbench.evaluate.stand_ins import stand_ins

COUNT = 200


@pytest.fixture(scope="module")
def source(world: Any) -> Any:
    return world.source(by_harness={"alpaca_eval": world.plain_questions(COUNT)})


@pytest.fixture(scope="module")
def calibration(world: Any, source: Any) -> Calibration:
    return AlpacaEval().calibrate(world.policy(), world.length_lover(bias=0.05), source)


def run(world: Any, source: Any, calibration: Calibration, policy: Any) -> list[dict[str, Any]]:
    harness = AlpacaEval()
    rows = json.loads(json.dumps(harness.collect(policy, source)))
    return harness.judge(rows, world.length_lover(bias=0.05), source, calibration)


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def test_the_calibration_is_made_of_the_models_own_answers(world: Any, calibration: Calibration) -> None:
    baseline, numbers = calibration.texts["baseline"], calibration.numbers
    assert list(baseline) == [f"q{i:03d}" for i in range(COUNT)]
    assert set(numbers["difficulty"]) == set(baseline)
    assert all(abs(d) <= math.log(0.95 / 0.05) + 1e-6 for d in numbers["difficulty"].values()), "half a vote of ten keeps it finite"
    assert (
        mean({k: d for k, (d, _) in numbers["gamed"]["verbose"].items()})
        < 0
        < mean({k: d for k, (d, _) in numbers["gamed"]["concise"].items()})
    )
    assert mean({k: p for k, (_, p) in numbers["gamed"]["verbose"].items()}) > mean(
        {k: p for k, (_, p) in numbers["gamed"]["concise"].items()}
    )


def test_difficulty_is_the_logit_of_the_panels_mean_preference(world: Any) -> None:
    source = world.source(by_harness={"alpaca_eval": world.plain_questions(3)})
    harness, judge = AlpacaEval(panel=12), world.length_lover()
    numbers = harness.calibrate(world.policy(), judge, source).numbers
    for question in source.questions("alpaca_eval"):
        asked = [request.answers for request in judge.asked if request.question == question]
        baseline = harness.calibrate(world.policy(), world.length_lover(), source).texts["baseline"][question.id]
        votes = [preference(answers, baseline) for answers in asked]
        votes += [0.5] * (12 - len(votes))  # an answer that equals the baseline is a draw that nobody was asked about
        share = np.mean(votes)
        assert numbers["difficulty"][question.id] == pytest.approx(math.log(share / (1 - share)), abs=1e-5)


def preference(answers: tuple[tuple[str, ...], ...], baseline: str) -> float:
    """What the fair judge of the world thinks of the answer that is not the baseline."""
    ((other,),) = [answer for answer in answers if answer != (baseline,)]
    return 1 / (1 + math.exp(baseline.split().count("right") - other.split().count("right")))


def test_the_same_model_again_wins_half(world: Any, source: Any, calibration: Calibration) -> None:
    items = run(world, source, calibration, world.policy())
    harness = AlpacaEval()
    values, fitted = harness.values(items), harness.fitted(items, calibration)
    assert mean(values["win_rate"]) == pytest.approx(0.5, abs=0.06)
    assert mean(values["gold_win_rate"]) == pytest.approx(0.5, abs=0.06)
    assert fitted["length_controlled_win_rate"].value == pytest.approx(0.5, abs=0.06)


def test_a_model_that_only_adds_words_wins_until_length_is_controlled(world: Any, source: Any, calibration: Calibration) -> None:
    items = run(world, source, calibration, world.policy(seed=5, filler=14))
    harness = AlpacaEval()
    values, fitted = harness.values(items), harness.fitted(items, calibration)
    raw, gold = mean(values["win_rate"]), mean(values["gold_win_rate"])
    controlled = fitted["length_controlled_win_rate"].value
    assert raw > gold + 0.1
    assert abs(controlled - gold) < (raw - gold) / 2


def test_items_hold_numbers_only_and_the_metrics_are_plain_means(world: Any, source: Any, calibration: Calibration) -> None:
    policy = world.policy(seed=1)
    harness, rows = AlpacaEval(), AlpacaEval().collect(policy, source)
    items = run(world, source, calibration, policy)
    for row, item in zip(rows, items, strict=True):
        baseline = calibration.texts["baseline"][row["id"]]
        expected = 1 / (1 + math.exp(-utility(row["answer"]) + utility(baseline)))
        assert item == {
            "harness": "alpaca_eval",
            "id": row["id"],
            "preference": round(expected, 8),
            "length": len(row["answer"]),
            "baseline_length": len(baseline),
            "gold_win_rate": item["gold_win_rate"],
            "strength": items[0]["strength"],
        }
    assert harness.values(items)["length"] == {row["id"]: row["length"] for row in rows}
    with stand_ins():
        from alpaca_eval.metrics import get_winrate
    by_library = get_winrate([{"preference": item["preference"] + 1} for item in items])["win_rate"]
    assert 100 * mean(harness.values(items)["win_rate"]) == pytest.approx(by_library, abs=1e-9)


def test_the_regressions_c_is_chosen_once_and_stored(
    world: Any, source: Any, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = run(world, source, calibration, world.policy(seed=1))
    expected = AlpacaEval().fitted(items, calibration)["length_controlled_win_rate"].value

    def another_scikit_learn(_: Any) -> float:
        return 1e-3

    monkeypatch.setattr("prefbench.evaluate.length_control.choose_strength", another_scikit_learn)
    assert AlpacaEval().fitted(items, calibration)["length_controlled_win_rate"].value == expected
    unstored = [{key: value for key, value in item.items() if key != "strength"} for item in items]
    assert AlpacaEval().fitted(unstored, calibration)["length_controlled_win_rate"].value != expected


def utility(answer: str) -> float:
    return answer.split().count("right") + 0.05 * len(answer)


def test_null_preferences_are_counted_and_never_a_number(world: Any, source: Any, calibration: Calibration) -> None:
    def reply(request: Any) -> JudgeReply:
        return JudgeReply("sorry") if request.question.id < "q005" else JudgeReply("", {"m": -0.1, "M": -2.4})

    harness = AlpacaEval()
    items = harness.judge(harness.collect(world.policy(seed=2), source), world.scripted(reply), source, calibration)
    nulls = [item["id"] for item in items if item["preference"] is None]
    assert harness.counts(items) == {"judged": COUNT - len(nulls), "null": len(nulls)}
    assert 1 <= len(nulls) <= 5
    assert not set(nulls) & set(harness.values(items)["win_rate"])
    assert set(nulls) < set(harness.values(items)["gold_win_rate"]), "what the source knows needs no judge"


def test_a_calibration_survives_being_stored(world: Any, source: Any, calibration: Calibration) -> None:
    items = run(world, source, calibration, world.policy(seed=3))
    stored = Calibration(**json.loads(json.dumps({"texts": calibration.texts, "numbers": calibration.numbers})))
    here, there = (AlpacaEval().fitted(items, c)["length_controlled_win_rate"].value for c in (calibration, stored))
    assert here == there


def test_no_length_control_where_it_is_refused(world: Any, source: Any, calibration: Calibration) -> None:
    items = run(world, source, calibration, world.policy(seed=3))
    assert AlpacaEval().fitted(items[:49], calibration) == {}


def test_an_answer_without_a_baseline_is_an_error(world: Any, source: Any) -> None:
    rows = AlpacaEval().collect(world.policy(), source)
    with pytest.raises(PrefbenchError, match="no baseline answer to question q000"):
        AlpacaEval().judge(rows, world.length_lover(), source, Calibration())


def test_a_source_without_questions_is_told_so_and_not_left_out_of_the_board(world: Any) -> None:
    with pytest.raises(PrefbenchError, match="alpaca_eval: the source has no questions") as caught:
        AlpacaEval().calibrate(world.policy(), world.length_lover(), world.source())
    assert "alpaca_eval_questions" in caught.value.hint
