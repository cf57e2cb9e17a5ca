"""Registers the built-in source of models and pairs as users have them."""

from __future__ import annotations

from prefbench.api import Source, hookimpl
from prefbench.data.files import Files


@hookimpl
def prefbench_sources() -> list[type[Source]]:
    """Files of this machine and of the hub."""
    return [Files]
