"""Fixtures of the judges' tests."""

from __future__ import annotations

import pytest

from prefbench.judges import client

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key that the endpoint judge finds, and waits that no test has the time for."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    return KEY
