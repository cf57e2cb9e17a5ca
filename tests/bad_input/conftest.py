"""The good folder with a finished run in it, made once, and a copy of it for every bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.place import RUN, Bad, Told, given, good_folder, prefbench


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The good folder; its track has run into ``run``."""
    folder = good_folder(tmp_path_factory.mktemp("good"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(cache))
        patch.chdir(folder)
        assert prefbench(RUN, patch) == 0
    return folder


@pytest.fixture
def place(tmp_path: Path, good: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good folder, to be spoilt."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))
    return Path(shutil.copytree(good, tmp_path / "place"))


@pytest.fixture
def tell(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Bad], Told]:
    """Gives a bad input to prefbench, in a copy of the good folder."""
    return lambda bad: given(bad, place, monkeypatch, capsys)
