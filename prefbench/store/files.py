"""Files that are whole or absent: JSON and gzipped JSON lines, written beside their place and moved into it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefbench.errors import DamagedError, StorageError

PARTIAL = ".partial"
"""How the names of files end that are being written; what a killed process leaves behind has such a name."""

FREE_SPACE = "free some space and run the same command again: what is finished is kept"
RUN_AGAIN = "run the same command again: it is set aside and made anew"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, which is flushed to disk and moved over it at the end: whole or absent.

    Raises StorageError where there is no room, or no right, to write; the temporary file is removed then.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise storage_error(path, error) or error from None


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_RIGHT = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


def storage_error(path: Path, error: BaseException) -> StorageError | None:
    """What a user is told where writing ``path`` failed for a reason outside prefbench; None for any other error."""
    number = error.errno if isinstance(error, OSError) else _written_errno(error)
    if number in NO_ROOM:
        return StorageError(f"{path}: cannot be written: {os.strerror(number)}", FREE_SPACE, 1)
    if number in NO_RIGHT:
        return StorageError(f"{path}: cannot be written: {os.strerror(number)}", "make the folder writable, or give another one", 1)
    if number in NO_FOLDER:
        return StorageError(f"{path}: cannot be written: {os.strerror(number)}", "a file stands where a folder is due: move it away", 1)
    return None


def _written_errno(error: BaseException) -> int:
    """The number in ``... (os error 28)`` or ``Os { code: 28, ...``: libraries not written in Python put it into their message."""
    found = re.search(r"(?:\(os error |Os \{ code: )(\d+)", str(error))
    return int(found[1]) if found else 0


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON of a file. Raises DamagedError naming the file when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{path}: not valid JSON: {error}", RUN_AGAIN) from None


def lines_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON lines without spaces, the form that is hashed."""
    return "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write gzipped JSON lines atomically; the sha256 of the lines before compression, since zlib versions compress differently."""
    data = lines_bytes(rows)
    write_bytes(path, gzip.compress(data, compresslevel=9, mtime=0))
    return hashlib.sha256(data).hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a gzipped JSON lines file. Raises DamagedError naming the file when it is damaged."""
    try:
        return [json.loads(line) for line in unpacked(path).splitlines()]
    except ValueError as error:
        raise DamagedError(f"{path}: damaged: {error}", RUN_AGAIN) from None


def lines_digest(path: Path) -> str:
    """sha256 of a gzipped JSON lines file's content, as ``write_lines`` gave it. Raises DamagedError."""
    return hashlib.sha256(unpacked(path)).hexdigest()


def unpacked(path: Path) -> bytes:
    """The content of a gzipped file. Raises DamagedError naming the file when it is damaged or missing."""
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedError(f"{path}: damaged: {error}", RUN_AGAIN) from None


def write_packed_json(path: Path, value: Any) -> None:
    """Write gzipped canonical JSON atomically."""
    write_bytes(path, gzip.compress(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(), mtime=0))


def read_packed_json(path: Path) -> Any:
    """The value of a gzipped JSON file. Raises DamagedError naming the file when it is damaged."""
    try:
        return json.loads(unpacked(path))
    except ValueError as error:
        raise DamagedError(f"{path}: damaged: {error}", RUN_AGAIN) from None


def sweep(folder: Path, seconds: float = 0.0) -> None:
    """Remove what killed processes left half-written in a folder, if it is at least so many seconds old."""
    for path in folder.rglob(f".*{PARTIAL}"):
        if time.time() - path.stat().st_mtime >= seconds:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
