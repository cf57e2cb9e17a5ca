"""A leaderboard written and printed: board.csv, README.md and forest.png of a folder, and the rows that a terminal shows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api import Harness
from prefbench.report.evidence import read_evidence
from prefbench.report.keys import BASELINE
from prefbench.report.layout import COSTS, Metric, significant
from prefbench.report.page import lost, page
from prefbench.report.plot import forest
from prefbench.report.rows import Board, Row, build, tuning_of, written_options
from prefbench.report.stats import Estimate
from prefbench.store.files import write_bytes, write_text

__all__ = ["Board", "board_csv", "long_rows", "read_board", "render", "rows_for", "short_rows", "write_rendering"]


def read_board(folder: Path, harnesses: Mapping[str, Harness]) -> Board:
    """The board of a folder, derived anew; raises PrefbenchError naming the file that is missing or damaged."""
    return build(read_evidence(folder, harnesses))


def render(folder: Path, harnesses: Mapping[str, Harness]) -> Board:
    """Write board.csv, README.md and forest.png from what the folder holds, and return the board."""
    board = read_board(folder, harnesses)
    write_rendering(folder, board)
    return board


def write_rendering(folder: Path, board: Board) -> None:
    """Write board.csv, README.md and forest.png of a board."""
    write_text(folder / "board.csv", board_csv(board))
    write_text(folder / "README.md", page(board))
    write_bytes(folder / "forest.png", forest(board))


# ---------------------------------------------------------------- board.csv


def long_rows(board: Board) -> list[dict[str, Any]]:
    """Every number of the board by column name, unrounded, shares as fractions; None where a row has none."""
    return [_long_row(row, board) for row in board.rows]


def _long_row(row: Row, board: Board) -> dict[str, Any]:
    method, scheduler = row.settings["method"], row.settings["scheduler"]
    return {
        "method": row.method,
        "scheduler": row.scheduler,
        **({"condition": row.condition} if board.conditions else {}),
        "seeds": len(row.seeds),
        "mode": row.mode,
        **_interval_columns(board.metrics, row.metrics, ""),
        **_interval_columns(board.compared, row.versus, f"_minus_{BASELINE[0]}"),
        **{cost.name: row.costs.get(cost.name) for cost in COSTS},
        **{f"{harness}_{name}": row.counts.get(harness, {}).get(name) for harness, name in board.counted},
        "unfinished": "; ".join(row.unfinished),
        "refused": "; ".join(row.refused),
        "tuning": tuning_of(row),
        "learning_rate": method.get("learning_rate"),
        "options": written_options(method.get("options")),
        "scheduler_options": written_options(scheduler.get("options")),
    }


def _interval_columns(metrics: Sequence[Metric], estimates: Mapping[str, Estimate], suffix: str) -> dict[str, float | None]:
    columns: dict[str, float | None] = {}
    for metric in metrics:
        estimate, name = estimates.get(metric.name), f"{metric.name}{suffix}"
        known = estimate is not None and not math.isnan(estimate.se)
        columns[name] = estimate.value if estimate else None
        columns[f"{name}_low"] = estimate.low if estimate and known else None
        columns[f"{name}_high"] = estimate.high if estimate and known else None
    return columns


def board_csv(board: Board) -> str:
    """The text of board.csv: a header and a line per row, floats to six significant digits."""
    rows = long_rows(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0] if rows else ("method", "scheduler", "seeds", "mode"))
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return significant(value) if isinstance(value, float) else str(value)


# ---------------------------------------------------------------- what a terminal shows


_JUDGED = {
    "gold_win_rate": "gold %",
    "win_rate": "judge %",
    "length_controlled_win_rate": "LC %",
    "mt_bench": "MT-Bench",
    "mt_bench_win_rate": "MT-Bench win %",
}
_UNJUDGED = {"held_out_accuracy": "held-out accuracy %", "margin": "margin (nats)", "chosen_reward": "chosen reward (nats)"}


def short_rows(board: Board) -> list[dict[str, object]]:
    """What fits a terminal: the judged metrics with their intervals, or where there are none those of held-out pairs; a few more without."""
    titles = _JUDGED if any(metric.name in _JUDGED for metric in board.metrics) else _UNJUDGED
    headline = [metric for metric in board.metrics if metric.name in titles]
    return [
        {
            "method": row.method,
            "scheduler": row.scheduler,
            **({"condition": row.condition} if board.conditions else {}),
            "seeds": len(row.seeds),
            **({"mode": row.mode} if board.submissions else {}),
            **{titles[metric.name]: metric.show(row.metrics.get(metric.name)) for metric in headline},
            "KL": _value(row, "kl"),
            "length": _value(row, "length"),
            "cost s": _seconds(row),
            "unfinished": "; ".join(row.unfinished),
            "no verdict": "; ".join(lost(row)),
        }
        for row in board.rows
    ]


def _seconds(row: Row) -> float | None:
    """What a row's columns, its scheduler and its training took, seconds per seed."""
    parts = [row.costs[name] for name in ("columns_seconds", "select_seconds", "train_seconds") if name in row.costs]
    return sum(parts) if parts else None


def _value(row: Row, name: str) -> float | None:
    return row.metrics[name].value if name in row.metrics else None


def rows_for(board: Board, format: str) -> Sequence[Mapping[str, object]]:
    """The rows to print: short for ``table`` and ``md``, every number for ``json`` and ``csv``."""
    return short_rows(board) if format in ("table", "md") else long_rows(board)
