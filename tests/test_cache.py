"""The cache folder: the user's own, unless PREFBENCH_CACHE names another."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.cache import cache_folder


def test_variable_wins_and_the_path_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Worker processes may start in another folder: a relative path would give each its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFBENCH_CACHE", "mine")
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PREFBENCH_CACHE", value)
    folder = cache_folder()
    monkeypatch.delenv("PREFBENCH_CACHE")
    assert folder == cache_folder()
    assert "prefbench" in folder.name
