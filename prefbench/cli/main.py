"""The Typer application, and the two lines that an error is printed as."""

from __future__ import annotations

import atexit
import gc
import logging
import sys
from typing import Annotated

import typer

from prefbench import __version__
from prefbench.cli.board import board
from prefbench.cli.check import check
from prefbench.cli.claims import claims
from prefbench.cli.compare import compare
from prefbench.cli.doctor import doctor
from prefbench.cli.new import new
from prefbench.cli.plan import plan
from prefbench.cli.plugins import plugins
from prefbench.cli.run import run
from prefbench.cli.score import score
from prefbench.cli.show import show
from prefbench.cli.status import status
from prefbench.errors import PrefbenchError, in_two_lines

app = typer.Typer(
    name="prefbench",
    help="The referee for preference tuning: every method on the same pairs, one shared core, differences with honest intervals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run, plan, status, compare, claims, plugins, show, new, check, doctor):
    app.command()(command)
app.add_typer(board, name="board")
app.add_typer(score, name="score")


def print_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"prefbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """The referee for preference tuning."""


def main() -> None:
    """Run the application; a PrefbenchError becomes two lines on stderr and its exit code."""
    atexit.register(gc.freeze)  # or the interpreter searches all modules for garbage as it ends: two fifths of a second
    warnings = logging.StreamHandler(sys.stderr)
    warnings.setFormatter(logging.Formatter("warning: %(message)s"))
    logging.getLogger("prefbench").handlers = [warnings]
    try:
        app()
    except PrefbenchError as error:
        print(in_two_lines(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        print("hint: what is finished is kept; the same command again runs what is missing", file=sys.stderr)
        sys.exit(130)
