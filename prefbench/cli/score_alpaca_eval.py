"""``prefbench score alpaca-eval``: win rates from alpaca-eval's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.tables import Format, print_rows

Files = Annotated[list[Path], typer.Argument(exists=True, help="Annotations of alpaca-eval, or with --track model outputs.")]


def alpaca_eval(
    files: Files,
    format: Annotated[Format, typer.Option(help="How the scores are printed.")] = Format.table,
) -> None:
    """Score annotations of alpaca-eval: win rate, length-controlled win rate, and their intervals."""
    print_rows([{"file": file.name} for file in files], format.value)
