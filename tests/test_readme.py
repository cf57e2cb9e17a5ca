"""The README shows what its commands print: the boards as rendered, and a plugin that really runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prefbench.cli.tables import print_rows
from prefbench.registry import load_registry
from prefbench.report.board import read_board, rows_for
from prefbench.report.evidence import track_harnesses
from prefbench.store.folder import Folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BOARD = re.compile(r"<!-- board: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


@pytest.mark.parametrize(("folder", "shown"), BOARD.findall(README), ids=[folder for folder, _ in BOARD.findall(README)])
def test_each_table_is_the_board_as_printed(folder, shown, capsys):
    board = read_board(ROOT / folder, track_harnesses(Folder(ROOT / folder), load_registry()))
    print_rows(rows_for(board, "md"), "md")
    assert shown.strip() == capsys.readouterr().out.strip()


def test_the_readmes_loss_is_a_plugin(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "my_loss.py").write_text(code)
    registry = load_registry([tmp_path / "my_loss.py"])
    assert "squared-hinge" in registry.names("objective")


def test_the_tutorials_loss_is_a_plugin(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
    (tmp_path / "my_loss.py").write_text(code)
    assert "squared-hinge" in load_registry([tmp_path / "my_loss.py"]).names("objective")


def test_every_link_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
