"""``python -m benchmarks.trl [MODE ...]``: prefbench and TRL in turn, their tables as Markdown."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shlex
import sys
import tempfile
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from benchmarks.trl.losses import COMPARED
from benchmarks.trl.plan import Plan
from benchmarks.trl.step import AGAINST, WORK
from benchmarks.trl.tables import Table, machine, markdown, replaced
from benchmarks.trl.workload import LENGTHS, SIZES

MODES = ("step", "campaign", "start", "reference", "selective", "cuda")
README = Path(__file__).parents[1] / "README.md"
WITHOUT_TRL = ("selective",)
"""Modes that compare prefbench with itself."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.trl", description=__doc__)
    made.add_argument("modes", nargs="*", metavar="MODE", help=f"{', '.join(MODES)}; all of them unless some are named")
    made.add_argument("--steps", type=int, help="optimiser steps of each training, 8 at least; each mode has its own number")
    made.add_argument("--rounds", type=int, help="how many times all contenders train in turn")
    made.add_argument("--sizes", type=names, help="models, such as xs,s")
    made.add_argument("--lengths", type=names, help="step: mild or wide; both unless one is given")
    made.add_argument("--against", type=names, help=f"step: TRL's configurations, of {', '.join(AGAINST)}; all unless some are given")
    made.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process; all cores unless given")
    made.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    return made


def main(arguments: list[str]) -> int:
    """Run the modes; 1 where a ratio was refused, 2 where the command line or the Python that runs it will not do."""
    given = parser().parse_args(arguments)
    modes = given.modes or list(MODES)
    if problem := unusable(modes, given):
        print(problem, file=sys.stderr)
        return 2
    disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="benchmarks-trl-") as folder:
        asked = {name: getattr(given, name) for name in ("threads", "steps", "rounds", "sizes", "lengths", "against")}
        plan = Plan(Path(folder), **asked, tell=say)
        refused = [run(mode, plan, given.write, arguments) for mode in modes]
    return int(any(refused))


def say(text: str) -> None:
    """How far it is."""
    print(text, file=sys.stderr, flush=True)


def names(text: str) -> tuple[str, ...]:
    """Of a list with commas."""
    return tuple(text.split(","))


def unusable(modes: list[str], given: argparse.Namespace) -> str:
    """Why the modes cannot be run, in a line; empty where they can."""
    choices = {
        "mode": (modes, MODES),
        "size": (given.sizes, SIZES),
        "length": (given.lengths, LENGTHS),
        "configuration": (given.against, AGAINST),
    }
    for kind, (named, known) in choices.items():
        if unknown := [name for name in named or () if name not in known]:
            return f"no {kind} is called {unknown[0]!r}: there are {', '.join(known)}"
    if "step" in modes and not any(size in (given.sizes or (size,)) and length in (given.lengths or (length,)) for size, length in WORK):
        return f"step has none of these sizes with these lengths: it has {', '.join(f'{size} {length}' for size, length in WORK)}"
    if given.steps is not None and given.steps < COMPARED:
        return f"--steps {given.steps}: the losses of {COMPARED} steps are compared, give as many or more"
    if importlib.util.find_spec("trl") is None and not set(modes) <= set(WITHOUT_TRL):
        return "TRL is not installed in this Python, and these modes compare with it: pip install 'trl==1.16.*'"
    return ""


def run(mode: str, plan: Plan, write: bool, arguments: list[str]) -> bool:
    """Print a mode's table, and keep it where that is asked for; whether a ratio was refused."""
    plan.tell(f"mode {mode}")
    place = machine(plan.threads)
    table: Table = importlib.import_module(f"benchmarks.trl.{mode}").table(plan)
    text = markdown(table, shlex.join(["python", "-m", "benchmarks.trl", *arguments]), place)
    print(f"{text}\n", flush=True)
    if write:
        README.write_text(replaced(README.read_text(), mode, text))
    return table.refused


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
