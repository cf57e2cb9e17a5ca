"""Where models, pairs and questions come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.api.component import Component
from prefbench.api.pairs import Pair, Question


class Source(Component, ABC):
    """Where models, pairs and questions come from. Its fields are the options of the track's ``[source]`` table."""

    def locate(self, folder: Path) -> Source:
        """Itself, with paths that a track file gives relative to its own folder resolved."""
        return self

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """JSON-able description of everything that its models and pairs depend on: options, versions, hashes of files; no paths, no host."""

    def harness_identity(self, harness: str) -> Mapping[str, Any]:
        """The same of a harness's questions, under ``questions``, and of its further files, under ``files``: neither trains anything again."""
        return {}

    @abstractmethod
    def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
        """Make or find what all cells share, under ``cache``. Cheap when done before; safe when two processes call it."""

    def describe(self, cache: Path) -> list[str]:
        """What the pairs are, in lines for people, such as their count and format; nothing where there is nothing to say. May read all pairs."""
        return []

    @abstractmethod
    def models(self) -> Mapping[str, Path]:
        """Hugging Face folders by role: ``sft`` is where training starts and the reference; ``base`` where there is one. After ``prepare``."""

    @abstractmethod
    def pairs(self, seed: int) -> Sequence[Pair]:
        """The training pairs of a seed, in a fixed order. After ``prepare``."""

    @abstractmethod
    def held_out(self) -> Sequence[Pair]:
        """Pairs that no training pair shares a prompt with; the same for every seed. After ``prepare``."""

    @property
    def pair_columns(self) -> tuple[str, ...] | None:
        """Names of the numbers that every training pair brings, so that a method that needs another one is refused before anything starts; None
        where they are not known before the pairs are."""
        return None

    def origin(self, pair: Pair) -> str:
        """Where a pair of ``pairs`` is from, such as a file's name and a row number, for a list of what was left out; empty where nobody knows."""
        return ""

    def questions(self, harness: str) -> Sequence[Question]:
        """The questions of a harness, by the harness's name; empty when the source has none."""
        return ()

    def files(self, harness: str) -> Mapping[str, Path]:
        """Files that a harness reads besides its questions, by name, such as ``references`` or ``judge_prompts``. After ``prepare``."""
        return {}

    def compare(self, question: Question, answer: str, baseline: str) -> Mapping[str, float]:
        """Extra preferences for ``answer`` over ``baseline`` that only the source can know, each in [0, 1], by metric name."""
        return {}
