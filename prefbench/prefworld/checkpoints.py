"""Base and SFT checkpoints by content: built once under a lock, whole or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from prefbench.api import content_id
from prefbench.prefworld.world import WORLD_VERSION


@dataclass(frozen=True)
class Recipe:
    """All that the weights depend on, beside the code that ``WORLD_VERSION`` stands for."""

    world_seed: int
    base_steps: int
    sft_steps: int

    @property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return content_id(WORLD_VERSION, asdict(self))


def cached_models(recipe: Recipe, cache: Path, report: Callable[[str], None]) -> Path:
    """The folder with ``base`` and ``sft``, built when it is not there; of two processes, one builds and the other waits."""
    folder = cache / recipe.key
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{recipe.key}.lock"):
        if not folder.exists():
            _build(recipe, folder, report)
    return folder


def _build(recipe: Recipe, folder: Path, report: Callable[[str], None]) -> None:
    from prefbench.prefworld.base import build

    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        build(temporary, recipe.world_seed, recipe.base_steps, recipe.sft_steps, report)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
