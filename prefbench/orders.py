"""What workers are asked to do, and where; light to import, for the process that only asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefbench.config import Row, Track
from prefbench.plan import Cell


@dataclass(frozen=True)
class Site:
    """Where a run happens: its track, its plugin files, its folder, the cache, the compute dtype, and the folder in which judging is charged where
    that is another."""

    track: Track
    plugin_files: tuple[Path, ...]
    folder: Path
    cache: Path
    dtype: str
    account: Path | None = None


@dataclass(frozen=True)
class Order:
    """What a worker is asked to do: ``prepare``, ``measure`` (thread counts), ``room`` (cells that a GPU holds), ``calibrate`` (a harness), ``data``
    (of a seed), ``column`` (as a row needs it), ``compilation`` (whether it pays), ``selection`` (how a row's is trained on) or ``cell``."""

    kind: str
    site: Site
    threads: int
    seed: int = 0
    condition: str = ""
    harness: str = ""
    candidates: tuple[int, ...] = ()
    row: Row | None = None
    column: str = ""
    cell: Cell | None = None
    profile: bool = False
