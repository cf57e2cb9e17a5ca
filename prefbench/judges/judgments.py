"""Kept judgments: an append-only file of JSON lines per judge, which any number of processes read and write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from prefbench.api import JudgeReply, JudgeRequest
from prefbench.store.files import storage_error

_KEY = b'{"key":"'
"""How a line begins; the 64 digits of the key follow, so that a file is indexed without reading its JSON."""
_DIGITS = slice(len(_KEY), len(_KEY) + 64)


class Judgments:
    """The replies of one judge by key. A line holds the key, the question's id, the messages, and the reply with its usage and raw form.

    A line that was never finished, because the process that wrote it died, counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "judgments.jsonl"
        self._places: dict[str, int] = {}
        self._read_to = 0

    def __len__(self) -> int:
        return len(self._places)

    def look_again(self) -> None:
        """Learn what was added since, by whomever."""
        if not self.path.exists():
            self._places, self._read_to = {}, 0
            return
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if line.startswith(_KEY):
                    self._places[line[_DIGITS].decode("ascii", "replace")] = self._read_to
                self._read_to += len(line)

    def find(self, key: str) -> JudgeReply | None:
        """The reply under a key, as far as was looked."""
        if key not in self._places:
            return None
        with self.path.open("rb") as file:
            file.seek(self._places[key])
            return _reply(file.readline())

    def add(self, key: str, request: JudgeRequest, reply: JudgeReply) -> None:
        """Append a judgment, on disk when this returns. Raises StorageError where it cannot be written."""
        line = json.dumps({"key": key, **_written(request, reply)}, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock")), self.path.open("ab+") as file:
                file.write(_end_of_torn_line(file) + line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) or error from None


def _end_of_torn_line(file: BinaryIO) -> bytes:
    """A line break, where the last one that wrote here did not come to its end."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _written(request: JudgeRequest, reply: JudgeReply) -> dict[str, Any]:
    return {
        "question": request.question.id,
        "messages": [dict(message) for message in request.messages],
        "text": reply.text,
        "log_probs": None if reply.log_probs is None else dict(reply.log_probs),
        "usage": dict(reply.usage),
        "raw": dict(reply.raw),
    }


def _reply(line: bytes) -> JudgeReply | None:
    """The reply of a line; None of one that is no JSON."""
    try:
        found: Mapping[str, Any] = json.loads(line)
        return JudgeReply(found["text"], found["log_probs"], found["usage"], found["raw"])
    except (ValueError, LookupError):
        return None
