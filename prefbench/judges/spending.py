"""What a run folder has spent on its judge, shared by its worker processes, and the limits that no call may exceed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from prefbench.api import Tariff
from prefbench.errors import PrefbenchError
from prefbench.store.sealed import read_sealed, write_sealed

LEDGER = "spent.json"
"""The ledger's name in a run folder."""
PER_MESSAGE, PER_REQUEST = 16, 64
"""Tokens that a chat template adds, at most, to a message and to a request."""


@dataclass(frozen=True)
class Spent:
    """Calls, and the tokens of their messages and replies."""

    calls: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0

    def plus(self, other: Spent, sign: int = 1) -> Spent:
        """Both together; with ``sign`` -1, the difference."""
        return Spent(
            self.calls + sign * other.calls,
            self.prompt_tokens + sign * other.prompt_tokens,
            self.reply_tokens + sign * other.reply_tokens,
        )


def worst_case(body: Mapping[str, Any]) -> Spent:
    """The most that a request can cost: no tokenizer that falls back to bytes makes more tokens of a text than it has bytes."""
    sent = {name: body[name] for name in ("messages", "functions", "tools") if name in body}
    limit = body.get("max_completion_tokens", body.get("max_tokens", 0))
    written = len(json.dumps(sent, ensure_ascii=False).encode())
    return Spent(1, written + PER_MESSAGE * len(body["messages"]) + PER_REQUEST, int(limit) * int(body.get("n") or 1))


def spent_in(folder: Path) -> Spent:
    """What a run folder has spent so far, with what is reserved now. Raises DamagedError."""
    path = folder / LEDGER
    return _spent(read_sealed(path)) if path.exists() else Spent()


class Ledger:
    """Counts what is spent, in a file under a lock, or in memory without a file. A call reserves its worst case before it is sent.

    What a killed process had reserved stays reserved: it may have been billed.
    """

    def __init__(self, tariff: Tariff, path: Path | None = None, per_minute: int = 0) -> None:
        self.tariff, self.path, self.per_minute = tariff, path, per_minute
        self._turn, self._under_way = threading.Condition(), 0
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False, poll_interval=0.005) if path else None
        self._kept: dict[str, Any] = {}

    @contextmanager
    def call(self, worst: Spent) -> Iterator[float]:
        """A call, its worst case put aside; gives the seconds until it may be sent.

        Where a limit would be exceeded it waits for what this process has under way, which mostly takes less than it reserved; with nothing
        under way it raises PrefbenchError.
        """
        with self._turn:
            seconds = self._reserve_in_turn(worst)
            self._under_way += 1
        try:
            yield seconds
        finally:
            with self._turn:
                self._under_way -= 1
                self._turn.notify_all()

    def _reserve_in_turn(self, worst: Spent) -> float:
        while True:
            try:
                return self.reserve(worst)
            except PrefbenchError:
                if not self._under_way:
                    raise
                self._turn.wait()

    def reserve(self, worst: Spent) -> float:
        """Put a call's worst case aside; the seconds until it may be sent. Raises PrefbenchError where a limit would be exceeded."""
        with self._opened() as kept:
            spent = _spent(kept).plus(worst)
            if limit := self.tariff.exceeded(spent.calls, spent.prompt_tokens, spent.reply_tokens):
                raise self._over(limit, _spent(kept))
            now = time.time()  # the clock that processes share
            due = max(now, kept.get("next_call", 0.0)) if self.per_minute else now
            kept.update(asdict(spent), next_call=due + 60 / self.per_minute if self.per_minute else 0.0)
            return due - now

    def settle(self, worst: Spent, used: Spent) -> None:
        """Replace what a call reserved by what it used."""
        with self._opened() as kept:
            kept.update(asdict(_spent(kept).plus(worst, -1).plus(used)))

    @contextmanager
    def _opened(self) -> Iterator[dict[str, Any]]:
        """What is kept, to be read and changed by one at a time; it is written back unless something is raised."""
        with self._turn:
            if self.path is None or self._lock is None:
                yield self._kept
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                before = read_sealed(self.path) if self.path.exists() else {}
                kept = dict(before)
                yield kept
                if kept != before:
                    write_sealed(self.path, kept)

    def _over(self, limit: str, spent: Spent) -> PrefbenchError:
        tokens, cost = spent.prompt_tokens + spent.reply_tokens, self.tariff.cost(spent.prompt_tokens, spent.reply_tokens)
        message = (
            f"the judge's budget is used up: another call could exceed {limit} = {getattr(self.tariff, limit):g}"
            f" (so far {spent.calls} calls, {tokens} tokens, cost {cost:.4f})"
        )
        hint = f"raise {limit} under [judge] in the track and run again with --retry-failed: the replies that are there are kept"
        return PrefbenchError(message, hint, exit_code=1)


def _spent(kept: Mapping[str, Any]) -> Spent:
    return Spent(**{name: kept.get(name, 0) for name in ("calls", "prompt_tokens", "reply_tokens")})
