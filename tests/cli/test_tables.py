"""One set of rows, four ways to print it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from prefbench.cli.tables import print_rows

ROWS = [
    {"method": "dpo", "loss": 0.123456789, "n": 3},
    {"method": "hinge [1 - z]+", "loss": float("nan"), "note": "a|b\nc", "tags": ("x", "y")},
]


def printed(capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], format: str, title: str = "") -> str:
    print_rows(rows, format, title)
    return capsys.readouterr().out


def test_json_keeps_digits_and_knows_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    """NaN is not JSON: most readers refuse the whole document."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    first, second = json.loads(printed(capsys, ROWS, "json", "a title"), parse_constant=refuse)
    assert first == {"method": "dpo", "loss": 0.123456789, "n": 3}
    assert second["loss"] is None
    assert second["tags"] == ["x", "y"]


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = csv.DictReader(io.StringIO(printed(capsys, ROWS, "csv", "a title")))
    assert float(first["loss"]) == 0.123456789
    assert first["note"] == ""
    assert second["note"] == "a|b\nc"
    assert second["tags"] == "x, y"


def test_markdown_stays_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ROWS, "md", "a title").splitlines()
    assert lines[:2] == ["### a title", ""]
    assert lines[2:5] == ["| method | loss | n | note | tags |", "| --- | --- | --- | --- | --- |", "| dpo | 0.1235 | 3 |  |  |"]
    assert lines[5] == "| hinge [1 - z]+ | nan |  | a\\|b<br>c | x, y |"


def test_table_cuts_nothing_and_reads_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/a/path/" + "x" * 300
    text = printed(capsys, [{"formula": "[bold]max(0, z)[/bold]", "path": long, "empty": ""}], "table", "a title")
    assert "a title" in text
    assert "[bold]max(0, z)[/bold]" in text
    assert text.count("x") == 300 + "max".count("x")
    assert "empty" not in text


@pytest.mark.parametrize(("format", "expected"), [("json", "[]\n"), ("csv", ""), ("md", "Nothing.\n")])
def test_no_rows(capsys: pytest.CaptureFixture[str], format: str, expected: str) -> None:
    assert printed(capsys, [], format) == expected
