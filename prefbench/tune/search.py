"""Which settings are tried next, given what came of the earlier ones: Optuna's tree-structured Parzen estimator over a Sobol' start."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scipy.stats import qmc

from prefbench.config import Chosen, TuneRules

if TYPE_CHECKING:
    import optuna

SEED = 0
"""Of the tuner's own draws: the same for every row, so that all begin with the same settings."""
START = 0.5
"""Share of the trials that are spread over the space before anything is known."""
ROUNDS = 2
"""Rounds of the other trials: those of a round run side by side, and know what came of the rounds before."""
DIGITS = 3
"""Significant digits of a setting: what a board prints is what was run."""


def rounds(trials: int) -> list[range]:
    """The numbers of the trials, round by round."""
    start = max(1, round(START * trials))
    cuts = [0, *(start + (trials - start) * place // ROUNDS for place in range(ROUNDS + 1))]
    return [range(first, last) for first, last in pairwise(cuts) if last > first]


def propose(rules: TuneRules, has_beta: bool, rate: float | None, values: Sequence[float | None]) -> list[Chosen]:
    """The settings of all rounds whose earlier rounds have their values.

    ``values`` are the win rates of the first trials, None for one that failed. ``rate`` is a learning rate that is not searched, ``has_beta``
    whether there is a beta to search. The same values give the same settings.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = _space(rules, has_beta, rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        first = len(rounds(rules.trials)[0])
        # Learning rate and beta act together; and trials of one round are not to be all the same.
        sampler = optuna.samplers.TPESampler(seed=SEED, n_startup_trials=first, multivariate=True, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for point in _spread(space, first):
        study.enqueue_trial(point)
    found: list[Chosen] = []
    for numbers in rounds(rules.trials):
        asked = [study.ask(space) for _ in numbers]
        found += [_chosen(trial.params, rate) for trial in asked]
        if len(values) < numbers.stop:
            break
        for trial, value in zip(asked, values[numbers.start : numbers.stop], strict=True):
            study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)
    return found


def _space(rules: TuneRules, has_beta: bool, rate: float | None) -> dict[str, optuna.distributions.BaseDistribution]:
    from optuna.distributions import FloatDistribution

    bounds = {"learning_rate": rules.learning_rate} if rate is None else {}
    bounds |= {"beta": rules.beta} if has_beta else {}
    return {name: FloatDistribution(low, high, log=True) for name, (low, high) in bounds.items()}


def _spread(space: Mapping[str, Any], count: int) -> list[dict[str, float]]:
    """Points that fill the space evenly on a log scale."""
    if not space:
        return [{} for _ in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a number of points that is no power of two
        shares = qmc.Sobol(len(space), rng=SEED).random(count)
    return [
        {name: float(side.low * (side.high / side.low) ** share) for (name, side), share in zip(space.items(), point, strict=True)}
        for point in shares
    ]


def _chosen(params: Mapping[str, float], rate: float | None) -> Chosen:
    found = {name: float(f"{value:.{DIGITS}g}") for name, value in params.items()}
    return Chosen(found.get("learning_rate", rate or 0.0), found.get("beta"))
