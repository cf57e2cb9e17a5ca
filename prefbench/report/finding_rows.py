"""Findings as rows to print: short for people, every number for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prefbench.report.comparison_rows import written_p
from prefbench.report.findings import OPEN, Finding
from prefbench.report.verdicts import screening


def title_of(title: str, scale: str, found: Sequence[Finding]) -> str:
    """Whose claims, at which scale, and for how many the p-values allow."""
    tested = sum(finding.estimate is not None for finding in found)
    return f"{title}: claims, tested on {scale}; p corrected for {tested} (Holm)"


def rows_for(found: Sequence[Finding], format: str) -> list[Mapping[str, object]]:
    """Short rows for ``table`` and ``md``, every number for ``json`` and ``csv``."""
    return [short_row(finding) if format in ("table", "md") else _long_row(finding) for finding in found]


def short_row(finding: Finding) -> dict[str, str]:
    """The statement with the paper's number and ours; what could have been found stands with every claim that stays undecided."""
    claim = finding.claim
    return {
        "claim": f"{claim.paper}, {claim.place}: {claim.says}",
        "statement": _statement(finding),
        "published": "" if claim.published is None else _in_units(finding, claim.published),
        "found": _found(finding),
        "p": written_p(finding.corrected),
        "verdict": finding.verdict,
        "why": finding.reason or _detectable(finding),
    }


def _statement(finding: Finding) -> str:
    claim = finding.claim
    return claim.statement.text + ("" if claim.margin is None else f" within {claim.margin:g}")


def _in_units(finding: Finding, value: float) -> str:
    """A number of the left side as it stands in the claim: of a ratio, the ratio itself."""
    return f"{value:.2f}" if finding.claim.statement.ratio else finding.shown(value)


def _found(finding: Finding) -> str:
    estimate = finding.estimate
    if estimate is None:
        return ""
    value, low, high = (finding.shown(number) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]{screening(estimate.seeds)}"


def _detectable(finding: Finding) -> str:
    if finding.verdict != OPEN or math.isnan(finding.detectable):
        return ""
    if finding.claim.statement.ratio:
        return f"a factor of {math.exp(finding.detectable):.2f} would have been found"
    return f"a difference of {finding.shown(finding.detectable)} would have been found"


def _long_row(finding: Finding) -> dict[str, object]:
    """Estimates and bounds of a ratio are its logarithm."""
    claim, estimate = finding.claim, finding.estimate
    numbers = {name: getattr(estimate, name) if estimate else None for name in ("value", "low", "high", "se", "df", "seeds", "questions")}
    return {
        "paper": claim.paper,
        "place": claim.place,
        "says": claim.says,
        "statement": claim.statement.text,
        "margin": claim.margin,
        "published": claim.published,
        "logarithm": claim.statement.ratio,
        **numbers,
        "p": _known(finding.p),
        "p_corrected": _known(finding.corrected),
        "verdict": finding.verdict,
        "detectable": _known(finding.detectable),
        "reason": finding.reason,
    }


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
