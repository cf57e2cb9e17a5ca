"""What makes two results the same result: canonical JSON, and the key of each stage of a cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IDENTITY_VERSION = 1
"""Part of every key; raised when the include lists change their meaning."""

CORE_NUMERICS_VERSION = 2
"""Part of every train key; raised when the golden loss test of the core changes."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; floats as Python prints them (shortest that reads back). NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def stage_key(stage: str, include: Mapping[str, Any]) -> str:
    """The key of a stage: a digest of its name, the identity version and the explicit include list."""
    return digest({"stage": stage, "identity_version": IDENTITY_VERSION, "include": include})


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
