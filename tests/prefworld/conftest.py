"""A miniature of the embedded track: a few steps of training and a few pairs, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from prefbench.prefworld.source import Prefworld

MINIATURE = {
    "base_steps": 3,
    "sft_steps": 2,
    "pair_count": 24,
    "prompt_count": 32,
    "question_count": 16,
    "validation_count": 16,
    "dialogue_count": 8,
    "held_out_count": 8,
}


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are many times slower on as many threads as a busy machine has cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def prefworld(cache: Path) -> Prefworld:
    source = Prefworld(**MINIATURE)
    source.prepare(cache, lambda _: None)
    return source
