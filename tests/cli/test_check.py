"""``prefbench check`` as a person and as a script see it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from prefbench.cli.check import check
from prefbench.cli.show import show
from prefbench.errors import PrefbenchError
from tests.plugin_site import LOSS, PluginSite

WRONG = LOSS.replace("-self.beta * batch.margin", "self.beta * batch.margin").replace("low=0.0", "low=1e-6")
RIGHT = LOSS.replace("low=0.0", "low=1e-6")
REQUIRED = RIGHT.replace('beta: float = hyper(0.1, low=1e-6, doc="scale")', "beta: float")
HARNESS = """\
from dataclasses import dataclass

from prefbench.api import Harness


@dataclass
class Mine(Harness):
    name = "mine"

    def collect(self, policy, source):
        return []

    def judge(self, rows, judge, source, calibration):
        return []

    def values(self, items):
        return {}
"""


def invoke(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(check)
    app.command()(show)
    return CliRunner().invoke(app, ["check", *arguments])


def rows(result: Result) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def file(site: PluginSite, tmp_path: Path) -> Path:
    return tmp_path / "my_loss.py"


def test_a_sound_component_is_ok_line_by_line(site: PluginSite) -> None:
    result = invoke("dpo", "--format", "json")
    assert result.exit_code == 0
    assert {row["outcome"] for row in rows(result).values()} == {"ok"}
    assert {row["component"] for row in rows(result).values()} == {"objective dpo"}
    assert {"per pair is pure", "options refuse nonsense"} < set(rows(result))
    assert "worked rows" not in rows(result)  # there are none to compare with


def test_a_check_that_fails_says_what_to_do_and_ends_with_one(file: Path) -> None:
    file.write_text(WRONG)
    result = invoke("my-loss", "--plugin", str(file), "--format", "json")
    assert result.exit_code == 1
    failed = {name: row["problem"] for name, row in rows(result).items() if row["outcome"] == "FAILED"}
    assert list(failed) == ["the mean loss favours the chosen answers"]
    assert failed.popitem()[1].startswith(
        "my-loss: at policy = reference its mean rises with the chosen log-probs (slope 0.1)\ncheck its sign"
    )


def test_without_a_name_everything_in_the_file_is_checked(file: Path) -> None:
    other = RIGHT.replace("MyLoss", "Other").replace("my-loss", "other").split("@dataclass", 1)[1]
    file.write_text(RIGHT + "\n\n@dataclass" + other)
    result = invoke("--plugin", str(file), "--format", "json")
    assert result.exit_code == 0
    assert {row["component"] for row in json.loads(result.stdout)} == {"objective my-loss", "objective other"}


def test_options_are_taken_as_a_track_file_has_them(file: Path) -> None:
    file.write_text(WRONG)
    result = invoke("my-loss", "--plugin", str(file), "--option", "beta=2", "--format", "json")
    assert "my-loss[beta=2.0]: at policy" in rows(result)["the mean loss favours the chosen answers"]["problem"]


def test_an_option_without_a_default_has_to_be_given(file: Path) -> None:
    file.write_text(REQUIRED)
    error = invoke("my-loss", "--plugin", str(file)).exception
    assert isinstance(error, PrefbenchError)
    assert str(error) == "my-loss: beta must be given"
    assert error.exit_code == 2
    assert invoke("my-loss", "--plugin", str(file), "--option", "beta=0.5").exit_code == 0


def test_what_cannot_be_meant(file: Path) -> None:
    file.write_text(RIGHT)
    told = {
        ("hing",): ("no component is called 'hing'", "did you mean hinge?"),
        (): ("there is nothing to check", "prefbench check NAME, or prefbench check --plugin FILE"),
        ("dpo", "--option", "beta"): ("--option 'beta' sets nothing", "write --option KEY=VALUE, such as --option beta=0.5"),
        ("dpo", "--option", "gamma=1"): ("dpo: gamma is no option of dpo: its options are beta, label_smoothing", "`prefbench show dpo`"),
        ("dpo", "--option", "beta=high"): ("dpo: beta must be float, not 'high'", "`prefbench show dpo`"),
    }
    for arguments, (said, hint) in told.items():
        error = invoke(*arguments).exception
        assert isinstance(error, PrefbenchError), arguments
        assert (error.exit_code, str(error)) == (2, said)
        assert error.hint.startswith(hint)


def test_a_broken_file_ends_with_three(file: Path) -> None:
    file.write_text("import a_library_that_is_not_here\n")
    error = invoke("--plugin", str(file)).exception
    assert isinstance(error, PrefbenchError)
    assert error.exit_code == 3


def test_a_harness_has_no_contract_and_a_row_says_so(file: Path) -> None:
    file.write_text(HARNESS)
    result = invoke("mine", "--plugin", str(file), "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {"component": "harness mine", "check": "", "outcome": "not checked", "problem": "harnesses and sources have no contract yet"}
    ]


def test_a_judge_of_its_own_questions_is_not_checked_and_says_why() -> None:
    (row,) = json.loads(invoke("prefworld-annotator", "--format", "json").stdout)
    assert row["outcome"] == "not checked"
    assert "carries no facts" in row["problem"]
    assert "subclass prefbench.testing.JudgeContract" in row["problem"]


def test_a_component_that_raises_is_a_failure_with_the_place(file: Path) -> None:
    file.write_text(RIGHT.replace("return -self", "return batch.mragin - self"))
    problem = rows(invoke("my-loss", "--plugin", str(file), "--format", "json"))["per pair is pure"]["problem"]
    assert problem == f"AttributeError: 'PairBatch' object has no attribute 'mragin'\nraised at {file}:14"


def test_the_command_imports_nothing_heavy_for_its_help() -> None:
    code = "import sys; sys.argv = ['prefbench', 'check', '--help']\nfrom prefbench.cli.main import main\ntry: main()\n"
    code += "except SystemExit: assert not {'torch', 'numpy'} & set(sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--option KEY=VALUE" in told.stdout
