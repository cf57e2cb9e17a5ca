"""prefbench's side as a worker of a run begins: with all that a worker imports, while the collection of garbage is off."""

from __future__ import annotations

import gc

gc.disable()  # as prefbench.engine.worker does: collecting while modules load takes an eighth of the time

import prefbench.cell  # noqa: E402, F401  # what a worker imports, used here or not
from benchmarks.trl.ours import run  # noqa: E402
from benchmarks.trl.sides import serve  # noqa: E402

if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    serve(run)
