"""What each row of a board measured, on axes that all its rows share, so that rows can be subtracted question by question."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from prefbench.report.metrics import FittedScore, Scores
from prefbench.report.stats import Estimate, crossed, fitted, question_draws

RowScores = Mapping[int, Scores]
"""The scores of a row's done cells by seed."""


@dataclass(frozen=True)
class MeanSample:
    """A metric that is a mean over questions: ``values`` is (S, Q), NaN where a question has none."""

    seeds: tuple[int, ...]
    values: np.ndarray

    def estimate(self) -> Estimate:
        """Mean and interval."""
        return crossed(self.values)

    @property
    def nothing(self) -> bool:
        """Whether every value is zero: as a difference, that nothing changed."""
        return not np.nan_to_num(self.values).any()


@dataclass(frozen=True)
class FittedSample:
    """A metric that is fitted: ``values`` is (S,), ``replicates`` (S, R) under draws of the questions that every row shares."""

    seeds: tuple[int, ...]
    values: np.ndarray
    replicates: np.ndarray
    questions: int

    def estimate(self) -> Estimate:
        """Mean and interval."""
        return fitted(self.values, self.replicates, self.questions)

    @property
    def nothing(self) -> bool:
        """Whether every value is zero under every draw: as a difference, that nothing changed."""
        return not self.values.any() and not self.replicates.any()


Sample = MeanSample | FittedSample


def paired(row: Sample | None, baseline: Sample | None) -> Sample | None:
    """A row's metric minus the baseline's, seed by seed and question by question; None where one has no such metric or they share nothing."""
    return combined([(1.0, row), (-1.0, baseline)]) if row and baseline else None


def combined(parts: Sequence[tuple[float, Sample]]) -> Sample | None:
    """The sum of samples, each times a factor, on the seeds (and of means, the questions) that all of them have.

    None where they share none, or where some are means and others fitted: those have no questions to be paired by.
    """
    shared = [set(sample.seeds) for _, sample in parts]
    seeds = tuple(seed for seed in parts[0][1].seeds if all(seed in own for own in shared))
    fits = [(factor, sample) for factor, sample in parts if isinstance(sample, FittedSample)]
    means = [(factor, sample) for factor, sample in parts if isinstance(sample, MeanSample)]
    if not seeds or (fits and means):
        return None
    if fits:
        values, replicates = (sum(f * getattr(s, name)[_places(s, seeds)] for f, s in fits) for name in ("values", "replicates"))
        return FittedSample(seeds, np.asarray(values), np.asarray(replicates), min(sample.questions for _, sample in fits))
    whole = np.asarray(sum(factor * sample.values[_places(sample, seeds)] for factor, sample in means))
    return None if np.isnan(whole).all() else MeanSample(seeds, whole)


def _places(sample: Sample, seeds: Sequence[int]) -> list[int]:
    """Where a sample has these seeds."""
    return [sample.seeds.index(seed) for seed in seeds]


def difference(row: Sample | None, baseline: Sample | None) -> Estimate | None:
    """The interval of the paired difference; None as ``paired`` is."""
    found = paired(row, baseline)
    return found.estimate() if found else None


def samples(rows: Sequence[RowScores], metrics: Container[str] | None = None) -> list[dict[str, Sample]]:
    """The samples of each row by metric, in the order of ``rows``; of ``metrics`` alone where some are named, which saves fitting the others.

    A row has no sample of a metric that one of its seeds was refused: which seeds are refused depends on what was
    judged, and the mean of the others would be one of a selection.
    """
    found: list[dict[str, Sample]] = [{} for _ in rows]
    scores = [score for row in rows for score in row.values()]
    asked = (lambda name: True) if metrics is None else metrics.__contains__
    for metric in sorted({name for score in scores for name in score.means if asked(name)}):
        axis = sorted({key for score in scores for key in score.means.get(metric, ())})
        for row, own in zip(rows, found, strict=True):
            values = {seed: score.means[metric] for seed, score in row.items() if metric in score.means}
            if values:
                own[metric] = _means(values, axis)
    for metric in sorted({name for score in scores for name in score.fits if asked(name)}):
        axis = sorted({key for score in scores if metric in score.fits for key in score.fits[metric].ids})
        for own, fits in zip(found, _resampled([_fits_of(row, metric) for row in rows], axis), strict=True):
            if fits:
                own[metric] = fits
    return found


def _means(values: Mapping[int, Mapping[str, float]], axis: Sequence[str]) -> MeanSample:
    matrix = [[by_id.get(key, np.nan) for key in axis] for by_id in values.values()]
    return MeanSample(tuple(values), np.array(matrix, dtype=np.float64))


def _fits_of(row: RowScores, metric: str) -> Mapping[int, FittedScore]:
    """The fits of a metric by seed; none where a seed was refused."""
    if any(metric in score.refused for score in row.values()):
        return {}
    return {seed: score.fits[metric] for seed, score in row.items() if metric in score.fits}


def _resampled(rows: Sequence[Mapping[int, FittedScore]], axis: Sequence[str]) -> list[FittedSample | None]:
    """The sample of each row's fits; None where it has none. Side by side: hundreds of fits for each cell are most of what a board costs."""
    draws = question_draws(len(axis))
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda fits: _fits(fits, axis, draws) if fits else None, rows))


def _fits(fits: Mapping[int, FittedScore], axis: Sequence[str], draws: np.ndarray) -> FittedSample:
    position = {key: column for column, key in enumerate(axis)}
    replicates = [score.fit.resample(draws[:, [position[key] for key in score.ids]]) for score in fits.values()]
    values = np.array([score.fit.value for score in fits.values()], dtype=np.float64)
    return FittedSample(tuple(fits), values, np.array(replicates, dtype=np.float64), min(len(score.ids) for score in fits.values()))
