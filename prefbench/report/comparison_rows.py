"""A comparison as rows to print: short for people, every number for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prefbench.report.comparison import Comparison, Difference
from prefbench.report.layout import Metric
from prefbench.report.stats import Estimate
from prefbench.report.verdicts import screening

NO_DECISION = "no decision"

SMALLEST_P = 0.001
"""Below it people read no more than that."""


def verdict_word(metric: Metric, row: Difference) -> str:
    """``better``, ``worse`` or ``no decision``; ``higher`` or ``lower`` of a metric that has no better side."""
    if row.verdict is None or row.verdict.side == 0:
        return NO_DECISION
    above, below = ("better", "worse") if metric.ascending else ("higher", "lower")
    return above if row.verdict.side > 0 else below


def title_of(comparison: Comparison) -> str:
    """What is subtracted from what, and for how many differences the p-values allow."""
    metric = f"{comparison.metric.title}{', %' if comparison.metric.percent else ''}"
    return f"{comparison.title}: {metric}, minus {comparison.against}; p corrected for {comparison.family} (Holm)"


def rows_for(comparison: Comparison, format: str) -> Sequence[Mapping[str, object]]:
    """Short rows for ``table`` and ``md``, every number for ``json`` and ``csv``."""
    row = _short_row if format in ("table", "md") else _long_row
    return [row(comparison.metric, difference) for difference in comparison.rows]


def _short_row(metric: Metric, row: Difference) -> dict[str, object]:
    """The detectable difference stands with every "no decision" that it could have turned."""
    verdict, word = row.verdict, verdict_word(metric, row)
    seeds = row.estimate.seeds if row.estimate else 0
    shown = verdict is not None and word == NO_DECISION and verdict.detectable > 0
    return {
        "row": row.label,
        "seeds": f"{seeds}{screening(seeds)}",
        "value": metric.show(row.value),
        "difference": metric.show(row.estimate),
        "p": written_p(verdict.corrected) if verdict else "",
        "verdict": word,
        "detectable": metric.number(verdict.detectable) if verdict and shown else "",
        "note": "; ".join(_notes(row)),
    }


def _long_row(metric: Metric, row: Difference) -> dict[str, object]:
    estimate, verdict = row.estimate, row.verdict
    return {
        "row": row.label,
        "against": row.against,
        "metric": metric.name,
        "seeds": estimate.seeds if estimate else 0,
        "questions": estimate.questions if estimate else 0,
        "value": _value(row.value),
        "against_value": _value(row.baseline),
        "difference": _value(estimate),
        "low": _known(estimate.low if estimate else None),
        "high": _known(estimate.high if estimate else None),
        "se": _known(estimate.se if estimate else None),
        "df": _known(estimate.df if estimate else None),
        "p": _known(verdict.p if verdict else None),
        "p_corrected": _known(verdict.corrected if verdict else None),
        "verdict": verdict_word(metric, row),
        "detectable": _known(verdict.detectable if verdict else None),
        "note": "; ".join(_notes(row)),
    }


def written_p(p: float) -> str:
    """``0.013``, ``< 0.001``; empty where there is none."""
    if math.isnan(p):
        return ""
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def _notes(row: Difference) -> list[str]:
    reason = row.verdict.reason if row.verdict else ""
    return [*row.notes, *([reason] if reason else [])]


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None


def _known(number: float | None) -> float | None:
    return None if number is None or math.isnan(number) else number
