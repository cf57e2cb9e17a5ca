"""How worker processes come to be: forked from a server that has imported what all of them need, or spawned where that cannot be."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

PRELUDE = "prefbench.engine.prelude"
GPU_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""CUDA and ROCm do not outlive a fork, and a library may wake them while it is imported: with either, each worker imports for itself."""


def forks() -> bool:
    """Whether workers are forked from a server: on Linux, without a GPU. Elsewhere system libraries may not outlive a fork either."""
    return sys.platform == "linux" and not any(path.exists() for path in GPU_DRIVERS)


def context() -> ForkServerContext | SpawnContext:
    """Where workers are started. Never by a fork of this process, which would copy its threads in whatever state they are."""
    return multiprocessing.get_context("forkserver") if forks() else multiprocessing.get_context("spawn")


def begin_importing(entry: str) -> None:
    """Let the server import the module of ``module:name``, once for all workers, while this process goes on with something else."""
    # OpenMP's threads spin while they wait; on a machine that others use too, long spinning made a step forty times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if forks():
        multiprocessing.set_forkserver_preload([PRELUDE, entry.split(":")[0]])
        with _finding_the_same_modules():
            forkserver.ensure_running()


@contextmanager
def _finding_the_same_modules() -> Iterator[None]:
    """The environment in which a new interpreter finds the modules that this one finds, and not those of the folder that it is started in:
    a file ``random.py`` there, or another checkout, would be what every worker runs."""
    there = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    before = {name: os.environ.get(name) for name in there}
    os.environ.update(there)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
