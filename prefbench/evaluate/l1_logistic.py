"""A logistic regression of three coefficients under an L1 penalty, fitted for many weightings of its rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BLOCK = 64
"""Weightings whose rows are gone through together: few enough that the passes over them stay in the processor's cache."""
LAST_STEP = 1e-6
"""A Newton step of no coefficient larger than this is the last one: after it, about its square is left."""


class Expansion(NamedTuple):
    """The weighted log loss around some coefficients."""

    loss: np.ndarray  # (R,)
    gradient: np.ndarray  # (R, 3)
    curvature: np.ndarray  # (R, 3, 3)


@dataclass(frozen=True)
class Rows:
    """N rows under R weightings.

    ``feature`` (R, N) is the first feature, which may differ between weightings; ``shared`` (N, 2) the other two; ``target`` (N,) a
    probability; ``weight`` (R, N) counts the row. All float64.
    """

    feature: np.ndarray
    shared: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def expand(self, coefficients: np.ndarray) -> Expansion:
        """Loss, gradient and curvature at ``coefficients`` (R, 3)."""
        count = len(coefficients)
        whole = Expansion(np.empty(count), np.empty((count, 3)), np.empty((count, 3, 3)))
        for first in range(0, count, BLOCK):
            part = slice(first, first + BLOCK)
            for array, values in zip(whole, self._expand(self.feature[part], self.weight[part], coefficients[part]), strict=True):
                array[part] = values
        return whole

    def _expand(self, feature: np.ndarray, weight: np.ndarray, coefficients: np.ndarray) -> Expansion:
        logit = feature * coefficients[:, :1] + coefficients[:, 1:] @ self.shared.T
        small = np.exp(-np.abs(logit))
        loss = np.einsum("rn,rn->r", weight, np.maximum(logit, 0.0) + np.log1p(small) - self.target * logit)
        probability = np.where(logit >= 0, 1.0, small) / (1.0 + small)
        residual = weight * (probability - self.target)
        gradient = np.column_stack([np.einsum("rn,rn->r", residual, feature), residual @ self.shared])
        return Expansion(loss, gradient, self._curvature(feature, weight * probability * (1.0 - probability)))

    def _curvature(self, feature: np.ndarray, variance: np.ndarray) -> np.ndarray:
        first, second = self.shared.T
        products = np.column_stack([first * first, first * second, second * second])
        slope = variance * feature
        curvature = np.empty((len(variance), 3, 3))
        curvature[:, 0, 0] = np.einsum("rn,rn->r", slope, feature)
        curvature[:, 0, 1:] = curvature[:, 1:, 0] = slope @ self.shared
        curvature[:, [1, 1, 2, 2], [1, 2, 1, 2]] = (variance @ products)[:, [0, 1, 1, 2]]
        return curvature


def fit(rows: Rows, strength: float, start: np.ndarray, last_step: float = LAST_STEP) -> np.ndarray:
    """The coefficients (R, 3) that minimise ``sum |b| + strength * (weighted log loss)``: scikit-learn's L1 objective with C = strength.

    Proximal Newton steps from ``start`` (R, 3), halved while they make things worse; the problem is convex, so where it starts changes
    nothing.
    """
    penalty = 1.0 / strength
    here, expansion = start, rows.expand(start)
    for _ in range(100):
        there = _newton_target(here, expansion, penalty)
        if np.abs(there - here).max() < last_step:
            return there
        here, expansion = _descend(rows, here, expansion, there - here, penalty)
    return here


def _descend(rows: Rows, here: np.ndarray, expansion: Expansion, step: np.ndarray, penalty: float) -> tuple[np.ndarray, Expansion]:
    """The end of each step, or of the half, quarter ... of it that no longer raises the objective."""
    before = _objective(expansion, here, penalty)
    for _ in range(50):
        there = here + step
        reached = rows.expand(there)
        worse = _objective(reached, there, penalty) > before * (1 + 1e-12) + 1e-12
        if not worse.any():
            break
        step = np.where(worse[:, None], step / 2, step)
    return there, reached


def _objective(expansion: Expansion, coefficients: np.ndarray, penalty: float) -> np.ndarray:
    value: np.ndarray = expansion.loss + penalty * np.abs(coefficients).sum(axis=1)
    return value


def _newton_target(here: np.ndarray, expansion: Expansion, penalty: float) -> np.ndarray:
    """Where the penalised quadratic model around ``here`` is smallest, by coordinate descent: one soft threshold after the other."""
    there = here.copy()
    diagonal = np.maximum(np.einsum("rjj->rj", expansion.curvature), 1e-12)  # a feature that is zero everywhere has no curvature
    for _ in range(1000):
        previous = there.copy()
        for j in range(3):
            slope = expansion.gradient[:, j] + np.einsum("rk,rk->r", expansion.curvature[:, j], there - here)
            free = diagonal[:, j] * there[:, j] - slope
            there[:, j] = np.sign(free) * np.maximum(np.abs(free) - penalty, 0.0) / diagonal[:, j]
        if np.abs(there - previous).max() < 1e-4 * LAST_STEP:
            break
    return there
