"""What a board says of claims: holds, does not hold, or undecided, from its own paired intervals and corrected for the number of claims."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.report.claims import Claim, Term
from prefbench.report.costs import costs
from prefbench.report.evidence import CellEvidence, Evidence, scores_of
from prefbench.report.keys import Key
from prefbench.report.layout import ordered
from prefbench.report.samples import MeanSample, Sample, combined, samples
from prefbench.report.stats import Estimate
from prefbench.report.verdicts import ALPHA, ONE_SEED, detectable, holm, one_sided, p_value

HOLDS, FAILS, OPEN = "holds on this track", "does not hold on this track", "undecided"


@dataclass(frozen=True)
class Finding:
    """A claim with what the board has to say of it: the estimate of the statement's left side (a ratio's on a log scale), the p-value of the
    verdict and the same corrected by Holm, the difference from the bound that would have been found, and why there is no verdict."""

    claim: Claim
    verdict: str
    estimate: Estimate | None = None
    p: float = math.nan
    corrected: float = math.nan
    detectable: float = math.nan
    reason: str = ""

    def shown(self, value: float) -> str:
        """A value of the left side as people read it: a share in percent, a ratio as a ratio."""
        if self.claim.statement.ratio:
            return f"{math.exp(value):.2f}"
        return ordered([self.claim.statement.terms[0].metric])[0].number(value)


def read_findings(evidence: Evidence) -> tuple[Finding, ...]:
    """The findings of a folder's claims, from samples of the metrics that these speak of."""
    rows = evidence.rows
    asked = {term.metric for claim in evidence.claims.claims for term in claim.statement.terms}
    measured = samples([scores_of(cells) for cells in rows.values()], asked)
    return findings(evidence, dict(zip(rows, measured, strict=True)))


def findings(evidence: Evidence, measured: Mapping[Key, Mapping[str, Sample]]) -> tuple[Finding, ...]:
    """A finding for each claim, in their order. Claims that lack a record, a row or a metric are undecided, and not of the family."""
    seeds = tuple(evidence.track["track"].get("seeds", ()))
    found = [_estimated(claim, evidence, measured, seeds) for claim in evidence.claims.claims]
    tested = [finding for finding in found if finding.estimate]
    corrected = iter(holm([finding.p for finding in tested]))
    return tuple(_decided(finding, next(corrected), len(tested)) if finding.estimate else finding for finding in found)


def _estimated(claim: Claim, evidence: Evidence, measured: Mapping[Key, Mapping[str, Sample]], seeds: Sequence[int]) -> Finding:
    parts: list[tuple[float, Sample]] = []
    for term in claim.statement.terms:
        sample = _sample(term, evidence, measured, seeds, claim.statement.ratio)
        if isinstance(sample, str):
            return Finding(claim, OPEN, reason=sample)
        parts.append((term.sign, sample))
    whole = combined(parts)
    if whole is None:
        return Finding(claim, OPEN, reason="the rows share no seed and no question")
    estimate = whole.estimate()
    if estimate.seeds < 2:
        return Finding(claim, OPEN, reason=ONE_SEED)
    return Finding(claim, OPEN, estimate, p=_p(claim, estimate))


def _sample(
    term: Term, evidence: Evidence, measured: Mapping[Key, Mapping[str, Sample]], seeds: Sequence[int], ratio: bool
) -> Sample | str:
    """The sample of a term, or why there is none."""
    key = next((key for key in term.meant() if key in measured), None)
    if key is None:
        return f"the board has no row {term.meant()[0].label}"
    cells = {cell.seed: cell for cell in evidence.cells.values() if cell.row == key}
    lost = [seed for seed in seeds if seed not in cells or not cells[seed].scores]
    if lost:
        name = ".".join(part for part in key if part)
        states = dict.fromkeys(str(cells[seed].record["status"]) if seed in cells else "no record" for seed in lost)
        return f"{', '.join(f'{name}.s{seed}' for seed in lost)}: {', '.join(states)}"
    found = measured[key].get(term.metric) or _cost(term.metric, cells)
    if found is None:
        return f"{key.label} has no {term.metric}"
    return _logarithm(found) if ratio else found


def _cost(name: str, cells: Mapping[int, CellEvidence]) -> Sample | None:
    """A cost of each seed, as a metric of a single question; None where the cells have no cost of that name."""
    values = [costs(cell.record).get(name) for cell in cells.values()]
    return None if None in values else MeanSample(tuple(cells), np.array(values, dtype=np.float64)[:, None])


def _logarithm(sample: Sample) -> Sample | str:
    """Each seed's mean on a log scale, so that a ratio is a difference. A ratio of means over questions is one of its seeds alone."""
    values = sample.values if sample.values.ndim == 1 else np.nanmean(sample.values, axis=1)
    if not (values > 0).all():
        return "a ratio of numbers that are not above 0"
    return MeanSample(sample.seeds, np.log(values)[:, None])


# ---------------------------------------------------------------- verdicts


def _bound(claim: Claim) -> float:
    return math.log(claim.statement.bound) if claim.statement.ratio else claim.statement.bound


def _beyond(estimate: Estimate, bound: float) -> Estimate:
    """The estimate of how far the left side lies above a bound."""
    return dataclasses.replace(estimate, value=estimate.value - bound)


def _p(claim: Claim, estimate: Estimate) -> float:
    """Of an inequality that of a difference to either side; of an equality the smaller one of the two one-sided tests that it holds together,
    and of a difference beyond the margin: of these two only one can be true."""
    if claim.margin is None:
        return p_value(_beyond(estimate, _bound(claim)))
    return min(_p_within(claim, estimate), _p_outside(claim, estimate))


def _from_the_ends(claim: Claim, estimate: Estimate) -> list[Estimate]:
    """How far the left side lies above the lower and above the upper end of the margin."""
    return [_beyond(estimate, _bound(claim) + side * (claim.margin or 0.0)) for side in (-1, 1)]


def _p_within(claim: Claim, estimate: Estimate) -> float:
    low, high = _from_the_ends(claim, estimate)
    return max(one_sided(low, 1), one_sided(high, -1))


def _p_outside(claim: Claim, estimate: Estimate) -> float:
    low, high = _from_the_ends(claim, estimate)
    return min(1.0, 2 * min(one_sided(low, -1), one_sided(high, 1)))


def _decided(finding: Finding, corrected: float, family: int) -> Finding:
    claim, estimate = finding.claim, finding.estimate
    assert estimate is not None
    verdict = OPEN
    if corrected <= ALPHA:
        verdict = HOLDS if _is_as_stated(claim, estimate) else FAILS
    return dataclasses.replace(finding, verdict=verdict, corrected=corrected, detectable=detectable(estimate, family))


def _is_as_stated(claim: Claim, estimate: Estimate) -> bool:
    if claim.margin is not None:
        return _p_within(claim, estimate) < _p_outside(claim, estimate)
    above = estimate.value > _bound(claim)
    return above if claim.statement.sign == ">" else not above
