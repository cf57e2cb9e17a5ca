"""The distributions under plugins/, each on its own: installed its names are there, uninstalled they are gone."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from prefbench.registry import Registry, build, load_registry
from tests.plugin_site import PluginSite

PLUGINS = sorted(path.parent for path in Path(__file__).parents[1].glob("plugins/*/pyproject.toml"))
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda folder: folder.name)


def install(site: PluginSite, plugin: Path) -> dict[str, Any]:
    """Package and metadata as its wheel would have them, on the import path before any installation that may be there; its project table.

    The entry points get other names, because the site switches off those of whatever is installed.
    """
    settings = tomllib.loads((plugin / "pyproject.toml").read_text())
    project, packages = settings["project"], settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for package in packages:
        shutil.copytree(plugin / package, site.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    entries = project["entry-points"]["prefbench"]
    lines = ["[prefbench]", *(f"{name}-of-this-checkout = {module}" for name, module in entries.items())]
    site.describe(project["name"], {"entry_points.txt": "\n".join(lines) + "\n"}, project["dependencies"], project["version"])
    return project


def provided(registry: Registry, distribution: str) -> list[str]:
    return [name for row in registry.rows if row.distribution == distribution and row.status == "ok" for name in row.provides]


@each_plugin
def test_installed_its_names_are_there_and_uninstalled_they_are_gone(site: PluginSite, plugin: Path) -> None:
    before = {kind: load_registry().names(kind) for kind in ("objective", "scheduler", "column")}
    project = install(site, plugin)
    registry = load_registry()
    names = [name.split(" ") for name in provided(registry, project["name"])]
    assert names
    for kind, name in names:
        assert registry.origin(kind, name).distribution == project["name"]
        assert name not in before[kind]
        build(registry.get(kind, name), {})
    shutil.rmtree(next(site.folder.glob("*.dist-info")))
    assert {kind: load_registry().names(kind) for kind in before} == before


@each_plugin
def test_its_readme_tells_of_every_name_and_option(site: PluginSite, plugin: Path) -> None:
    readme = (plugin / "README.md").read_text()
    project = install(site, plugin)
    registry = load_registry()
    for kind, name in (entry.split(" ") for entry in provided(registry, project["name"])):
        missing = [word for word in (name, *build(registry.get(kind, name), {}).options()) if f"`{word}`" not in readme]
        assert missing == [], name
    assert f"pip install plugins/{plugin.name}" in readme
    assert "License: Apache-2.0" in readme


def test_options_of_a_plugin_are_checked(site: PluginSite) -> None:
    """Integers become floats, and the others keep their defaults."""
    install(site, next(plugin for plugin in PLUGINS if plugin.name == "prefbench-margin"))
    hinge = build(load_registry().get("objective", "apo-hinge-zero"), {"margin": 2})
    assert hinge.options() == {"beta": 0.1, "margin": 2.0, "double_beta": False}
