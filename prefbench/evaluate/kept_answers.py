"""Answers that are finished, kept line by line in a file, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prefbench.engine.tasks import Report
from prefbench.errors import DamagedError
from prefbench.store.files import lines_bytes, storage_error, write_bytes
from prefbench.store.sealed import sealed, unsealed


@dataclass(frozen=True)
class KeptAnswers:
    """An append-only file of token ids under one key, a sealed line per answer; lines of another key are of no use, and go.

    A line names the key, the stream, the question's id, in ``asked`` the digest of all that decides the answer, its ``tokens``, and the
    ``seconds`` that they took: an equal share of its batch's.
    """

    path: Path
    key: str

    def find(self, asked: Sequence[str]) -> list[list[int]] | None:
        """The token ids of some answers, or None unless all of them are finished."""
        found: list[list[int]] = [self._lines[name]["tokens"] for name in asked if name in self._lines]
        return found if len(found) == len(asked) else None

    def seconds(self) -> float:
        """What all of them took."""
        return float(sum(line["seconds"] for line in self._lines.values()))

    def add(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Append answers, lines without their key, flushed to disk. Raises StorageError where they cannot be written."""
        lines = [{"key": self.key, **answer} for answer in answers]
        self._lines.update({line["asked"]: line for line in lines})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(lines_bytes(map(sealed, lines)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) or error from None

    def remove(self) -> None:
        """Forget them: what they were for is stored elsewhere."""
        self.path.unlink(missing_ok=True)

    @cached_property
    def _lines(self) -> dict[str, dict[str, Any]]:
        """The lines by ``asked``. What else the file holds is dropped from it: a half-written last line would spoil the next one."""
        if not self.path.exists():
            return {}
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [(line, content) for line in lines if (content := self._content(line))]
        if not kept:
            self.remove()
        elif len(kept) < len(lines):
            write_bytes(self.path, b"".join(line for line, _ in kept))
        return {content["asked"]: content for _, content in kept}

    def _content(self, line: bytes) -> dict[str, Any] | None:
        """What a line says; None for one that is torn, changed, or of another key."""
        try:
            content = unsealed(json.loads(line), self.path) if line.endswith(b"\n") else {}
        except (ValueError, DamagedError):
            return None
        return content if content.get("key") == self.key else None


@dataclass(frozen=True)
class Progress:
    """Who is told how many answers there are, and may end the work by raising; and where the finished ones are kept, if anywhere."""

    report: Report = lambda _: None
    kept: KeptAnswers | None = None


UNTOLD = Progress()
"""Nobody is told, and nothing is kept."""
