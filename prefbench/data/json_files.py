"""The harnesses' files: texts, and objects of a JSON list or of JSONL, packed or not."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.errors import PrefbenchError


def read_objects(path: Path, what: str = "JSON objects") -> list[dict[str, Any]]:
    """The objects of a JSON list or of JSONL, gzipped or not. Raises PrefbenchError, which says ``what`` is due, for anything else."""
    text = read_text(path)
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.split("\n") if line.strip()]
    except (json.JSONDecodeError, RecursionError) as error:
        raise PrefbenchError(f"{path}: not JSON: {error}", "give a JSON list of objects, or one JSON object per line") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise PrefbenchError(f"{path}: holds no {what}", "give a JSON list of objects, or one JSON object per line")
    return rows


def stem(path: Path) -> str:
    """A file's name without what says that it is JSON, and packed."""
    return re.sub(r"\.(jsonl?|gz)(?=\.|$)", "", path.name)


def described(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many rows there are, and the fields of the first."""
    return f"{len(rows)} rows with {', '.join(map(str, rows[0])) or 'no fields'}"


def read_text(path: Path) -> str:
    """A UTF-8 text file, unpacked where it is gzipped. Raises PrefbenchError when it cannot be read."""
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise PrefbenchError(f"{path}: cannot be read: {error}", "give a file that is there and whole") from None
    except UnicodeDecodeError as error:
        raise PrefbenchError(f"{path}: not UTF-8: {error}", "save it as UTF-8") from None
