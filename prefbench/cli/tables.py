"""Rows to stdout as a table for people, or as JSON, CSV or Markdown, all from the same rows."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

WIDE = 200
"""Columns of text that a table takes where no terminal says how wide it is."""


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


def print_rows(rows: Sequence[Mapping[str, object]], format: str, title: str = "") -> None:
    """Print rows, whose columns are all their keys in order of first appearance; a key that a row lacks is an empty cell.

    JSON and CSV carry full numbers and no title; the table and Markdown round floats to four significant digits and leave out columns that
    are empty in every row.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    filled = [column for column in columns if any(_text(row.get(column)) for row in rows)]
    match Format(format):
        case Format.json:
            print(json.dumps([{key: _json_value(value) for key, value in row.items()} for row in rows], indent=2, ensure_ascii=False))
        case Format.csv:
            _print_csv(rows, columns)
        case Format.md:
            _print_markdown(rows, filled, title)
        case Format.table:
            _print_table(rows, filled, title)


def _print_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    writer.writerows([_text(row.get(column)) for column in columns] for row in rows)


def _print_markdown(rows: Sequence[Mapping[str, object]], columns: Sequence[str], title: str) -> None:
    if title:
        print(f"### {title}\n")
    if not columns:
        print("Nothing.")
        return
    for cells in (columns, ["---"] * len(columns), *([_text(row.get(column), digits=4) for column in columns] for row in rows)):
        print("| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |")


def _print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE)
    table = Table(title=Text(title) if title else None, title_justify="left", caption=None if rows else "nothing")
    for column in columns:
        # Folded, never cut: a name that ends in dots cannot be copied.
        table.add_column(column, overflow="fold", justify="right" if _is_numeric(rows, column) else "left")
    for row in rows:
        # Text, not markup: the formula [1 - z]+ is no style.
        table.add_row(*(Text(_text(row.get(column), digits=4)) for column in columns))
    console.print(table)


def _is_numeric(rows: Sequence[Mapping[str, object]], column: str) -> bool:
    values = [row[column] for row in rows if row.get(column) is not None]
    return bool(values) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _text(value: object, digits: int | None = None) -> str:
    """A cell; floats keep all their digits unless told how many."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if digits else repr(float(value))
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item, digits) for item in value)
    return str(value)


def _json_value(value: object) -> Any:
    """What JSON can hold: no NaN and no infinity, which its readers refuse; anything unknown to it as text."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
