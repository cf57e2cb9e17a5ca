"""``prefbench plugins`` and ``prefbench show``, as a person and as a script see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from prefbench.cli.plugins import plugins
from prefbench.cli.show import show
from prefbench.errors import PrefbenchError
from tests.plugin_site import PLUGIN, PluginSite

WITHOUT_IMPORTS = """
import sys
sys.path.insert(0, {site!r})
from prefbench.cli.plugins import plugins
from prefbench.cli.tables import Format
plugins(format=Format.json)
heavy = {{"torch", "transformers", "numpy", "mine", "prefbench.objectives.plugin", "prefbench.evaluate"}} & set(sys.modules)
assert not heavy, heavy
"""


def invoke(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plugins)
    app.command()(show)
    return CliRunner().invoke(app, arguments)


def rows(result: Result) -> dict[str, dict[str, object]]:
    return {row["plugin"]: row for row in json.loads(result.stdout)}


def test_listing_imports_no_plugin_and_nothing_heavy(site: PluginSite) -> None:
    """So that it answers within half a second; also after a check, whose outcome it shows."""
    site.install("mine", PLUGIN)
    code = WITHOUT_IMPORTS.format(site=str(site.folder))
    before = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert next(row for row in json.loads(before.stdout) if row["plugin"] == "mine")["status"] == "unchecked"
    assert "prefbench plugins --check" in before.stderr
    invoke("plugins", "--check")
    after = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mine = next(row for row in json.loads(after.stdout) if row["plugin"] == "mine")
    assert (mine["status"], mine["provides"]) == ("ok", ["objective my-loss"])


def test_check_names_the_broken_and_goes_on(site: PluginSite) -> None:
    site.install("alpha", "import a_library_that_is_not_here\n")
    site.install("beta", PLUGIN)
    result = invoke("plugins", "--check", "--format", "json")
    assert result.exit_code == 3
    assert rows(result)["alpha"]["reason"] == "ModuleNotFoundError: No module named 'a_library_that_is_not_here'"
    assert rows(result)["alpha"]["where"] == f"{site.folder / 'alpha.py'}:1"
    assert rows(result)["beta"]["provides"] == ["objective my-loss"]
    assert "objective dpo" in rows(result)["objectives"]["provides"]  # type: ignore[operator]


def test_check_of_sound_plugins_succeeds_even_unwritten(site: PluginSite, tmp_path: Path) -> None:
    """A cache folder that cannot be made costs the memory of the check, not the check."""
    (tmp_path / "file").write_text("")
    site.set("PREFBENCH_CACHE", str(tmp_path / "file" / "cache"))
    result = invoke("plugins", "--check")
    assert result.exit_code == 0
    assert "could not be remembered" in result.stderr


def test_an_edit_makes_the_last_check_stale(site: PluginSite) -> None:
    module = site.install("mine", PLUGIN)
    invoke("plugins", "--check")
    assert rows(invoke("plugins", "--format", "json"))["mine"]["status"] == "ok"
    module.write_text(PLUGIN + "\n# edited\n")
    assert rows(invoke("plugins", "--format", "json"))["mine"]["status"] == "unchecked"


def test_damaged_memory_is_no_memory(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "plugins.json").write_text("{ half a fi")
    assert rows(invoke("plugins", "--format", "json"))["objectives"]["status"] == "unchecked"


def test_file_is_listed_and_checked_with_the_others(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(PLUGIN)
    listed = rows(invoke("plugins", "--plugin", str(tmp_path / "my_loss.py"), "--format", "json"))
    checked = rows(invoke("plugins", "--check", "--plugin", str(tmp_path / "my_loss.py"), "--format", "json"))
    assert listed["my_loss"]["status"] == "unchecked"
    assert checked["my_loss"]["provides"] == ["objective my-loss"]


def test_show_tells_formula_options_and_origin(site: PluginSite) -> None:
    facts = {row["about"]: row["fact"] for row in json.loads(invoke("show", "dpo", "--format", "json").stdout)}
    assert "-(1 - eps) * log sigma(z) - eps * log sigma(-z)" in facts["definition"]
    assert facts["option beta"] == "default 0.1, float, at least 1e-06: strength of the pull towards the reference"
    assert "arXiv 2305.18290" in facts["source"]
    assert facts["distribution"].startswith("prefbench ")
    assert len(facts["source sha256"]) == 64


def test_show_tells_what_a_scheduler_wants(site: PluginSite) -> None:
    facts = {row["about"]: row["fact"] for row in json.loads(invoke("show", "loss-ranked", "--format", "json").stdout)}
    assert facts["wants the statistics"] == "loss"
    assert "one of high | low" in facts["option order"]


def test_show_of_a_file(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(PLUGIN)
    result = invoke("show", "my-loss", "--plugin", str(tmp_path / "my_loss.py"))
    assert "Minus the margin." in result.stdout
    assert "a single file" in result.stdout


def test_show_of_nothing(site: PluginSite) -> None:
    error = invoke("show", "dop").exception
    assert isinstance(error, PrefbenchError)
    assert error.hint == "did you mean dpo?"
    assert error.exit_code == 2


@pytest.mark.parametrize("format", ["table", "csv", "md"])
def test_the_same_rows_in_every_format(site: PluginSite, format: str) -> None:
    result = invoke("plugins", "--format", format)
    assert result.exit_code == 0
    assert "objectives" in result.stdout
    assert "schedulers" in result.stdout
