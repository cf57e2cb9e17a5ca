"""SamS, the sample scheduler of arXiv 2506.17252, registered with prefbench."""

from __future__ import annotations

from prefbench.api import Scheduler, hookimpl
from prefbench_sams.scheduler import Sams

__all__ = ["Sams", "prefbench_schedulers"]


@hookimpl
def prefbench_schedulers() -> list[type[Scheduler]]:
    """SamS."""
    return [Sams]
