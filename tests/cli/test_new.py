"""``prefbench new``: what it writes works as it stands, and names that could not work are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import prefbench
from prefbench.cli.check import check
from prefbench.cli.new import LONGEST, NewKind, new
from prefbench.errors import PrefbenchError
from prefbench.registry import Kind, load_registry
from tests.plugin_site import PLUGIN, PluginSite

KINDS = [kind.value for kind in NewKind]
ROOT = Path(prefbench.__file__).parents[1]


def invoke(*arguments: object) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(new)
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> PrefbenchError:
    error = invoke("new", *arguments).exception
    assert isinstance(error, PrefbenchError)
    assert error.exit_code == 2
    return error


@pytest.fixture
def here(site: PluginSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_it_says_what_it_wrote_and_what_comes_next(here: Path) -> None:
    told = invoke("new", "objective", "my-loss").stdout.splitlines()
    written = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    assert told[0] == "wrote"
    assert sorted(line.strip() for line in told[1 : told.index("next")]) == written
    assert "prefbench-my-loss/prefbench_my_loss/method.py" in written
    assert told[-3:] == [
        "  python -m pip install -e prefbench-my-loss",
        "  prefbench check my-loss",
        "  prefbench run prefworld --only my-loss --only dpo --seeds 3",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_installed_it_is_found_by_its_entry_point(here: Path, site: PluginSite, kind: Kind) -> None:
    invoke("new", kind, "my-own")
    site.install_folder(here / "prefbench-my-own")
    registry = load_registry()
    assert registry.get(kind, "my-own").__name__ == "MyOwn"  # type: ignore[call-overload]
    assert registry.origin(kind, "my-own").distribution == "prefbench-my-own"
    assert [row.reason for row in registry.rows if row.distribution == "prefbench-my-own"] == [""]


@pytest.mark.parametrize("kind", KINDS)
def test_it_passes_the_check(here: Path, site: PluginSite, kind: Kind) -> None:
    invoke("new", kind, "my-own", "--folder", "mine")
    result = invoke("check", "my-own", "--plugin", "mine/prefbench_my_own/method.py")
    assert result.exit_code == 0, result.output


def test_it_passes_its_own_tests(here: Path) -> None:
    """Run as its author would, and all three at once to save time; a wrong formula fails them."""
    for kind in KINDS:
        invoke("new", kind, f"my-{kind}")
    assert own_tests(here).returncode == 0
    method = here / "prefbench-my-objective" / "prefbench_my_objective" / "method.py"
    method.write_text(method.read_text().replace("** 2", "** 3"))
    failed = own_tests(here)
    assert failed.returncode == 1
    assert "TestMyObjective" in failed.stdout


def own_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(path) for path in sorted(folder.glob("prefbench-*"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *paths]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *paths]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "x" * LONGEST])
def test_it_is_in_ruffs_style_whatever_the_name(here: Path, kind: Kind, name: str) -> None:
    pytest.importorskip("ruff", reason="a check of style, where ruff is installed")
    invoke("new", kind, name, "--folder", "mine")
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run([sys.executable, "-m", "ruff", *command, "mine"], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["My-Loss", "my_loss", "my--loss", "-x", "2fast", "a/b", "..", "", "x" * (LONGEST + 1)])
def test_a_name_that_no_folder_module_and_class_can_share(here: Path, name: str) -> None:
    error = refusal("objective", "--", name)
    assert "cannot be a name" in str(error)
    assert "my-loss" in error.hint
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["class", "none", "objective", "pair-batch", "worked"])
def test_a_name_whose_class_would_hide_another(here: Path, name: str) -> None:
    assert "means something else" in str(refusal("objective", name))


def test_a_name_that_is_taken(here: Path, site: PluginSite) -> None:
    """By a component of the kind, or by a distribution that pip would replace; another kind's component is no hindrance."""
    site.install("prefbench-other", PLUGIN)
    assert str(refusal("objective", "dpo")) == f"prefbench {prefbench.__version__} has objective 'dpo' already"
    assert str(refusal("scheduler", "other")) == "a distribution called prefbench-other is installed already"
    assert invoke("new", "column", "dpo").exit_code == 0


def test_a_name_that_a_broken_plugin_had(here: Path, site: PluginSite) -> None:
    site.install("mine", PLUGIN.replace("beta: float = hyper(0.1", "beta: float = hyper(-0.1"))
    assert str(refusal("objective", "my-loss")) == "mine 1.0 has objective 'my-loss' already"


def test_a_folder_with_files_is_left_alone(here: Path) -> None:
    (here / "mine").mkdir()
    assert invoke("new", "objective", "my-loss", "--folder", "mine").exit_code == 0
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert str(refusal("column", "my-gap", "--folder", "mine")) == "mine is not empty"
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
