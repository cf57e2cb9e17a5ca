"""Files that prove themselves: JSON and tensors that carry their own digest, and what becomes of those that do not match it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefbench.errors import DamagedError
from prefbench.identity import digest
from prefbench.store.files import RUN_AGAIN, lines_digest, read_json, read_packed_json, replacing, write_json, write_packed_json

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
SEAL = "sha256"
"""The key of the digest in a sealed file."""

logger = logging.getLogger("prefbench")

# ---------------------------------------------------------------- JSON


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value with the sha256 of its canonical JSON as its last key. Keys must be texts: JSON has no others."""
    return {**value, SEAL: digest(value)}


def unsealed(value: Any, path: Path) -> dict[str, Any]:
    """The value of a sealed one. Raises DamagedError naming ``path`` where the digest is another or missing."""
    if not isinstance(value, dict):
        raise DamagedError(f"{path}: damaged: not a JSON object", RUN_AGAIN)
    content = {key: entry for key, entry in value.items() if key != SEAL}
    if digest(content) != value.get(SEAL):
        raise DamagedError(f"{path}: damaged: its content does not have the sha256 that it states", RUN_AGAIN)
    return content


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write sealed JSON atomically, gzipped where the name ends with .gz."""
    (write_packed_json if path.suffix == ".gz" else write_json)(path, sealed(value))


def read_sealed(path: Path) -> dict[str, Any]:
    """The value of a file that ``write_sealed`` wrote. Raises DamagedError where it is not what was written."""
    return unsealed((read_packed_json if path.suffix == ".gz" else read_json)(path), path)


# ---------------------------------------------------------------- tensors


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: str = "") -> None:
    """Write tensors by name, and a text about them, as one sealed safetensors file, atomically."""
    from safetensors.torch import save_file

    seal = tensors_digest(tensors, about)
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"about": about, SEAL: seal})


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors and the text of a file that ``write_tensors`` wrote. Raises DamagedError where it is not what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"{path}: damaged: {error}", RUN_AGAIN) from None
    about = metadata.get("about", "")
    if tensors_digest(tensors, about) != metadata.get(SEAL):
        raise DamagedError(f"{path}: damaged: its content does not have the sha256 that it states", RUN_AGAIN)
    return tensors, about


def tensors_digest(tensors: Mapping[str, torch.Tensor], about: str = "") -> str:
    """sha256 over names, dtypes, shapes and bytes, and the text; 64 hexadecimal digits."""
    import torch

    found = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


# ---------------------------------------------------------------- damage


def read_or_set_aside(path: Path, read: Callable[[Path], T]) -> T | None:
    """What ``read`` gives; None where there is no such file, or where it is damaged and was therefore set aside."""
    if not path.exists():
        return None
    try:
        return read(path)
    except DamagedError as error:
        set_aside(path, error)
        return None


def set_aside(path: Path, reason: object) -> None:
    """Rename a damaged file or folder to ``NAME.damaged`` (``.damaged-2``, ...), where it is in nobody's way, and say so."""
    with suppress(FileNotFoundError):  # another process was faster, or the file was missing in the first place
        target = _free_name(path)
        path.rename(target)
        logger.warning("%s; kept as %s and made anew", reason, target.name)


def _free_name(path: Path) -> Path:
    name, number = path.with_name(f"{path.name}.damaged"), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.damaged-{number}")
    return name


def lines_are_whole(path: Path, expected: str) -> bool:
    """Whether a gzipped JSON lines file has the content of this sha256, which is stored elsewhere; one that has another is set aside."""

    def check(found: Path) -> str:
        if lines_digest(found) != expected:
            raise DamagedError(f"{found}: damaged: its lines do not have the sha256 that is recorded", RUN_AGAIN)
        return expected

    return read_or_set_aside(path, check) is not None
