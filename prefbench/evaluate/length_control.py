"""The length-controlled win rate: alpaca-eval's regression with its own choice of C, and its value under other question weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from prefbench.api import Calibration, Items
from prefbench.evaluate.l1_logistic import Rows, fit
from prefbench.evaluate.stand_ins import stand_ins

METHOD = "length_controlled_v1"
"""The name of the regression in ``alpaca_eval.metrics.glm_winrate``."""
MINIMUM_QUESTIONS = 50
MINIMUM_COVERAGE = 0.95
LAST_STEP = 1e-4
"""Of the fits under drawn questions: to eight digits, where an interval shows three. Hundreds of them are most of what a board costs."""
NOTHING_LEFT = "the penalty that cross-validation chose leaves nothing of the regression: it would say 50 % whatever was judged"


@dataclass(frozen=True)
class Comparisons:
    """What the regression reads, aligned by question: Q questions, and K rows of each.

    Row 0 is the graded model's, the others are those of the gamed baselines. ``delta_length`` (K, Q) is the baseline's length minus the
    answer's, in characters; ``preference`` (K, Q) is in [0, 1], NaN where the judge gave none; ``difficulty`` (Q,) is a logit. A question
    of unknown difficulty is NaN in all its lengths too and takes no part. ``gamed_weight`` is what a row of a gamed baseline counts
    beside the model's 1.
    """

    delta_length: np.ndarray
    preference: np.ndarray
    difficulty: np.ndarray
    gamed_weight: float

    @cached_property
    def known(self) -> np.ndarray:
        """Which questions take part, bool, shape (Q,)."""
        known: np.ndarray = ~np.isnan(self.difficulty)
        return known

    @cached_property
    def usable(self) -> np.ndarray:
        """Which rows are fitted, bool, shape (K, Q)."""
        usable: np.ndarray = ~np.isnan(self.preference) & ~np.isnan(self.delta_length)
        return usable


def comparisons(items: Items, calibration: Calibration) -> Comparisons:
    """The items of ``alpaca_eval`` beside the calibration's numbers, matched by question id and never by position."""
    numbers, ids = calibration.numbers, [item["id"] for item in items]
    gamed = [[rows.get(id_, (None, None)) for id_ in ids] for rows in numbers.get("gamed", {}).values()]
    own = [(_difference(item), item["preference"]) for item in items]
    table = np.array([own, *gamed], dtype=np.float64).reshape(1 + len(gamed), len(ids), 2)
    difficulty = np.array([numbers.get("difficulty", {}).get(id_) for id_ in ids], dtype=np.float64)
    lengths = np.where(np.isnan(difficulty), np.nan, table[..., 0])
    return Comparisons(lengths, table[..., 1], difficulty, _gamed_weight(len(gamed)))


def _difference(item: Mapping[str, Any]) -> int:
    return int(item["baseline_length"] - item["length"])


def _gamed_weight(kinds: int) -> float:
    """alpaca-eval's lambda of 0.2, shared among the gamed baselines."""
    return 0.2 / max(kinds, 1)


def refusal(items: Items, calibration: Calibration, questions: int = 0) -> str | None:
    """Why the items cannot carry a length-controlled win rate, in a few words; None when they can.

    ``questions`` is how many the set has, where it may have more than there are items.
    """
    if len(items) < MINIMUM_QUESTIONS:
        return f"{len(items)} questions, fewer than {MINIMUM_QUESTIONS}"
    if not calibration.numbers.get("difficulty") or not calibration.numbers.get("gamed"):
        return "no calibration: there are no difficulties and gamed rows of these questions"
    data = comparisons(items, calibration)
    coverage = data.usable[0].sum() / max(len(items), questions)
    if coverage < MINIMUM_COVERAGE:
        return f"coverage {coverage:.1%} of the questions, below {MINIMUM_COVERAGE:.0%}"
    if np.ptp(data.preference[0][data.usable[0]]) == 0:
        return "all preferences are equal"
    if np.ptp(data.delta_length[0][data.known]) == 0:
        return "the lengths have no spread: every answer differs from the baseline's by the same"
    strength = items[0].get("strength")
    return NOTHING_LEFT if strength is not None and LengthControlled(data, float(strength)).is_empty else None


@dataclass(frozen=True)
class LengthControlled:
    """The win rate that the regression predicts for equal lengths, as a share.

    Source: Dubois, Galambosi, Liang and Hashimoto, "Length-Controlled AlpacaEval" (2024), section 3, and alpaca-eval's
    ``length_controlled_v1``. ``strength`` is the C of the fit, chosen by alpaca-eval's cross-validation on the questions as they are and
    held fixed after that. Departures: difficulty and gamed rows are matched by question id, not by row position; the fit at that C is our
    own, to machine precision.
    """

    data: Comparisons
    strength: float

    @cached_property
    def _coefficients(self) -> np.ndarray:
        """Of length, difficulty and the model itself, on the questions as they are, shape (1, 3)."""
        return fit(_rows(self.data, np.ones((1, len(self.data.difficulty)))), self.strength, np.zeros((1, 3)))

    @property
    def is_empty(self) -> bool:
        """Whether the penalty has left no coefficient, so that the prediction is one half for every model."""
        return not self._coefficients.any()

    @property
    def value(self) -> float:
        """The length-controlled win rate on the questions as they are."""
        return float(self._predict(self._coefficients, np.ones((1, len(self.data.difficulty))))[0])

    def resample(self, counts: np.ndarray) -> np.ndarray:
        """The win rate for each row of ``counts`` (R, Q): how often each question, in the order of the items, was drawn; shape (R,).

        Equal to alpaca-eval's fit on the questions repeated that often, their gamed rows with them, lengths standardised anew.
        """
        start = np.repeat(self._coefficients, len(counts), axis=0)
        return self._predict(fit(_rows(self.data, counts), self.strength, start, LAST_STEP), counts)

    def _predict(self, coefficients: np.ndarray, counts: np.ndarray) -> np.ndarray:
        known = self.data.known
        logit = coefficients[:, 1:2] * self.data.difficulty[known] + coefficients[:, 2:3]
        weight = counts[:, known] / counts[:, known].sum(axis=1, keepdims=True)
        predicted: np.ndarray = (weight * expit(logit)).sum(axis=1)
        return predicted


def length_controlled(items: Items, calibration: Calibration) -> LengthControlled:
    """The regression on judged items, at the C that they name or else at the one chosen now. Ask ``refusal`` first: it says why there may be none."""
    data = comparisons(items, calibration)
    stored = items[0].get("strength")
    return LengthControlled(data, choose_strength(data) if stored is None else float(stored))


def _rows(data: Comparisons, counts: np.ndarray) -> Rows:
    """The regression's rows, all kinds of a question one after the other, under each row of ``counts`` (R, Q)."""
    usable = data.usable.ravel()
    kinds = len(data.delta_length)
    weight = np.concatenate([counts, *[data.gamed_weight * counts] * (kinds - 1)], axis=1)[:, usable]
    model = np.repeat(np.arange(kinds) == 0, len(data.difficulty)).astype(np.float64)
    shared = np.column_stack([np.tile(data.difficulty, kinds), model])[usable]
    feature = np.concatenate([np.tanh(_standardised(lengths, counts)) for lengths in data.delta_length], axis=1)[:, usable]
    return Rows(feature, shared, data.preference.ravel()[usable], weight)


def _standardised(lengths: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Lengths (Q,) over their sample deviation under each weighting, shape (R, Q); zero where the weighting leaves no spread."""
    known = ~np.isnan(lengths)
    given = np.where(known, lengths, 0.0)
    near = np.where(known, lengths - np.median(lengths[known]), 0.0)  # equal lengths become exact zeros, and their deviation an exact zero
    weight = np.where(known, counts, 0.0)
    total = weight.sum(axis=1)
    square = weight @ near**2 - (weight @ near) ** 2 / total
    spread = np.sqrt(np.maximum(square, 0.0) / (total - 1))
    standardised: np.ndarray = np.divide(given, spread[:, None], out=np.zeros_like(weight), where=spread[:, None] > 0)
    return standardised


def choose_strength(data: Comparisons) -> float:
    """C by alpaca-eval's own design matrix and five-fold cross-validation on the questions as they are."""
    with stand_ins():
        import pandas
        import sklearn
        from alpaca_eval.metrics import glm_winrate
    kinds = ((kind, kind == 0) for kind in [*range(1, len(data.delta_length)), 0])  # gamed rows first: its folds depend on the order
    frame = pandas.concat([pandas.DataFrame(_columns(data, kind, own)) for kind, own in kinds])
    design, _ = glm_winrate.make_dmatrix_for_model(frame, frame, formula=glm_winrate.GLM_INFO[METHOD]["formula"])
    weight = np.where(frame["not_gamed_baseline"], 1.0, data.gamed_weight)
    # The library turns scikit-learn's metadata routing on for good and passes an option that scikit-learn is about to rename.
    with sklearn.config_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = glm_winrate.fit_LogisticRegressionCV(design, "preference", sample_weight=weight, **glm_winrate.GLM_INFO[METHOD]["kwargs"])
    return float(model.C_[0])


def _columns(data: Comparisons, kind: int, own: bool) -> dict[str, Any]:
    """The rows of one kind under alpaca-eval's column names."""
    rows = data.usable[kind]
    lengths = _standardised(data.delta_length[kind], np.ones((1, len(rows))))[0]
    names = {"preference": data.preference[kind], "std_delta_len": lengths, "instruction_difficulty": data.difficulty}
    return {**{name: values[rows] for name, values in names.items()}, "not_gamed_baseline": own}
