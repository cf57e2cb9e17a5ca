"""Verdicts on paired differences: p-values, Holm's correction for their number, and the difference that would have been found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr

from prefbench.report.stats import LEVEL, Estimate

ALPHA = 1 - LEVEL
"""Largest share of tables of equal methods on which any is called better or worse."""

POWER = 0.8
"""Chance of finding a true difference of the detectable size."""

SCREENING = 5
"""A row with fewer seeds is marked: it shows large differences only."""

ROUNDING = 1e-9
"""A difference this small is arithmetic, and none."""

ONE_SEED = "one seed: the interval speaks of these checkpoints, not of the methods"

_NORMAL = np.linspace(-6.0, 6.0, 61)
"""Nodes for integrals over a chi-square: its quantiles at normal probabilities, so that the tails have as many as the middle."""
_WEIGHT = np.exp(-(_NORMAL**2) / 2) / np.exp(-(_NORMAL**2) / 2).sum()


@dataclass(frozen=True)
class Verdict:
    """What a difference carries: +1, -1, or 0 for no decision.

    ``p`` is two-sided, ``corrected`` is Holm's, and ``detectable`` is the true difference that the table would find with ``POWER``. Where
    ``reason`` says why nothing can be decided at all, these are NaN.
    """

    side: int
    p: float
    corrected: float
    detectable: float
    reason: str = ""


def judge(differences: Sequence[Estimate]) -> list[Verdict]:
    """A verdict on each of the differences to one baseline, in their order; those of a single seed are left out of the family."""
    family = [estimate for estimate in differences if estimate.seeds > 1]
    ps = [p_value(estimate) for estimate in family]
    decided = (_verdict(*found, len(family)) for found in zip(family, ps, holm(ps), strict=True))
    return [next(decided) if estimate.seeds > 1 else Verdict(0, math.nan, math.nan, math.nan, ONE_SEED) for estimate in differences]


def _verdict(estimate: Estimate, p: float, corrected: float, family: int) -> Verdict:
    side = int(math.copysign(1, estimate.value)) if corrected <= ALPHA else 0
    return Verdict(side, p, corrected, detectable(estimate, family))


def p_value(difference: Estimate) -> float:
    """Two-sided p of a difference whose truth is zero.

    The squared standard error has two parts, that of the seeds' means with S - 1 degrees of freedom and the questions' own with Q - 1. The
    statistic is the t of the interval, value / se; its tail is taken over what both parts may be (a generalized p-value: Tsui and
    Weerahandi, JASA 84, 1989; for two parts the Behrens-Fisher distribution). It is Student's t where one part is all there is.
    Satterthwaite's single t, good at 95 %, is too light at the far tail that Holm asks for: see docs/statistics.md.
    """
    return _tail(abs(difference.value), difference)


def one_sided(difference: Estimate, side: int) -> float:
    """One-sided p of a difference on that side of zero, +1 or -1, whose truth is zero or on the other side."""
    half = p_value(difference) / 2
    return half if difference.value * side > 0 else 1 - half


def detectable(difference: Estimate, family: int) -> float:
    """The true difference, in the metric's unit, that ``family`` comparisons find with ``POWER``: (t_{1 - alpha/2k} + t_{power}) * se, both
    quantiles those of ``p_value``'s distribution."""
    return _quantile(ALPHA / family, difference) + _quantile(2 * (1 - POWER), difference)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979): p-values that hold for all of the family together."""
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, position in enumerate(sorted(range(len(ps)), key=lambda position: ps[position])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[position]))
        corrected[position] = largest
    return corrected


def screening(seeds: int) -> str:
    """The mark of a row with that many seeds."""
    return " (screening)" if 0 < seeds < SCREENING else ""


def _tail(size: float, difference: Estimate) -> float:
    """The chance that a difference without a truth behind it is at least ``size`` away from zero."""
    if size <= ROUNDING:
        return 1.0
    if difference.se == 0:
        return 0.0
    questions_own = max(difference.se**2 - difference.seed_variance, 0.0)
    variance = np.add.outer(
        difference.seed_variance * _inflation(difference.seeds - 1), questions_own * _inflation(difference.questions - 1)
    )
    return float(_WEIGHT @ (2 * ndtr(-size / np.sqrt(variance))) @ _WEIGHT)


def _quantile(p: float, difference: Estimate) -> float:
    """The size whose tail is ``p``."""
    if difference.se <= ROUNDING:
        return 0.0
    return float(brentq(lambda sizes: _tail(sizes * difference.se, difference) - p, 0.0, 1e7)) * difference.se


@lru_cache
def _inflation(df: int) -> np.ndarray:
    """What a variance known with that many degrees of freedom may be, over its estimate: df over chi-square at the nodes, shape (61,)."""
    if df < 1:
        return np.ones_like(_NORMAL)  # a part that is not there has variance zero
    inflation: np.ndarray = df / (2 * gammaincinv(df / 2, ndtr(_NORMAL)))
    return inflation
