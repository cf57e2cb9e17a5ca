"""``prefbench show``: one component with everything that its author says of it, or a line about each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from prefbench.cli.show import show
from prefbench.config import packaged_tracks
from prefbench.errors import PrefbenchError
from tests.plugin_site import PLUGIN, PluginSite

DECLARES = '''
from dataclasses import dataclass
from prefbench.api import Column, Objective, Scheduler, hyper

@dataclass
class Gap(Objective):
    """A loss with all that an objective can declare.

    Two lines of prose
    that are one sentence on ``column``, and a formula::

        x = 1
        y = 2
    """
    name = "gap"
    batch_coupled = True
    reference_free = True
    monotone = False
    domain = 500.0
    wants = ("chosen_kl",)
    column: str = hyper("score-gap", doc="the column of the gaps")

    @property
    def needs(self):
        return (self.column,)

    def per_pair(self, batch):
        return batch.margin

@dataclass
class Asked(Scheduler):
    """A scheduler whose option must be given, and decides what it needs."""
    name = "asked"
    column: str

    @property
    def needs(self):
        return (self.column,)

    @property
    def reshuffled(self):
        return self.column == "flipped"

    def select(self, pool, size, rng):
        return range(size)

@dataclass
class Kept(Asked):
    """A scheduler that rehearses and reshuffles."""
    name = "kept"
    column: str = "difficulty"
    reshuffled = True
    rehearsals: int = hyper(3, low=0)

@dataclass
class Hard(Column):
    """A column that trains."""
    name = "hard"
    uses_objective = True
    def compute(self, context):
        return [0.0] * len(context.pairs)
'''


def invoke(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(show)
    return CliRunner().invoke(app, arguments)


def facts(*arguments: str) -> dict[str, str]:
    return {row["about"]: row["fact"] for row in json.loads(invoke(*arguments, "--format", "json").stdout)}


@pytest.fixture
def declares(site: PluginSite, tmp_path: Path) -> tuple[str, str]:
    """The option that brings components which declare all that there is."""
    (tmp_path / "declares.py").write_text(DECLARES)
    return "--plugin", str(tmp_path / "declares.py")


def test_formula_options_and_origin(site: PluginSite) -> None:
    told = facts("dpo")
    assert "-(1 - eps) * log sigma(z) - eps * log sigma(-z)" in told["definition"]
    assert told["option beta"] == "default 0.1, float, at least 1e-06: strength of the pull towards the reference"
    assert "arXiv 2305.18290" in told["source"]
    assert told["distribution"].startswith("prefbench ")
    assert len(told["source sha256"]) == 64


def test_what_is_as_usual_is_not_told(site: PluginSite) -> None:
    assert not {"needs the columns", "wants the statistics", "reference", "batch-coupled", "monotone", "domain"} & set(facts("dpo"))


def test_what_a_scheduler_wants(site: PluginSite) -> None:
    told = facts("loss-ranked")
    assert told["wants the statistics"] == "loss"
    assert "one of high | low" in told["option order"]


def test_a_program_gets_an_options_parts(site: PluginSite) -> None:
    rows = {row["about"]: row for row in json.loads(invoke("loss-ranked", "--format", "json").stdout)}
    order, ratio = rows["option order"], rows["option ratio"]
    assert (order["default"], order["type"], order["choices"]) == ("high", "str", ["high", "low"])
    assert (ratio["default"], ratio["low"], ratio["high"]) == (0.5, 0.0, 1.0)
    assert ratio["doc"] == "share of the pool that is trained on"


def test_all_that_an_objective_declares(declares: tuple[str, str]) -> None:
    """What an option decides is told for its default."""
    told = facts("gap", *declares)
    assert told["needs the columns"] == "score-gap"
    assert told["wants the statistics"] == "chosen_kl"
    assert told["reference"] == "none is used"
    assert told["batch-coupled"] == "the loss of a pair depends on its batch"
    assert told["monotone"].startswith("no: ")
    assert told["domain"] == "finite for log-ratios of up to 500 nats"


def test_what_hangs_on_an_option_that_must_be_given(declares: tuple[str, str]) -> None:
    told = facts("asked", *declares)
    assert told["option column"] == "must be given, str"
    assert told["needs the columns"] == "depends on its options"
    assert "epochs" not in told


def test_all_that_a_scheduler_declares(declares: tuple[str, str]) -> None:
    told = facts("kept", *declares)
    assert told["needs the columns"] == "difficulty"
    assert told["epochs"] == "the rows that it keeps are shuffled anew every epoch"
    assert told["rehearsals"] == "it is offered 3 pools before the first step"


def test_a_column_that_trains(declares: tuple[str, str]) -> None:
    assert facts("hard", *declares)["trains"] == "with the objective of the row that it is computed for"


def test_prose_is_one_line_without_markup_and_formulas_are_as_they_stand(declares: tuple[str, str]) -> None:
    """So that a narrow terminal wraps prose by its own width."""
    definition = facts("gap", *declares)["definition"]
    assert "Two lines of prose that are one sentence on column, and a formula:\n\n    x = 1\n    y = 2" in definition


def test_a_plugin_file(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(PLUGIN)
    result = invoke("my-loss", "--plugin", str(tmp_path / "my_loss.py"))
    assert "Minus the margin." in result.stdout
    assert "a single file" in result.stdout


def test_a_name_that_nothing_has(site: PluginSite) -> None:
    error = invoke("hing").exception
    assert isinstance(error, PrefbenchError)
    assert error.hint == "did you mean hinge?"
    assert error.exit_code == 2


def test_without_a_name_a_line_about_each(declares: tuple[str, str]) -> None:
    rows = {row["name"]: row for row in json.loads(invoke(*declares, "--format", "json").stdout)}
    assert {"dpo", "uniform", "gap", "kept", "hard"} <= set(rows)
    assert rows["gap"]["definition"] == "A loss with all that an objective can declare.\nx = 1\ny = 2"
    assert rows["loss-ranked"]["options"] == ["order = 'high'", "ratio = 0.5", "stale = False"]
    assert rows["asked"]["options"] == ["column"]


def test_without_a_name_a_person_gets_a_table_per_kind(site: PluginSite) -> None:
    lines = invoke("--format", "md").stdout.splitlines()
    assert (
        lines.index("### objectives")
        < next(n for n, line in enumerate(lines) if line.startswith("| dpo |"))
        < lines.index("### schedulers")
    )


def test_the_file_of_a_packaged_track_is_printed_as_it_is() -> None:
    assert invoke("--track", "prefworld").output == packaged_tracks()["prefworld"].read_text()
    assert "no track named" in str(invoke("--track", "prefwrld").exception)
