"""Base and SFT checkpoints by content: built once under a lock, whole or absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from prefbench.api import content_id
from prefbench.errors import DamagedError
from prefbench.identity import file_digest
from prefbench.prefworld.world import WORLD_VERSION
from prefbench.store.files import RUN_AGAIN
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed

SEAL = "models.json"
"""The file with the digest of every other."""


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
    """The folder with ``base`` and ``sft``, built when it is not there or not whole; of two processes, one builds and the other waits."""
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{recipe.key}.lock"):
        return read_or_set_aside(cache / recipe.key, whole) or _build(recipe, cache / recipe.key, report)


def whole(folder: Path) -> Path:
    """The folder itself. Raises DamagedError when a file of its models is not as it was built."""
    if read_sealed(folder / SEAL) != _digests(folder):
        raise DamagedError(f"{folder}: damaged: a file of its models has changed", RUN_AGAIN)
    return folder


def _build(recipe: Recipe, folder: Path, report: Callable[[str], None]) -> Path:
    from prefbench.prefworld.base import build

    building = folder.with_name(f"{folder.name}.building")  # kept when the process is killed, and gone on with
    build(building, recipe.world_seed, recipe.base_steps, recipe.sft_steps, report)
    write_sealed(building / SEAL, _digests(building))
    building.rename(folder)
    return folder


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for role in ("base", "sft") for path in (folder / role).iterdir())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
