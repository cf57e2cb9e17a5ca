"""Registers the embedded track's source and judge."""

from __future__ import annotations

from prefbench.api import Judge, Source, hookimpl
from prefbench.prefworld.annotator import PrefworldAnnotator
from prefbench.prefworld.source import Prefworld


@hookimpl
def prefbench_sources() -> list[type[Source]]:
    """The embedded source."""
    return [Prefworld]


@hookimpl
def prefbench_judges() -> list[type[Judge]]:
    """The embedded judge."""
    return [PrefworldAnnotator]
