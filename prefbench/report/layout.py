"""The columns of a board in their fixed order, and how each number is written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from prefbench.report.stats import Estimate

DIGITS = 6
"""Significant digits in board.csv."""

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
"""MT-Bench's, in its order."""


@dataclass(frozen=True)
class Metric:
    """A metric's name in records, its title on a page, how it is shown, the range that its true value lies in, and whether more is better
    (otherwise no side is)."""

    name: str
    title: str
    decimals: int = 2
    percent: bool = False
    low: float = -math.inf
    high: float = math.inf
    ascending: bool = False

    def clip(self, estimate: Estimate) -> Estimate:
        """The estimate with its interval cut to the metric's range."""
        return dataclasses.replace(estimate, low=_clip(estimate.low, self), high=_clip(estimate.high, self))

    def show(self, estimate: Estimate | None) -> str:
        """``64.9 [61.9, 67.9]``; the value alone where nothing can be said about its spread; empty without an estimate."""
        if estimate is None:
            return ""
        if math.isnan(estimate.se):
            return self.number(estimate.value)
        return f"{self.number(estimate.value)} [{self.number(estimate.low)}, {self.number(estimate.high)}]"

    def number(self, value: float) -> str:
        """A value as a page shows it: a share as a percentage."""
        return fixed(100 * value if self.percent else value, self.decimals)


def _share(name: str, title: str) -> Metric:
    return Metric(name, title, decimals=1, percent=True, low=0.0, high=1.0, ascending=True)


def _rate(name: str, title: str) -> Metric:
    """A share of which neither more nor less is better."""
    return Metric(name, title, decimals=1, percent=True, low=0.0, high=1.0)


def _rating(name: str, title: str) -> Metric:
    return Metric(name, title, low=1.0, high=10.0, ascending=True)


GOLD = _share("gold_win_rate", "Gold win rate")
JUDGED = _share("win_rate", "Judge win rate")
CONTROLLED = _share("length_controlled_win_rate", "Length-controlled win rate")
ACCURACY = _share("held_out_accuracy", "Held-out accuracy")

RANKING = (GOLD, CONTROLLED, JUDGED, ACCURACY)
"""A board is sorted by the first of these that it has."""

METRICS = (
    GOLD,
    JUDGED,
    CONTROLLED,
    _rate("flip_rate", "Flip rate"),
    _share("alpaca_eval_1_win_rate", "AlpacaEval 1 win rate"),
    _rate("alpaca_eval_1_flip_rate", "AlpacaEval 1 flip rate"),
    _rating("mt_bench", "MT-Bench"),
    _rating("mt_bench_turn_1", "Turn 1"),
    _rating("mt_bench_turn_2", "Turn 2"),
    *(_rating(f"mt_bench[{category}]", category.capitalize()) for category in CATEGORIES),
    _share("mt_bench_win_rate", "MT-Bench win rate"),
    _share("mt_bench_win_rate_turn_1", "Turn 1"),
    _share("mt_bench_win_rate_turn_2", "Turn 2"),
    *(_share(f"mt_bench_win_rate[{category}]", category.capitalize()) for category in CATEGORIES),
    _rate("mt_bench_flip_rate", "MT-Bench flip rate"),
    ACCURACY,
    _share("held_out_gold_accuracy", "Held-out gold accuracy"),
    Metric("margin", "Margin (nats)"),
    Metric("chosen_reward", "Chosen reward (nats)"),
    Metric("kl", "KL (nats)", low=0.0),
    Metric("length", "Length (characters)", decimals=1, low=0.0),
    Metric("alpaca_eval_1_length", "AlpacaEval 1 length (characters)", decimals=1, low=0.0),
)
"""Every metric that the built-in harnesses give. A win rate is a share on disk and a percentage on a page."""


@dataclass(frozen=True)
class Cost:
    """A cost of a row: the mean over its seeds, without an interval."""

    name: str
    title: str


COSTS = (
    Cost("columns_seconds", "Columns (s)"),
    Cost("select_seconds", "Select (s)"),
    Cost("train_seconds", "Train (s)"),
    Cost("pairs_forward", "Pairs forward"),
    Cost("pairs_backward", "Pairs backward"),
    Cost("flipped_percent", "Flipped labels among the trained (%)"),
    Cost("peak_memory_mib", "Peak memory (MiB)"),
)


def ordered(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names: the known ones in their order, each before those of labelled harnesses; then a stranger's by name."""
    present = set(names)
    known = [found for metric in METRICS for found in _under_labels(metric, present)]
    return known + [Metric(name, name) for name in sorted(present - {metric.name for metric in known})]


def _under_labels(metric: Metric, present: set[str]) -> list[Metric]:
    """A metric where it is present, and as harnesses with a label give it: ``win_rate@greedy`` is shown as ``win_rate`` is."""
    labelled = sorted(name for name in present if name.startswith(f"{metric.name}@"))
    own = [metric] if metric.name in present else []
    return own + [dataclasses.replace(metric, name=name, title=f"{metric.title}, {name.partition('@')[2]}") for name in labelled]


def fixed(value: float, decimals: int) -> str:
    """A number with that many decimals, and no minus before a zero."""
    return f"{round(_settled(value), decimals) + 0.0:.{decimals}f}"


def significant(value: float) -> str:
    """A number with ``DIGITS`` significant digits and no trailing zeros; empty for NaN."""
    return "" if math.isnan(value) else f"{_settled(value) + 0.0:.{DIGITS}g}"


def _settled(value: float) -> float:
    """The value to 12 digits: machines whose sums differ in the last bit then round a tie to the same side."""
    return float(f"{value:.11e}")


def _clip(bound: float, metric: Metric) -> float:
    return bound if math.isnan(bound) else min(max(bound, metric.low), metric.high)
