"""Rows compared with a baseline, or the rows of two folders with each other: paired differences and what they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.errors import PrefbenchError
from prefbench.plan import differences
from prefbench.registry import did_you_mean
from prefbench.report.evidence import CellEvidence, Evidence, scores_of
from prefbench.report.keys import BASELINE, Key
from prefbench.report.layout import RANKING, Metric, ordered
from prefbench.report.samples import FittedSample, Sample, paired, samples
from prefbench.report.stats import Estimate
from prefbench.report.verdicts import Verdict, judge

IDENTICAL = "identical"


@dataclass(frozen=True)
class Difference:
    """A row minus what it is compared with: both means, the paired difference and its verdict; None and a note where there is no result."""

    label: str
    against: str
    value: Estimate | None
    baseline: Estimate | None
    estimate: Estimate | None
    verdict: Verdict | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The differences of one metric, best row first. ``against`` names the baseline; ``unpaired`` names rows that only one folder has."""

    title: str
    metric: Metric
    against: str
    rows: tuple[Difference, ...]
    unpaired: tuple[str, ...] = ()

    @property
    def family(self) -> int:
        """How many differences Holm's correction allows for."""
        return sum(row.verdict is not None and not row.verdict.reason for row in self.rows)


@dataclass(frozen=True)
class Entry:
    """A row of one folder, with its sample of the metric that is compared."""

    folder: Path
    label: str
    cells: tuple[CellEvidence, ...]
    sample: Sample | None


def compare(evidence: Mapping[Path, Evidence], metric: str | None = None, baseline: str | None = None) -> Comparison:
    """The comparison of folders that follow the same rules, see ``refuse_other_rules``.

    Two folders without a ``baseline``: the second's rows against those of the same name in the first. Otherwise every row of all folders
    against the baseline row, ``dpo`` unless named. Raises PrefbenchError for an unknown metric or baseline, with the nearest name.
    """
    chosen = _metric(evidence, metric)
    entries = _entries(evidence, chosen.name)
    title = next(iter(evidence.values())).title
    if len(evidence) == 2 and baseline is None:
        return _two_runs(title, chosen, entries)
    entries = _told_apart(entries)
    name = baseline or BASELINE[0]
    conditions = dict.fromkeys(entry.cells[0].row.condition for entry in entries)
    if len(conditions) > 1 and name not in {entry.label for entry in entries}:
        return _by_condition(title, chosen, name, entries, list(conditions))
    against = _baseline(entries, name, chosen)
    return Comparison(title, chosen, against.label, _differences([(entry, against) for entry in entries if entry is not against]))


def _by_condition(title: str, metric: Metric, name: str, entries: Sequence[Entry], conditions: Sequence[str]) -> Comparison:
    """Every row against the baseline of its own condition; one family for all. Rows of a condition without the baseline are not compared."""
    pairs, alone = [], []
    for condition in conditions:
        own = [entry for entry in entries if entry.cells[0].row.condition == condition]
        against = _find(own, f"{name}, {condition}") or _find(own, Key(name, BASELINE[1], condition).label) or _find(own, name)
        pairs += [(entry, against) for entry in own if against and entry is not against]
        alone += [] if against else own
    if not pairs:
        _baseline(entries, name, metric)  # says what there is
    return Comparison(title, metric, f"{name} of the same condition", _differences(pairs), tuple(entry.label for entry in alone))


def _find(entries: Sequence[Entry], label: str) -> Entry | None:
    return next((entry for entry in entries if label in (entry.label, entry.label.removeprefix(f"{entry.folder}: "))), None)


def _two_runs(title: str, metric: Metric, entries: Sequence[Entry]) -> Comparison:
    first, second = dict.fromkeys(entry.folder for entry in entries)
    before, after = ({entry.label: entry for entry in entries if entry.folder == folder} for folder in (first, second))
    shared = [label for label in after if label in before]
    if not shared:
        raise PrefbenchError(f"{first} and {second} share no row", "name the row to compare all with: --baseline ROW")
    alone = [entry for entry in entries if entry.label not in shared]
    pairs = [(after[label], before[label]) for label in shared]
    return Comparison(title, metric, str(first), _differences(pairs), tuple(f"{entry.folder}: {entry.label}" for entry in alone))


# ---------------------------------------------------------------- what is compared


def _metric(evidence: Mapping[Path, Evidence], name: str | None) -> Metric:
    scores = [cell.scores for found in evidence.values() for cell in found.cells.values() if cell.scores]
    known = ordered(key for score in scores for key in (*score.means, *score.fits))
    if name is None:
        refused = {key for score in scores for key in score.refused}
        found = next((metric for metric in (*RANKING, *known) if metric in known and metric.name not in refused), None)
    else:
        found = next((metric for metric in known if metric.name == name), None)
    if found is None:
        names = ", ".join(metric.name for metric in known) or "none: no cell has a result"
        near = did_you_mean(name or "", [metric.name for metric in known])
        raise PrefbenchError(f"no metric {name!r}" if name else "no metric to compare", near or f"metrics: {names}")
    return found


def _entries(evidence: Mapping[Path, Evidence], metric: str) -> list[Entry]:
    """The rows of all folders, their samples on axes that all share."""
    groups: dict[tuple[Path, str], list[CellEvidence]] = {}
    for folder, found in evidence.items():
        for cell in found.cells.values():
            groups.setdefault((folder, cell.row.label), []).append(cell)
    measured = samples([scores_of(cells) for cells in groups.values()], [metric])
    entries = [Entry(*key, tuple(cells), own.get(metric)) for (key, cells), own in zip(groups.items(), measured, strict=True)]
    _refuse_other_calibrations(entries)
    return entries


def _refuse_other_calibrations(entries: Sequence[Entry]) -> None:
    """A fitted metric rests on numbers that were fixed once per folder: two folders that fixed different ones fitted different things."""
    fixed: dict[str, Path] = {}
    for entry in entries:
        if isinstance(entry.sample, FittedSample):
            for cell in entry.cells:
                if cell.scores:
                    fixed.setdefault(cell.record["result"]["calibration_sha256"], entry.folder)
    if len(fixed) > 1:
        raise PrefbenchError(
            f"the metric is fitted with calibrations that differ: {', '.join(f'{key[:12]} in {folder}' for key, folder in fixed.items())}",
            "compare a metric that is a mean over questions, such as --metric win_rate",
        )


def _told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """A label that several folders have gets the folder's name."""
    labels = [entry.label for entry in entries]
    shared = {label for label in labels if labels.count(label) > 1}
    return [
        Entry(entry.folder, f"{entry.folder}: {entry.label}", entry.cells, entry.sample) if entry.label in shared else entry
        for entry in entries
    ]


def _baseline(entries: Sequence[Entry], name: str, metric: Metric) -> Entry:
    """The row of that label; a method's name stands for its row with ``uniform``; of several folders' the first."""
    found = _find(entries, name) or _find(entries, Key(name, BASELINE[1]).label)
    if found and found.sample is None:
        raise PrefbenchError(f"{found.label} has no {metric.name} to compare with", "name another row: --baseline ROW")
    if found:
        return found
    labels = [entry.label for entry in entries]
    methods = [entry.cells[0].row.method for entry in entries]
    raise PrefbenchError(f"no row {name!r} to compare with", did_you_mean(name, [*labels, *methods]) or f"rows: {', '.join(labels)}")


# ---------------------------------------------------------------- the differences


def _differences(pairs: Sequence[tuple[Entry, Entry]]) -> tuple[Difference, ...]:
    """A difference for each pair, its verdict corrected for all of them; by the value of the row, those without one last."""
    found = [paired(entry.sample, against.sample) for entry, against in pairs]
    estimates = [sample.estimate() if sample else None for sample in found]
    verdicts = iter(judge([estimate for estimate in estimates if estimate]))
    rows = [
        Difference(
            label=entry.label,
            against=against.label,
            value=entry.sample.estimate() if entry.sample else None,
            baseline=against.sample.estimate() if against.sample else None,
            estimate=estimate,
            verdict=next(verdicts) if estimate else None,
            notes=tuple(_notes(entry, against, sample)),
        )
        for (entry, against), sample, estimate in zip(pairs, found, estimates, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (row.value is None, -row.value.value if row.value else 0.0, row.label)))


def _notes(entry: Entry, against: Entry, sample: Sample | None) -> list[str]:
    """What a reader of the difference must not miss."""
    notes = [f"no result in {side.folder}" for side in (entry, against) if side.sample is None]
    if entry.sample and against.sample:
        most = max(len(entry.sample.seeds), len(against.sample.seeds))
        paired_seeds = len(sample.seeds) if sample else 0
        notes += [f"{paired_seeds} of {most} seeds are in both"] if paired_seeds < most else []
        notes += [IDENTICAL] if sample and sample.nothing else []
    return notes + (_changed_settings(entry, against) if entry.folder != against.folder and _same_row(entry, against) else [])


def _same_row(entry: Entry, against: Entry) -> bool:
    return entry.cells[0].row == against.cells[0].row


def _changed_settings(entry: Entry, against: Entry) -> list[str]:
    """How a row of the same name was set differently in the other folder."""
    after, before = ({block: _settings(side.cells[0].record[block]) for block in ("method", "scheduler")} for side in (entry, against))
    return list(differences(before, after))


def _settings(block: Mapping[str, Any]) -> dict[str, Any]:
    """A record's block with its origin cut to what a reader can tell apart."""
    origin = block.get("origin") or {}
    return {**block, "origin": f"{origin.get('distribution')} {origin.get('version')} {str(origin.get('source_sha256'))[:8]}"}
