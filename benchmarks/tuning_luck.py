"""What choosing settings on few seeds costs: how far validation win rates vary between seeds, and how much worse than the best the chosen trial is.

python -m benchmarks.tuning_luck leaderboards/prefworld leaderboards/prefworld-noise      a line for each board, from its tuning/

The loss is simulated on each study: its measured means stand for the truth, seeds are drawn around it, and the trial with the best mean is chosen.
Its truth falls short of the best one's by the loss. Measured means lie further apart than the truth that they stand for, because noise spreads them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prefbench.tune.study import Study, read_study

NEAR = 0.05
"""Trials this close to the best one are those that noise may lift above it."""
SEEDS = (1, 2, 4, 8)
DRAWS = 1000
RANDOM_SEED = 0


def win_rates(study: Study) -> np.ndarray:
    """Shape (T, S) for the T trials that ended with every seed."""
    known = [trial.attempts for trial in study.trials if trial.win_rate is not None]
    return np.array([[attempt.win_rate for attempt in attempts] for attempts in known], dtype=np.float64)


def seed_deviation(studies: Sequence[np.ndarray]) -> float:
    """The standard deviation of a policy's win rate between seeds, pooled over the trials of all studies that compete for being chosen."""
    means = [rates.mean(axis=1) for rates in studies]
    near = [rates[values >= values.max() - NEAR] for rates, values in zip(studies, means, strict=True)]
    return float(np.sqrt(np.concatenate([rates.var(axis=1, ddof=1) for rates in near]).mean()))


def losses(truth: np.ndarray, deviation: float, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """How far the truth of the chosen trial is below the best one's, shape (DRAWS,)."""
    seen = truth + rng.normal(0.0, deviation / seeds**0.5, (DRAWS, len(truth)))
    short: np.ndarray = truth.max() - truth[seen.argmax(axis=1)]
    return short


def line(name: str, studies: Sequence[np.ndarray]) -> str:
    """A row of the table, in points of win rate: mean loss and, in brackets, the one that a twentieth of the choices exceed."""
    rng, deviation = np.random.default_rng(RANDOM_SEED), seed_deviation(studies)
    cells = []
    for seeds in SEEDS:
        found = np.concatenate([losses(rates.mean(axis=1), deviation, seeds, rng) for rates in studies])
        cells.append(f"{100 * found.mean():.2f} ({100 * np.quantile(found, 0.95):.1f})")
    return f"| {name} | {len(studies)} | {len(studies[0])} | {100 * deviation:.1f} | {' | '.join(cells)} |"


def main(folders: Sequence[str]) -> None:
    """Print the table of these board folders."""
    print(
        "| board | rows | trials | deviation of a seed | " + " | ".join(f"loss, {seeds} seed{'s' * (seeds > 1)}" for seeds in SEEDS) + " |"
    )
    print("|---|---:|---:|---:|" + "---:|" * len(SEEDS))
    for folder in map(Path, folders):
        print(line(folder.name, [win_rates(read_study(path)) for path in sorted((folder / "tuning").glob("*.jsonl.gz"))]))


if __name__ == "__main__":
    main(sys.argv[1:])
