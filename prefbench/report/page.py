"""README.md of a board: its tables in Markdown, what they rest on, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product, starmap
from typing import Any

from prefbench.config import UNTRAINED
from prefbench.report.finding_rows import short_row
from prefbench.report.keys import BASELINE, Key
from prefbench.report.layout import ACCURACY, CATEGORIES, COSTS, METRICS, Metric
from prefbench.report.rows import MIXED, Board, Row, tuning_of, written_options
from prefbench.report.studies import sentence, study_rows
from prefbench.report.verdicts import SCREENING, screening


@dataclass(frozen=True)
class Column:
    """A table's column: its title, its cell for a row, and how Markdown aligns it."""

    title: str
    cell: Callable[[Row], str]
    align: str = "---:"


_HEADLINE = ("gold_win_rate", "win_rate", "length_controlled_win_rate", "mt_bench", "mt_bench_win_rate")
_ALPACA_EVAL = ("flip_rate", "alpaca_eval_1_win_rate", "alpaca_eval_1_flip_rate")
_MT_BENCH = tuple(
    name
    for metric in ("mt_bench", "mt_bench_win_rate")
    for name in (metric, f"{metric}_turn_1", f"{metric}_turn_2", *(f"{metric}[{category}]" for category in CATEGORIES))
)
_UNJUDGED = ("held_out_accuracy", "held_out_gold_accuracy", "margin", "chosen_reward", "kl", "length")
_LOST = ("null", "unparsed", "ambiguous")
"""Names of counts of questions that the judge left without a verdict, or with several."""


SINGLE_FILE = "a single file"
_COSTS = (
    "Times, pairs and memory are means over seeds, judgments are sums. *Columns* is what computing the row's columns took, whoever did it: "
    "reward models, policies trained to find the difficult pairs; *Select* is what its scheduler took."
)


def page(board: Board) -> str:
    """The whole page. The same records and items give the same text."""
    sections = [
        f"# {board.title}",
        board.track["track"].get("description", ""),
        _leaderboard(board),
        _claims(board),
        _section("AlpacaEval", _metrics(board, _ALPACA_EVAL), "", board),
        _section("MT-Bench", _metrics(board, (*_MT_BENCH, "mt_bench_flip_rate")), "", board),
        _section(
            "Without a judge", _metrics(board, _UNJUDGED), "Margin and chosen reward are log-ratios to the reference, without beta.", board
        ),
        _section("Other metrics", _metrics(board, _strangers(board)), "", board),
        _section("Costs", [*_costs(board), *_counts(board)], _COSTS, board),
        _section("Settings", _settings(board), f"Tuning: {board.track['track'].get('tuning') or 'not declared'}.", board),
        _tuning(board),
        _rules(board),
        _again(board),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


# ---------------------------------------------------------------- sections


def _leaderboard(board: Board) -> str:
    columns = [Column("Seeds", _seeds), *(_metrics(board, _HEADLINE) or _metrics(board, [ACCURACY.name]))]
    ranking = [metric for metric in board.compared if metric == board.ranked_by]
    columns[2:2] = [Column(f"{metric.title} minus {BASELINE[0]}'s", partial(_difference, metric)) for metric in ranking]
    if board.submissions:
        columns.insert(1, Column("Mode", lambda row: row.mode, "---"))
    return "\n\n".join([_table(board, columns), _legend(board), "![Every row with its intervals](forest.png)"])


def _difference(metric: Metric, row: Row) -> str:
    return metric.show(row.versus.get(metric.name))


def _seeds(row: Row) -> str:
    return f"{len(row.seeds)}{screening(len(row.seeds))}"


def _legend(board: Board) -> str:
    """What the intervals mean, and everything that a reader of the numbers above must not miss."""
    lines = [
        "Mean over seeds [95 % interval over crossed seeds and questions], win rates and accuracies in percent. "
        "The intervals speak of this base model and these pairs.",
        f"A seed varies {', '.join(board.track['track'].get('seed_varies', ())) or 'what the track does not declare'}.",
    ]
    if board.compared:
        if board.conditions:
            lines.append("Rows are compared with the baseline under the same condition.")
        lines.append("The difference is paired over seeds and questions, and not corrected for the number of rows.")
    if any(0 < len(row.seeds) < SCREENING for row in board.rows):
        lines.append(f"Screening: fewer than {SCREENING} seeds, enough for large differences only.")
    if any(len(row.seeds) == 1 for row in board.rows):
        lines.append("The interval of a single seed speaks of questions only.")
    if board.submissions:
        lines.append("Submitted: run elsewhere; checked here from records and items, not run again.")
    lines += [f"{row.label}: {', '.join(f's{seed}' for seed in row.submitted)} submitted." for row in board.rows if row.mode == MIXED]
    lines += [f"{row.label}: {note}." for row in board.rows for note in (*row.unfinished, *row.refused, *lost(row))]
    return "\n".join(f"- {line}" for line in lines)


def lost(row: Row) -> list[str]:
    """Verdicts that are missing: coverage below 100 % is never silent."""
    return [
        f"{counts[name]} of {sum(counts.values())} {harness} verdicts {name}"
        for harness, counts in row.counts.items()
        for name in _LOST
        if counts.get(name)
    ]


def _strangers(board: Board) -> list[str]:
    known = {metric.name for metric in METRICS}
    return [metric.name for metric in board.metrics if metric.name not in known]


def _costs(board: Board) -> list[Column]:
    return [Column(cost.title, partial(_cost, cost.name)) for cost in COSTS if any(cost.name in row.costs for row in board.rows)]


def _cost(name: str, row: Row) -> str:
    return f"{row.costs[name]:,.0f}" if name in row.costs else ""


def _counts(board: Board) -> list[Column]:
    return [Column(f"{harness} {name}", partial(_count, harness, name)) for harness, name in board.counted]


def _count(harness: str, name: str, row: Row) -> str:
    return str(row.counts.get(harness, {}).get(name, ""))


def _settings(board: Board) -> list[Column]:
    columns = [Column("Columns", _columns_of, "---")] if any(row.settings.get("columns") for row in board.rows) else []
    return [
        Column("Tuning", tuning_of, "---"),
        Column("Objective", lambda row: row.settings["method"].get("objective") or "", "---"),
        Column("Options", lambda row: written_options(row.settings["method"].get("options")), "---"),
        Column("Learning rate", lambda row: f"{row.settings['method'].get('learning_rate') or ''}"),
        Column("From", lambda row: _origin(row.settings["method"]), "---"),
        Column("Scheduler's options", lambda row: written_options(row.settings["scheduler"].get("options")), "---"),
        Column("From", lambda row: _origin(row.settings["scheduler"]), "---"),
        *columns,
    ]


def _claims(board: Board) -> str:
    """What the board says of the claims of papers; nothing where it has none."""
    if not board.findings:
        return ""
    rows = [short_row(finding) for finding in board.findings]
    tested = sum(finding.estimate is not None for finding in board.findings)
    sentence = (
        f"Tested on {board.scale}. Differences are paired over seeds and questions and in the units of the board, p is corrected for the "
        f"{tested} claims that could be tested (Holm): the chance that any verdict of this table is wrong is at most 5 %. "
        "Other scales are not spoken of. [claims.toml](claims.toml) has the statements."
    )
    return "\n\n".join(["## Claims", sentence, _plain_table(rows)])


def _tuning(board: Board) -> str:
    """How the tuner came to its choices; nothing where no row was tuned."""
    rows = study_rows(board.studies)
    if not rows:
        return ""
    return "\n\n".join(["## Tuning", sentence(board.studies), _plain_table(rows)])


def _origin(block: Mapping[str, Any]) -> str:
    """``prefbench 0.1.0``; the distributions of a chain's links, each once."""
    origin = block.get("origin") or {}
    origins = [origin] if "distribution" in origin else list(origin.values())
    return ", ".join(dict.fromkeys(f"{found['distribution']} {found['version']}".strip() or SINGLE_FILE for found in origins))


def _columns_of(row: Row) -> str:
    """``quick = difficulty(epochs=0.25), prefbench 0.1.0`` for every column of a plugin that the row needs."""
    found = row.settings.get("columns") or {}
    return "; ".join(f"{label} = {own['name']}({written_options(own['options'])}), {_origin(own)}" for label, own in found.items())


def _rules(board: Board) -> str:
    """The track's tables that fix source, models, judge, budget and harnesses, a line each."""
    tables = [(name, board.track[name]) for name in ("source", "model", "judge", "train", "lora", "answers") if name in board.track]
    tables += [("harness", table) for table in board.track.get("harness", [])]
    lines = [f"- {name}: {written_options(table)}" for name, table in tables]
    lines += [f"- condition {name}: {_changed(table)}" for name, table in board.track.get("conditions", {}).items()]
    return "\n".join(
        ["## Rules", "", "[track.toml](track.toml) fixes them; results of another track or version do not compare.", "", *lines]
    )


def _changed(table: Mapping[str, Any]) -> str:
    """What a condition changes, in words."""
    pairs, others = table.get("source", {}), {key: value for key, value in table.items() if key != "source"}
    return (
        "; ".join(part for part in (f"pairs with {written_options(pairs)}" if pairs else "", written_options(others)) if part) or "as it is"
    )


def _again(board: Board) -> str:
    folder = f"leaderboards/{board.track['track']['name']}"
    runs = [f"prefbench run {folder}/track.toml{options}{_seed_option(board)}" for options in _selections(board)]
    return "\n".join(
        [
            "## Again",
            "",
            "```console",
            f"prefbench board check {folder}    # every number here, from records and items",
            *(f"{command}    # records and items, from nothing" for command in runs),
            "```",
            *(["", cost] if (cost := _cost_of(board)) else []),
        ]
    )


def _cost_of(board: Board) -> str:
    """What the runs that made the board took."""
    if not board.sessions:
        return ""
    seconds, cells, trials = (sum(session[name] for session in board.sessions) for name in ("seconds", "cells", "trials"))
    places = dict.fromkeys(f"{session['cores']} cores ({session['device']})" for session in board.sessions)
    runs = f" in {len(board.sessions)} runs" if len(board.sessions) > 1 else ""
    trial_cells = f" and {trials:,} trials of the tuner" if trials else ""
    return f"The board took {seconds / 60:,.0f} minutes of wall time{runs} on {', '.join(places)}: {cells:,} cells{trial_cells}."


def _selections(board: Board) -> list[str]:
    """The options of the runs that make the board's rows: none where they are the track's own, else a run for the methods of each scheduler."""
    trained = [row for row in board.rows if row.scheduler != UNTRAINED]
    if {row.key for row in trained} <= set(_grid(board)):
        return [""]
    schedulers = sorted({row.scheduler for row in trained})
    stranger = " --plugin FILE" if any(_is_single_file(row) for row in trained) else ""
    return [
        "".join(f" --only {row.method}" for row in sorted(trained, key=lambda row: row.method) if row.scheduler == scheduler)
        + f" --scheduler {scheduler}{stranger}"
        for scheduler in schedulers
    ]


def _grid(board: Board) -> Iterator[Key]:
    """Every row that the track runs by itself."""
    for table in board.track.get("grid", []):
        schedulers = [name.replace(" ", "") for name in table.get("schedulers", ["uniform"])]
        yield from starmap(Key, product(table.get("methods", []), schedulers, table.get("conditions", [""])))


def _is_single_file(row: Row) -> bool:
    return SINGLE_FILE in _origin(row.settings["method"]) or SINGLE_FILE in _origin(row.settings["scheduler"])


def _seed_option(board: Board) -> str:
    """The seeds of the board, where they are not those that the track runs."""
    seeds = sorted({seed for row in board.rows for seed in row.seeds})
    if not seeds or seeds == sorted(board.track["track"].get("seeds", ())):
        return ""
    if seeds == list(range(len(seeds))):
        return f" --seeds {len(seeds)}"
    return f" --seeds {','.join(map(str, seeds))}{',' if len(seeds) == 1 else ''}"


# ---------------------------------------------------------------- tables


def _metrics(board: Board, names: Iterable[str]) -> list[Column]:
    """The columns of those metrics that the board has."""
    found = {metric.name: metric for metric in board.metrics}
    return [Column(found[name].title, partial(_estimate, found[name])) for name in names if name in found]


def _estimate(metric: Metric, row: Row) -> str:
    return metric.show(row.metrics.get(metric.name))


def _section(title: str, columns: Sequence[Column], sentence: str, board: Board) -> str:
    """A titled table; nothing without columns."""
    return "\n\n".join(part for part in (f"## {title}", sentence, _table(board, columns)) if part) if columns else ""


def _table(board: Board, columns: Sequence[Column]) -> str:
    named = [Column("Method", lambda row: row.method, "---"), Column("Scheduler", lambda row: row.scheduler, "---")]
    condition = [Column("Condition", lambda row: row.condition, "---")] if board.conditions else []
    columns = [*condition, *named, *columns]
    lines = [[column.title for column in columns], [column.align for column in columns]]
    lines += [[_escaped(column.cell(row)) for column in columns] for row in board.rows]
    return _lines(lines)


def _plain_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of rows that have the same columns."""
    titles = [title[:1].upper() + title[1:] for title in rows[0]]
    return _lines([titles, ["---"] * len(titles), *([_escaped(cell) for cell in row.values()] for row in rows)])


def _lines(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Text that stays in its cell: a bar would end it."""
    return text.replace("|", "\\|").replace("\n", " ")
