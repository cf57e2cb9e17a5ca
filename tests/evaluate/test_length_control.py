"""The length-controlled win rate: alpaca-eval's own numbers, at its own C, and when there is none to be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration
from prefbench.evaluate import length_control
from prefbench.evaluate.length_control import LengthControlled, choose_strength, comparisons, length_controlled, refusal
from prefbench.evaluate.stand_ins import stand_ins

QUESTIONS = 120

pytestmark = pytest.mark.filterwarnings("ignore:Inconsistent values.*penalty:UserWarning")  # how alpaca-eval calls scikit-learn


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def made_up(seed: int = 0, count: int = QUESTIONS) -> tuple[list[dict[str, Any]], Calibration]:
    """Items of a model that is better than the baseline by 0.4 nats and longer, judged by one who likes length."""
    rng = np.random.default_rng(seed)
    ids = [f"q{i}" for i in range(count)]
    difficulty = rng.normal(-0.3, 1.0, count)

    def judged(delta: np.ndarray, better: float) -> np.ndarray:
        return np.round(sigmoid(difficulty + better - 0.01 * delta + rng.normal(0, 0.3, count)), 4)

    delta, wordy, terse = (rng.integers(low, high, count) for low, high in ((-160, 60), (-200, 0), (0, 200)))
    own = zip(ids, judged(delta, 0.4).tolist(), delta.tolist(), strict=True)
    items = [{"id": id_, "preference": p, "length": 300 - d, "baseline_length": 300} for id_, p, d in own]
    gamed = {
        kind: {id_: (d, p) for id_, d, p in zip(ids, deltas.tolist(), judged(deltas, 0.0).tolist(), strict=True)}
        for kind, deltas in (("verbose", wordy), ("concise", terse))
    }
    return items, Calibration(numbers={"difficulty": dict(zip(ids, difficulty.tolist(), strict=True)), "gamed": gamed})


def by_the_library(items: list[dict[str, Any]], calibration: Calibration, strength: float) -> float:
    """alpaca-eval's own features, design matrix and fit at a fixed C, each item a row, repeated items repeated; solved tightly."""
    with stand_ins():
        import pandas
        import sklearn
        from alpaca_eval.metrics import glm_winrate

    def rows(pairs: list[tuple[float, float]], own: bool) -> Any:
        frame = pandas.DataFrame(pairs, columns=["std_delta_len", "preference"])
        frame["std_delta_len"] /= frame["std_delta_len"].std()
        frame["instruction_difficulty"] = [calibration.numbers["difficulty"][item["id"]] for item in items]
        return frame.assign(not_gamed_baseline=own)

    model = rows([(item["baseline_length"] - item["length"], item["preference"]) for item in items], own=True)
    gamed = [rows([table[item["id"]] for item in items], own=False) for table in calibration.numbers["gamed"].values()]
    train = pandas.concat([*gamed, model])
    formula = glm_winrate.GLM_INFO["length_controlled_v1"]["formula"]
    design, at_equal_length = glm_winrate.make_dmatrix_for_model(train, model.assign(std_delta_len=0), formula=formula)
    weight = np.where(train["not_gamed_baseline"], 1.0, 0.2 / 2)
    with sklearn.config_context():
        fitted = glm_winrate.fit_LogisticRegressionCV(
            design, "preference", n_splits=0, C=strength, sample_weight=weight, tol=1e-12, max_iter=100_000
        )
        return float(fitted.predict_proba(at_equal_length)[:, 1].mean())


@pytest.mark.parametrize("strength", [0.01, 0.3, 2.78, 1e4])
def test_our_fit_is_alpaca_evals_at_the_same_c(strength: float) -> None:
    items, calibration = made_up()
    ours = LengthControlled(comparisons(items, calibration), strength)
    assert ours.value == pytest.approx(by_the_library(items, calibration, strength), abs=1e-6)


def test_resampling_is_fitting_the_repeated_questions() -> None:
    items, calibration = made_up()
    ours = LengthControlled(comparisons(items, calibration), 2.78)
    counts = np.random.default_rng(1).multinomial(QUESTIONS, [1 / QUESTIONS] * QUESTIONS, size=4)
    repeated = [[item for item, n in zip(items, row, strict=True) for _ in range(n)] for row in counts]
    assert ours.resample(counts) == pytest.approx([by_the_library(rows, calibration, 2.78) for rows in repeated], abs=1e-6)
    assert ours.resample(np.ones((1, QUESTIONS)))[0] == pytest.approx(ours.value, abs=1e-9)


def test_it_finds_what_the_win_rate_hides() -> None:
    items, calibration = made_up(count=600)
    raw = np.mean([item["preference"] for item in items])
    fair = np.mean([sigmoid(d + 0.4) for d in calibration.numbers["difficulty"].values()])
    assert abs(length_controlled(items, calibration).value - fair) < 0.02 < 0.05 < raw - fair


def test_the_order_of_the_items_means_nothing() -> None:
    items, calibration = made_up()
    order = np.random.default_rng(2).permutation(QUESTIONS)
    shuffled = [items[i] for i in order]
    here, there = (LengthControlled(comparisons(rows, calibration), 2.78) for rows in (items, shuffled))
    assert here.value == pytest.approx(there.value, abs=1e-9)
    counts = np.random.default_rng(3).integers(0, 3, (2, QUESTIONS))
    assert here.resample(counts) == pytest.approx(there.resample(counts[:, order]), abs=1e-9)


def test_null_preferences_leave_the_fit_and_stay_in_the_prediction() -> None:
    items, calibration = made_up()
    some_null = [{**item, "preference": None} if i < 5 else item for i, item in enumerate(items)]
    assert refusal(some_null, calibration) is None
    data = comparisons(some_null, calibration)
    assert data.usable[0].sum() == QUESTIONS - 5
    assert data.known.sum() == QUESTIONS
    assert length_controlled(some_null, calibration).value == pytest.approx(length_controlled(items, calibration).value, abs=0.02)


def test_a_weighting_that_leaves_no_spread_of_lengths_has_a_value() -> None:
    items, calibration = made_up()
    same = [{**item, "length": 100, "baseline_length": 137} if i > 0 else item for i, item in enumerate(items)]
    counts = np.ones((1, QUESTIONS))
    counts[0, 0] = 0
    assert 0 < LengthControlled(comparisons(same, calibration), 2.78).resample(counts)[0] < 1


def test_refusals_say_why() -> None:
    items, calibration = made_up()
    assert refusal(items, calibration) is None
    assert refusal(items[:49], calibration) == "49 questions, fewer than 50"
    assert "no calibration" in str(refusal(items, Calibration()))
    assert "preferences are equal" in str(refusal([{**item, "preference": 0.5} for item in items], calibration))
    assert "no spread" in str(refusal([{**item, "length": item["baseline_length"] - 7} for item in items], calibration))
    some_null = [{**item, "preference": None} if i < 7 else item for i, item in enumerate(items)]
    assert "coverage 94.2%" in str(refusal(some_null, calibration))
    unknown = [{**item, "id": f"other {item['id']}"} for item in items]
    assert "coverage 0.0%" in str(refusal(unknown, calibration)), "difficulties of other questions are never borrowed"


def test_a_fit_of_which_the_penalty_leaves_nothing_is_no_measurement() -> None:
    items, calibration = made_up()
    empty, full = ([{**item, "strength": strength} for item in items] for strength in (1e-4, 2.78))
    assert length_controlled(empty, calibration).value == pytest.approx(0.5, abs=1e-12), "whatever was judged"
    assert "leaves nothing of the regression" in str(refusal(empty, calibration))
    assert refusal(full, calibration) is None


def test_scikit_learns_settings_come_back(recwarn: pytest.WarningsRecorder) -> None:
    import sklearn

    before = sklearn.get_config()
    choose_strength(comparisons(*made_up()))
    assert sklearn.get_config() == before
    assert len(recwarn) == 0


def test_a_thousand_resamples_of_805_questions_agree_with_their_spread() -> None:
    items, calibration = made_up(count=805)
    ours = LengthControlled(comparisons(items, calibration), 2.78)
    counts = np.random.default_rng(4).multinomial(805, [1 / 805] * 805, size=1000)
    values = ours.resample(counts)
    assert values.mean() == pytest.approx(ours.value, abs=0.002)
    assert 0.001 < values.std() < 0.02


def test_the_method_is_the_librarys_default() -> None:
    with stand_ins():
        from alpaca_eval.metrics.glm_winrate import GLM_INFO
    assert length_control._gamed_weight(2) == GLM_INFO[length_control.METHOD]["regularize_to_baseline_lambda"] / 2
