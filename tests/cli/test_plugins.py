"""``prefbench plugins``, as a person and as a script see it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from prefbench.cli.plugins import plugins
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
    invoke("--check")
    after = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mine = next(row for row in json.loads(after.stdout) if row["plugin"] == "mine")
    assert (mine["status"], mine["provides"]) == ("ok", ["objective my-loss"])


def test_check_names_the_broken_and_goes_on(site: PluginSite) -> None:
    site.install("alpha", "import a_library_that_is_not_here\n")
    site.install("beta", PLUGIN)
    result = invoke("--check", "--format", "json")
    assert result.exit_code == 3
    assert rows(result)["alpha"]["reason"] == "ModuleNotFoundError: No module named 'a_library_that_is_not_here'"
    assert rows(result)["alpha"]["where"] == f"{site.folder / 'alpha.py'}:1"
    assert rows(result)["beta"]["provides"] == ["objective my-loss"]
    assert "objective dpo" in rows(result)["objectives"]["provides"]  # type: ignore[operator]


def test_check_of_sound_plugins_succeeds_even_unwritten(site: PluginSite, tmp_path: Path) -> None:
    """A cache folder that cannot be made costs the memory of the check, not the check."""
    (tmp_path / "file").write_text("")
    site.set("PREFBENCH_CACHE", str(tmp_path / "file" / "cache"))
    result = invoke("--check")
    assert result.exit_code == 0
    assert "could not be remembered" in result.stderr


def test_an_edit_makes_the_last_check_stale(site: PluginSite) -> None:
    module = site.install("mine", PLUGIN)
    invoke("--check")
    assert rows(invoke("--format", "json"))["mine"]["status"] == "ok"
    module.write_text(PLUGIN + "\n# edited\n")
    assert rows(invoke("--format", "json"))["mine"]["status"] == "unchecked"


def test_damaged_memory_is_no_memory(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "plugins.json").write_text("{ half a fi")
    assert rows(invoke("--format", "json"))["objectives"]["status"] == "unchecked"


def test_file_is_listed_and_checked_with_the_others(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(PLUGIN)
    listed = rows(invoke("--plugin", str(tmp_path / "my_loss.py"), "--format", "json"))
    checked = rows(invoke("--check", "--plugin", str(tmp_path / "my_loss.py"), "--format", "json"))
    assert listed["my_loss"]["status"] == "unchecked"
    assert checked["my_loss"]["provides"] == ["objective my-loss"]


@pytest.mark.parametrize("format", ["table", "csv", "md"])
def test_the_same_rows_in_every_format(site: PluginSite, format: str) -> None:
    result = invoke("--format", format)
    assert result.exit_code == 0
    assert "objectives" in result.stdout
    assert "schedulers" in result.stdout
