"""Registers the built-in judges: a server's model, and a local one."""

from __future__ import annotations

from prefbench.api import Judge, hookimpl
from prefbench.judges.endpoint import Endpoint
from prefbench.judges.local import LocalModel


@hookimpl
def prefbench_judges() -> list[type[Judge]]:
    """The endpoint judge and the local judge."""
    return [Endpoint, LocalModel]
