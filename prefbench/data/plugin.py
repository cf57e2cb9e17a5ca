"""Registers the built-in source of local files."""

from __future__ import annotations

from prefbench.api import Source, hookimpl
from prefbench.data.local import LocalFiles


@hookimpl
def prefbench_sources() -> list[type[Source]]:
    """Local files."""
    return [LocalFiles]
