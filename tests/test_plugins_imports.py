"""The distributions under plugins/ know no more of prefbench than a stranger's: ``prefbench.api``, and in their tests ``prefbench.testing``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = sorted(path.parent for path in Path(__file__).parents[1].glob("plugins/*/pyproject.toml"))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_the_api_and_its_tests_the_testing_kit(plugin: Path) -> None:
    files = sorted(path for path in plugin.rglob("*.py") if "build" not in path.relative_to(plugin).parts)
    assert files
    for file in files:
        allowed = ("prefbench.api", "prefbench.testing") if "tests" in file.relative_to(plugin).parts else ("prefbench.api",)
        assert [name for name in imported(file.read_text()) if not is_within(name, allowed)] == [], file


def imported(source: str) -> Iterator[str]:
    """Dotted names of what a source text imports of prefbench, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if is_within(name, ("prefbench",)))


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from prefbench.train.loop import run", ["prefbench.train.loop.run"]),
        ("def late():\n    from prefbench import registry", ["prefbench.registry"]),
        ("import prefbench.cell as cell, json", ["prefbench.cell"]),
        ("from prefbench_margin.ams import Ams\nfrom .api import x", []),
    ],
)
def test_every_way_to_import_is_seen(line: str, found: list[str]) -> None:
    """Late imports too; another package whose name begins alike, and relative imports, are not prefbench's."""
    assert list(imported(line)) == found
