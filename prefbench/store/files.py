"""Files that are whole or absent: JSON and gzipped JSON lines, written beside their place and moved into it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefbench.errors import PrefbenchError


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically: a temporary file in the same folder, flushed to disk, then moved over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON of a file. Raises PrefbenchError naming the file when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PrefbenchError(f"{path}: not valid JSON: {error}", "delete the file and run the same command again") from None


def lines_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON lines without spaces, the form that is hashed."""
    return "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write gzipped JSON lines atomically; the sha256 of the lines before compression, since zlib versions compress differently."""
    data = lines_bytes(rows)
    write_bytes(path, gzip.compress(data, compresslevel=9, mtime=0))
    return hashlib.sha256(data).hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a gzipped JSON lines file. Raises PrefbenchError naming the file when it is damaged."""
    try:
        return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    except (OSError, EOFError, ValueError) as error:
        raise PrefbenchError(f"{path}: damaged: {error}", "delete the file and run the same command again") from None


def lines_digest(path: Path) -> str:
    """sha256 of a gzipped JSON lines file's content, as ``write_lines`` gave it."""
    return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()


def write_packed_json(path: Path, value: Any) -> None:
    """Write gzipped canonical JSON atomically."""
    write_bytes(path, gzip.compress(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(), mtime=0))


def read_packed_json(path: Path) -> Any:
    """The value of a gzipped JSON file. Raises PrefbenchError naming the file when it is damaged."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise PrefbenchError(f"{path}: damaged: {error}", "delete the file and run the same command again") from None
