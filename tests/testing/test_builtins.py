"""Every component that comes with prefbench, and of every plugin that is installed, keeps the contract of its kind."""

from __future__ import annotations

import pytest

from prefbench.prefworld.annotator import PrefworldAnnotator
from prefbench.prefworld.source import Prefworld
from prefbench.registry import Kind, load_registry
from prefbench.testing import JudgeContract
from tests.testing.caught import caught

REGISTRY = load_registry()
EVERY: list[tuple[Kind, str]] = [(kind, name) for kind in ("objective", "scheduler", "column") for name in REGISTRY.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda part: part)
def test_it_keeps_its_contract(kind: Kind, name: str) -> None:
    assert caught(kind, REGISTRY.get(kind, name)) == {}


class TestPrefworldAnnotator(JudgeContract):
    """It knows questions of its own world only."""

    component = PrefworldAnnotator
    variants = ({}, {"length_bias": 0.5})
    questions = tuple(Prefworld(dialogue_count=4).questions("mt_bench"))
    answers = (*(questions[0].references or ("the things are cup and key .",)), "sure", "")
