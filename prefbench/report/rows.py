"""The rows of a leaderboard, re-derived from records and judged items, and their order: by condition, then by the metric that ranks the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefbench.config import UNTRAINED
from prefbench.report.costs import costs
from prefbench.report.evidence import CellEvidence, Evidence, scores_of, track_title
from prefbench.report.findings import Finding, findings
from prefbench.report.keys import BASELINE, Key
from prefbench.report.layout import COSTS, RANKING, Metric, ordered
from prefbench.report.outcome import SUBMITTED
from prefbench.report.samples import Sample, difference, samples
from prefbench.report.stats import Estimate
from prefbench.tune.study import Study

MIXED = "mixed"
"""The mode of a row with seeds that were run here and seeds that were run elsewhere."""


@dataclass(frozen=True)
class Row:
    """A method with a scheduler over its seeds.

    ``metrics`` holds mean and interval by name, ``versus`` the paired difference to the baseline row, ``costs`` means over seeds, and
    ``counts`` sums over seeds by harness. ``refused`` says which metric some seeds cannot give and why, ``unfinished`` which cells have no
    result and why. ``submitted`` are the seeds that were run elsewhere, and ``mode`` says whether that is none, some or all of them.
    ``settings`` are the record's blocks ``method`` and ``scheduler``.
    """

    key: Key
    seeds: tuple[int, ...]
    metrics: Mapping[str, Estimate]
    versus: Mapping[str, Estimate]
    costs: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]]
    refused: tuple[str, ...]
    unfinished: tuple[str, ...]
    mode: str
    submitted: tuple[int, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def method(self) -> str:
        """The method's label."""
        return self.key.method

    @property
    def scheduler(self) -> str:
        """The scheduler's label."""
        return self.key.scheduler

    @property
    def condition(self) -> str:
        """The condition's label; empty where it has none."""
        return self.key.condition

    @property
    def label(self) -> str:
        """``dpo + uniform``; the method alone for a trivial row; the condition behind a comma."""
        return self.key.label


@dataclass(frozen=True)
class Board:
    """A track's rows, best first, and the metrics that any of them has, in their fixed order."""

    track: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    ranked_by: Metric | None
    rows: tuple[Row, ...]
    studies: Mapping[str, Study] = field(default_factory=dict)
    sessions: tuple[Mapping[str, Any], ...] = ()
    scale: str = ""
    findings: tuple[Finding, ...] = ()
    """What the board says of the claims of papers, and the scale at which it says so."""

    @property
    def title(self) -> str:
        """The track's name and version."""
        return track_title(self.track)

    @property
    def compared(self) -> tuple[Metric, ...]:
        """The metrics with a difference to the baseline."""
        names = {name for row in self.rows for name in row.versus}
        return tuple(metric for metric in self.metrics if metric.name in names)

    @property
    def counted(self) -> list[tuple[str, str]]:
        """Harness and name of every count, sorted."""
        return sorted({(harness, name) for row in self.rows for harness, counts in row.counts.items() for name in counts})

    @property
    def conditions(self) -> bool:
        """Whether any row has a condition."""
        return any(row.condition for row in self.rows)

    @property
    def submissions(self) -> bool:
        """Whether any cell was run elsewhere."""
        return any(row.submitted for row in self.rows)

    def has(self, name: str) -> bool:
        """Whether any row has the metric."""
        return any(metric.name == name for metric in self.metrics)


def build(evidence: Evidence) -> Board:
    """The rows of the cells, sorted by the first metric of ``RANKING`` that any has; a row without it comes last."""
    groups = evidence.rows
    measured = samples([scores_of(cells) for cells in groups.values()])
    metrics = ordered(name for own in measured for name in own)
    by_key = dict(zip(groups, measured, strict=True))
    rows = [_row(cells, by_key[key], metrics, by_key.get(Key(*BASELINE, key.condition), {})) for key, cells in groups.items()]
    ranked_by = next((metric for metric in RANKING if metric in metrics), None)
    conditions = [*evidence.track.get("conditions", {}), ""]
    ranked = tuple(sorted(rows, key=lambda row: (conditions.index(row.condition), *_rank(row, ranked_by))))
    found = findings(evidence, by_key)
    return Board(evidence.track, tuple(metrics), ranked_by, ranked, evidence.studies, evidence.sessions, evidence.claims.scale, found)


def _rank(row: Row, metric: Metric | None) -> tuple[bool, float, str, str]:
    estimate = row.metrics.get(metric.name) if metric else None
    return estimate is None, -estimate.value if estimate else 0.0, row.method, row.scheduler


def _row(cells: Sequence[CellEvidence], own: Mapping[str, Sample], metrics: Sequence[Metric], baseline: Mapping[str, Sample]) -> Row:
    done = [cell for cell in cells if cell.scores]
    key = cells[0].row
    versus = {} if key[:2] == BASELINE else {m.name: difference(own.get(m.name), baseline.get(m.name)) for m in RANKING}
    return Row(
        key=key,
        seeds=tuple(cell.seed for cell in done),
        metrics={metric.name: metric.clip(own[metric.name].estimate()) for metric in metrics if metric.name in own},
        versus={name: estimate for name, estimate in versus.items() if estimate},
        costs=_costs([cell.record for cell in done]),
        counts=_counts(done),
        refused=_refused(done),
        unfinished=tuple(_unfinished(cell.record) for cell in cells if not cell.scores),
        mode=_mode(cells),
        submitted=tuple(cell.seed for cell in cells if cell.record["mode"] == SUBMITTED),
        settings={
            "method": cells[0].record["method"],
            "scheduler": cells[0].record["scheduler"],
            "columns": cells[0].record["include"]["train"].get("columns"),
            "condition": cells[0].record.get("condition", {}),
        },
    )


def _mode(cells: Sequence[CellEvidence]) -> str:
    modes = {str(cell.record["mode"]) for cell in cells}
    return modes.pop() if len(modes) == 1 else MIXED


def _costs(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the seeds that have the cost: a model that was not trained has few."""
    found = [costs(record) for record in records]
    values = {cost.name: [own[cost.name] for own in found if cost.name in own] for cost in COSTS}
    return {name: float(np.mean(own)) for name, own in values.items() if own}


def _counts(cells: Sequence[CellEvidence]) -> dict[str, dict[str, int]]:
    sums: dict[str, dict[str, int]] = {}
    for cell in cells:
        for harness, counts in cell.scores.counts.items() if cell.scores else ():
            own = sums.setdefault(harness, {})
            for name, count in counts.items():
                own[name] = own.get(name, 0) + count
    return sums


def _refused(cells: Sequence[CellEvidence]) -> tuple[str, ...]:
    seeds: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        for refusal in cell.scores.refused.items() if cell.scores else ():
            seeds.setdefault(refusal, []).append(f"s{cell.seed}")
    return tuple(f"{', '.join(own)}: no {metric}: {why}" for (metric, why), own in seeds.items())


def _unfinished(record: Mapping[str, Any]) -> str:
    error = record.get("error")
    reason = str(error["message"]).strip().splitlines()[:1] if error else []
    return ": ".join([f"s{record['seed']} {record['status']}", *reason])


def written_options(options: Mapping[str, Any] | None) -> str:
    """``beta=0.3, gamma=0.5``; of a chain ``selective(share=0.5) + sams(ratio=0.75)``."""
    found = options or {}
    if found and all(isinstance(value, Mapping) for value in found.values()):
        return " + ".join(f"{link}({written_options(own)})" for link, own in found.items())
    return ", ".join(f"{name}={value}" for name, value in found.items())


def tuning_of(row: Row) -> str:
    """``tuned``, ``tuned under clean`` where the study is another condition's, ``pre-tuned`` or ``defaults``; empty where nothing was trained."""
    found = row.settings["method"].get("tuning", "pre-tuned" if row.key.scheduler != UNTRAINED else "")
    if isinstance(found, str):
        return found
    other = row.settings["condition"].get("tuned_in")
    return f"tuned under {other}" if other else "tuned"
