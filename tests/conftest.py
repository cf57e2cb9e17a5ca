"""Fixtures that several folders share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefbench.registry import list_plugins
from tests.plugin_site import PluginSite


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginSite]:
    """A place to install plugins of the test's own, beside the built-in objectives and schedulers and nothing else."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PREFBENCH_STRICT_PLUGINS", raising=False)
    monkeypatch.delenv("PREFBENCH_DISABLE_PLUGINS", raising=False)
    others = {row.name for row in list_plugins()} - {"objectives", "schedulers"}
    monkeypatch.setenv("PREFBENCH_DISABLE_PLUGINS", ",".join(sorted(others)))
    before = set(sys.modules)
    yield PluginSite(tmp_path / "site", monkeypatch)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
