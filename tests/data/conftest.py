"""A hub and a cache of data sets that are this test's own, and no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets.config
import huggingface_hub.constants
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Hub = Callable[[str, str], Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Makes the snapshot folder of a repository in the hub's cache, as a download leaves it: of ``model`` or ``dataset``, OWNER/NAME."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def snapshot(kind: str, repo: str) -> Path:
        folder = tmp_path / "hub" / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / COMMIT
        folder.mkdir(parents=True)
        return folder

    return snapshot


@pytest.fixture
def own_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``datasets`` keeps, it keeps in the test's folder; and it asks no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
