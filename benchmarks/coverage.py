"""Simulated boards: how often 95 % intervals hold the truth, and how often a method is called better or worse that is neither."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import expit, ndtri, stdtr

from prefbench.evaluate.length_control import Comparisons, LengthControlled
from prefbench.report.samples import FittedSample, MeanSample, Sample, paired
from prefbench.report.stats import Estimate, question_draws
from prefbench.report.verdicts import ALPHA, holm, p_value
from prefbench.streams import stream

METHODS = 5
"""Methods beside the baseline: the family that Holm's correction allows for."""

DIFFERENT = 2
"""How many of them differ from the baseline on the boards with a difference."""

SIZE = 4.0
"""The true difference, in its own standard errors."""

SEEDS = (3, 5, 10)


@dataclass(frozen=True)
class World:
    """Standard deviations of what each method has of its own: seeds, questions, and what is left (shares for means, logits for
    preferences). What methods share with each other comes on top and leaves every difference."""

    name: str
    seed: float
    question: float
    residual: float

    def error(self, seeds: int, questions: int) -> float:
        """The true standard error of a difference between two methods."""
        variance = self.seed**2 / seeds + self.question**2 / questions + self.residual**2 / (seeds * questions)
        return math.sqrt(2 * variance)


WORLDS = (
    World("as on Prefworld", 0.006, 0.02, 0.18),
    World("residual alone", 0.0, 0.0, 0.3),
    World("questions dominate", 0.0, 0.3, 0.05),
    World("seeds and questions alike", 0.02, 0.3, 0.1),
    World("all three", 0.03, 0.2, 0.4),
    World("seeds dominate", 0.1, 0.1, 0.1),
)

SHARED = World("what all methods share", 0.02, 0.23, 0.0)

PREFERENCES = World("logits", 0.1, 0.3, 1.0)
"""For the regression: a seed that is worth a tenth of a nat, and a judge whose verdicts scatter."""


@dataclass(frozen=True)
class Scenario:
    """One line of a table at one number of seeds: the metric, the world, the size of a board and whether some methods truly differ."""

    metric: str
    world: World
    seeds: int
    questions: int
    different: bool

    @property
    def shifts(self) -> np.ndarray:
        """How far each method truly is from the baseline, the baseline first; shape (1 + METHODS,)."""
        methods = 2 if self.metric == REGRESSION else METHODS
        shifts = np.zeros(1 + methods)
        shifts[1 : 1 + min(DIFFERENT, methods - 1)] = SIZE * self.world.error(self.seeds, self.questions) * self.different
        return shifts


@dataclass(frozen=True)
class Tally:
    """Shares of what was simulated, in percent: intervals of differences and of levels that hold the truth, boards with a false verdict,
    boards with one had Holm's correction used the intervals' own t, and true differences that were found (NaN without any)."""

    differences: float
    levels: float
    false: float
    false_by_t: float
    found: float


def simulate(scenario: Scenario, boards: int) -> Tally:
    """Draw boards and count; the same scenario always draws the same."""
    rng = stream(0, "benchmarks", "coverage", repr(scenario))
    draw, truths = DRAWS[scenario.metric], TRUTHS[scenario.metric](scenario)
    differences = truths[1:] - truths[0]
    covered, covered_levels, false, false_by_t, found = [], [], [], [], []
    for _ in range(boards):
        baseline, *methods = draw(rng, scenario)
        estimates = [_difference(method, baseline) for method in methods]
        covered += [_holds(estimate, truth) for estimate, truth in zip(estimates, differences, strict=True)]
        covered_levels += [_holds(sample.estimate(), truth) for sample, truth in zip((baseline, *methods), truths, strict=True)]
        sides, sides_by_t = _sides(estimates, p_value), _sides(estimates, _p_by_t)
        false.append((sides * np.sign(differences) < sides**2).any())
        false_by_t.append((sides_by_t * np.sign(differences) < sides_by_t**2).any())
        found += list(sides[differences != 0] == np.sign(differences[differences != 0]))
    counted = (covered, covered_levels, false, false_by_t, found)
    return Tally(*(100 * float(np.mean(count)) if count else math.nan for count in counted))


def _difference(method: Sample, baseline: Sample) -> Estimate:
    difference = paired(method, baseline)
    assert difference is not None  # every method has every seed and every question
    return difference.estimate()


def _holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def _sides(estimates: Sequence[Estimate], p_of: Callable[[Estimate], float]) -> np.ndarray:
    """The verdicts, as ``prefbench.report.verdicts.judge`` gives them with that p-value; +1, -1 or 0."""
    return np.array([np.sign(e.value) * (p <= ALPHA) for e, p in zip(estimates, holm([p_of(e) for e in estimates]), strict=True)])


def _p_by_t(estimate: Estimate) -> float:
    """The p-value of the interval's own t, with Satterthwaite's degrees of freedom."""
    return 2 * float(stdtr(estimate.df, -abs(estimate.value / estimate.se)))


# ---------------------------------------------------------------- the metrics


def _values(rng: np.random.Generator, scenario: Scenario) -> np.ndarray:
    """What each method gets for each seed and question, shape (methods, S, Q); the baseline first, its truth zero."""
    seeds, questions, methods = scenario.seeds, scenario.questions, len(scenario.shifts)
    own = _effects(rng, scenario.world, methods, seeds, questions)
    return scenario.shifts[:, None, None] + own + _effects(rng, SHARED, 1, seeds, questions)


def _effects(rng: np.random.Generator, world: World, methods: int, seeds: int, questions: int) -> np.ndarray:
    seed = world.seed * rng.standard_normal((methods, seeds, 1))
    question = world.question * rng.standard_normal((methods, 1, questions))
    return seed + question + world.residual * rng.standard_normal((methods, seeds, questions))


def _means(rng: np.random.Generator, scenario: Scenario) -> list[Sample]:
    seeds = tuple(range(scenario.seeds))
    return [MeanSample(seeds, values) for values in _values(rng, scenario)]


def _weighted_means(rng: np.random.Generator, scenario: Scenario) -> list[Sample]:
    """Questions weigh between 1 and 2: no mean over questions, so that only draws of questions show its spread."""
    weight = 1 + rng.random(scenario.questions)
    draws = _draws(scenario.questions) * weight
    draws /= draws.sum(axis=1, keepdims=True)
    seeds = tuple(range(scenario.seeds))
    return [FittedSample(seeds, values @ weight / weight.sum(), values @ draws.T, scenario.questions) for values in _values(rng, scenario)]


_draws = lru_cache(question_draws)


def _length_controlled(rng: np.random.Generator, scenario: Scenario) -> list[Sample]:
    """alpaca-eval's regression on preferences of a judge who likes length, at a fixed C."""
    draws, seeds, found = _draws(scenario.questions), tuple(range(scenario.seeds)), []
    difficulty, gamed = _question_set(rng, scenario.questions)
    for logits in _values(rng, scenario):
        fits = [_regression(rng, difficulty, gamed, own) for own in logits]
        replicates = np.array([fit.resample(draws) for fit in fits])
        found.append(FittedSample(seeds, np.array([fit.value for fit in fits]), replicates, scenario.questions))
    return list(found)


LIKING_OF_LENGTH = 0.01
"""Nats per character."""

STRENGTH = 20.0
"""C, as cross-validation chooses it on Prefworld for many cells."""


def _question_set(rng: np.random.Generator, questions: int) -> tuple[np.ndarray, np.ndarray]:
    """Difficulties (Q,) in logits, and the gamed baselines' length differences and preferences, shape (2, 2, Q)."""
    difficulty = rng.normal(-0.3, 1.0, questions)
    lengths = rng.normal([[-100.0], [100.0]], 50.0, (2, questions))
    return difficulty, np.stack([lengths, expit(difficulty - LIKING_OF_LENGTH * lengths)])


def _regression(rng: np.random.Generator, difficulty: np.ndarray, gamed: np.ndarray, own: np.ndarray) -> LengthControlled:
    """The regression of one cell, whose answers are 30 characters longer than the baseline's on average."""
    lengths = rng.normal(-30.0, 60.0, len(difficulty))
    preference = expit(difficulty + own - LIKING_OF_LENGTH * lengths)
    rows = Comparisons(np.vstack([lengths, gamed[0]]), np.vstack([preference, gamed[1]]), difficulty, 0.1)
    return LengthControlled(rows, STRENGTH)


def _true_shifts(scenario: Scenario) -> np.ndarray:
    return scenario.shifts


def _true_length_controlled(scenario: Scenario, questions: int = 20_000, seeds: int = 40) -> np.ndarray:
    """The rates of the same methods over very many questions, for seeds spaced evenly over their distribution."""
    rng = stream(0, "benchmarks", "coverage", "truth")
    spaced = math.hypot(scenario.world.seed, SHARED.seed) * ndtri((np.arange(seeds) + 0.5) / seeds)
    difficulty, gamed = _question_set(rng, questions)
    scatter = math.hypot(scenario.world.question, SHARED.question, scenario.world.residual)
    by_shift = {}
    for shift in sorted(set(scenario.shifts.tolist())):
        fresh = stream(0, "benchmarks", "coverage", "questions")  # the same for every shift: their difference is then exact
        cells = (shift + seed + scatter * fresh.standard_normal(questions) for seed in spaced)
        by_shift[shift] = float(np.mean([_regression(fresh, difficulty, gamed, own).value for own in cells]))
    return np.array([by_shift[shift] for shift in scenario.shifts.tolist()])


MEAN, WEIGHTED, REGRESSION = "mean over questions", "weighted mean, by draws of questions", "length-controlled regression"
DRAWS: dict[str, Callable[[np.random.Generator, Scenario], list[Sample]]] = {
    MEAN: _means,
    WEIGHTED: _weighted_means,
    REGRESSION: _length_controlled,
}
TRUTHS: dict[str, Callable[[Scenario], np.ndarray]] = {
    MEAN: _true_shifts,
    WEIGHTED: _true_shifts,
    REGRESSION: _true_length_controlled,
}


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Line:
    """One line of the table: scenarios that differ in the number of seeds."""

    metric: str
    world: World
    questions: int
    different: bool

    def scenarios(self) -> list[Scenario]:
        """One per number of seeds."""
        return [Scenario(self.metric, self.world, seeds, self.questions, self.different) for seeds in SEEDS]


def lines() -> Iterator[Line]:
    """Every world at the size of MT-Bench and of AlpacaEval as means, some by draws of questions, and the regression once."""
    for different in (False, True):
        yield from (Line(MEAN, world, questions, different) for world in WORLDS for questions in (80, 805))
    for different in (False, True):
        yield from (Line(WEIGHTED, world, 80, different) for world in (WORLDS[0], *WORLDS[-2:]))
        yield Line(REGRESSION, PREFERENCES, 80, different)


HEADER = ("metric", "spread", "questions", "differ", "differences held %", "levels held %", "false %", "false by t %", "found %")


def table(rows: Iterable[tuple[Line, Sequence[Tally]]]) -> Iterator[str]:
    """Markdown; every cell holds the numbers of 3, 5 and 10 seeds."""
    yield f"| {' | '.join(HEADER)} |"
    yield f"| {' | '.join(['---'] * 2 + ['---:'] * (len(HEADER) - 2))} |"
    for line, tallies in rows:
        differ = DIFFERENT if line.different and line.metric != REGRESSION else int(line.different)
        shares = ([getattr(tally, name) for tally in tallies] for name in Tally.__dataclass_fields__)
        cells = [" ".join("" if math.isnan(share) else f"{share:.1f}" for share in own).strip() for own in shares]
        yield f"| {' | '.join([line.metric, line.world.name, str(line.questions), str(differ), *cells])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=5000, help="simulated boards for each number (default 5000)")
    parser.add_argument("--regression-boards", type=int, default=1000, help="the same for the regression, which is slow (default 1000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    plan = [(line, scenario) for line in lines() for scenario in line.scenarios()]
    boards = [given.regression_boards if line.metric == REGRESSION else given.boards for line, _ in plan]
    with ProcessPoolExecutor(given.jobs) as pool:
        tallies = pool.map(simulate, [scenario for _, scenario in plan], boards)
        rows = ((line, [next(tallies) for _ in SEEDS]) for line in lines())
        for text in table(rows):
            print(text, flush=True)


if __name__ == "__main__":
    main()
