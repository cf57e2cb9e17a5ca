"""Intervals over crossed seeds and questions: every seed answers the same questions, and both are samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from prefbench.streams import stream

LEVEL = 0.95
"""Coverage that every interval aims at."""

REPLICATES = 400
"""Draws of questions behind the interval of a fitted metric."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval. ``seeds`` == 1 means that the interval speaks of questions only; without any spread to measure
    (one seed, one question) ``se``, ``low`` and ``high`` are NaN. ``seed_variance`` is the part of ``se``^2 that the spread of the seeds'
    means gives; the rest is the questions' own."""

    value: float
    low: float
    high: float
    se: float
    df: float
    seeds: int
    questions: int
    seed_variance: float


@dataclass(frozen=True)
class _Part:
    """A variance that enters the squared standard error, and its degrees of freedom."""

    variance: float
    df: float

    @property
    def spread(self) -> float:
        """Its term in Satterthwaite's denominator."""
        return self.variance**2 / self.df if self.df > 0 else 0.0


def crossed(values: np.ndarray) -> Estimate:
    """The mean of an (S, Q) float matrix of S seeds and Q questions, NaN where a question has no value.

    The model is y_sq = mean + seed_s + question_q + residual_sq. The sample variances of the marginal means have the expectations
    var(seed) + var(residual)/Q and var(question) + var(residual)/S, so that their sum over S and Q counts the residual twice:
    se^2 = var_seed/S + var_question/Q - var_residual/(S Q), never below var_seed/S. The degrees of freedom are Satterthwaite's
    (Biometrics Bulletin 2, 1946). The value is the mean of the seeds' means; with missing entries the variances are those of the means
    of what is there. Raises ValueError when there is no value at all.
    """
    present = ~np.isnan(values)
    values = values[np.ix_(present.any(axis=1), present.any(axis=0))]
    if not values.size:
        raise ValueError("an estimate needs at least one value")
    (seeds, questions), entries = values.shape, int((~np.isnan(values)).sum())
    by_seed, by_question = np.nanmean(values, axis=1), np.nanmean(values, axis=0)
    value = float(by_seed.mean())
    residual_df = entries - seeds - questions + 1
    residual = values - by_seed[:, None] - by_question[None, :] + value
    residual_variance = float(np.nansum(residual**2)) / residual_df if seeds > 1 and residual_df > 0 else 0.0
    return _estimate(
        value,
        seeds,
        questions,
        _Part(_variance(by_seed) / seeds, seeds - 1),
        _Part(_variance(by_question) / questions, questions - 1),
        _Part(residual_variance / entries, residual_df),
    )


def fitted(values: np.ndarray, replicates: np.ndarray, questions: int) -> Estimate:
    """The mean over S seeds of a metric that is no mean over Q questions, such as a length-controlled win rate.

    ``values`` (S,) holds each seed's metric, ``replicates`` (S, R) the same under R draws of the questions, each draw for all seeds.
    The variance over draws of the mean over seeds estimates (question + residual/S)/Q, which is var_question/Q of ``crossed``. The mean
    over seeds of each seed's own variance estimates (question + residual)/Q. Their difference over S - 1 is therefore residual/(S Q),
    which is counted twice as there. At least two draws.
    """
    seeds, draws = replicates.shape
    together, apart = _variance(replicates.mean(axis=0)), float(replicates.var(axis=1, ddof=1).mean())
    # Drawing Q of Q questions with replacement understates the variance of their mean by (Q - 1)/Q.
    unbiased = questions / (questions - 1) if questions > 1 else 1.0
    residual = max(0.0, apart - together) * unbiased / (seeds - 1) if seeds > 1 else 0.0
    # A variance over R draws is itself known with R - 1 degrees of freedom.
    question_df = 1 / (1 / (questions - 1) + 1 / (draws - 1)) if questions > 1 else 0.0
    return _estimate(
        float(values.mean()),
        seeds,
        questions,
        _Part(_variance(values) / seeds, seeds - 1),
        _Part(together * unbiased, question_df),
        _Part(residual, (seeds - 1) * question_df),
    )


def question_draws(questions: int) -> np.ndarray:
    """How often each of Q questions is drawn in each replicate: int64, shape (REPLICATES, Q), every row sums to Q; always the same."""
    return stream(0, "report", "questions").multinomial(questions, np.full(questions, 1 / questions), size=REPLICATES)


def _estimate(value: float, seeds: int, questions: int, seed: _Part, question: _Part, residual: _Part) -> Estimate:
    variance = max(seed.variance + question.variance - residual.variance, seed.variance)
    if seeds == 1 and questions == 1:
        return Estimate(value, math.nan, math.nan, math.nan, 0.0, seeds, questions, 0.0)
    spread = seed.spread + question.spread + residual.spread
    # With a negative term Satterthwaite's formula can fall below the smallest of the degrees of freedom that it combines.
    least = min(part.df for part in (seed, question) if part.df > 0)
    df = max(variance**2 / spread, least) if spread > 0 else least
    se = math.sqrt(variance)
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * se
    return Estimate(value, value - half, value + half, se, df, seeds, questions, seed.variance)


def _variance(values: np.ndarray) -> float:
    """Sample variance, 0 for a single value."""
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
