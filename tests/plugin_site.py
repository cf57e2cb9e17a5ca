"""Plugins made on the spot: source texts, and a folder on the import path that installs them as a package manager would."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

LOSS = '''\
from dataclasses import dataclass

from prefbench.api import Objective, PairBatch, hookimpl, hyper


@dataclass
class MyLoss(Objective):
    """Minus the margin."""

    name = "my-loss"
    beta: float = hyper(0.1, low=0.0, doc="scale")

    def per_pair(self, batch: PairBatch):
        return -self.beta * batch.margin
'''
HOOK = """

@hookimpl
def prefbench_objectives():
    return [MyLoss]
"""
PLUGIN = LOSS + HOOK


def line_with(source: str, text: str) -> int:
    """The number of the first line that contains ``text``."""
    return next(number for number, line in enumerate(source.splitlines(), start=1) if text in line)


class PluginSite:
    """A folder on the import path, with an installed distribution per plugin."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))

    def install(self, name: str, source: str, requires: Sequence[str] = (), version: str = "1.0") -> Path:
        """A distribution with one module and one entry point, both called ``name``."""
        module = self.folder / f"{name}.py"
        module.write_text(source)
        self.describe(name, {"entry_points.txt": f"[prefbench]\n{name} = {name}\n"}, requires, version)
        return module

    def install_folder(self, folder: Path) -> None:
        """The distribution that a folder's pyproject.toml describes, as ``pip install -e`` does it: its files stay where they are."""
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        lines = [f"{name} = {value}\n" for name, value in project["entry-points"]["prefbench"].items()]
        self.describe(
            project["name"], {"entry_points.txt": "".join(["[prefbench]\n", *lines])}, project["dependencies"], project["version"]
        )
        self._monkeypatch.syspath_prepend(str(folder))

    def describe(self, name: str, files: Mapping[str, str], requires: Sequence[str] = (), version: str = "1.0") -> None:
        """The metadata folder of a distribution."""
        folder = self.folder / f"{name}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
        contents = {"METADATA": "\n".join(lines) + "\n", **files}
        for file, text in contents.items():
            (folder / file).write_text(text)
        (folder / "RECORD").write_text("".join(f"{folder.name}/{file},,\n" for file in [*contents, "RECORD"]))
        importlib.invalidate_caches()

    def set(self, variable: str, value: str) -> None:
        """Set an environment variable for the test."""
        self._monkeypatch.setenv(variable, value)
