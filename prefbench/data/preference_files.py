"""JSONL files of preference pairs in TRL's three shapes, read row by row; what is no pair is listed by row number, never skipped in silence."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from prefbench.api import Message, Pair, Prompt
from prefbench.errors import PrefbenchError

LISTED = 10
"""Bad rows that an error names; the rest are counted."""


class BadRowError(ValueError):
    """A row is no preference pair; the message says why."""


@dataclass(frozen=True)
class PairFile:
    """The pairs of a file in its order, and why each other row is none, by row number counted from 1 (blank lines count, and are no rows)."""

    path: Path
    pairs: tuple[Pair, ...]
    bad: Mapping[int, str] = field(default_factory=dict)

    def refuse_bad_rows(self) -> None:
        """Raise PrefbenchError that lists the bad rows, if there are any."""
        if not self.bad:
            return
        listed = ", ".join(f"row {row} ({reason})" for row, reason in list(self.bad.items())[:LISTED])
        more = f", and {len(self.bad) - LISTED} more" if len(self.bad) > LISTED else ""
        plural = "s" if len(self.bad) > 1 else ""
        raise PrefbenchError(
            f"{self.path}: {len(self.bad)} bad row{plural}: {listed}{more}",
            'a row is one JSON object on one line; mend the file, or leave such rows out with bad_rows = "drop"',
        )


# ---------------------------------------------------------------- files


def read_pairs(path: Path, columns: Sequence[str] = ()) -> PairFile:
    """Every pair of a ``.jsonl`` or ``.jsonl.gz`` file, with the row's numbers named in ``columns``.

    A second row with the same three texts is a bad row: items are stored by the pair's id. Raises PrefbenchError when the file cannot be read.
    """
    pairs: list[Pair] = []
    bad: dict[int, str] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        try:
            pair = parse_pair(_json_object(line), columns)
            earlier = first.setdefault(pair.id, number)
        except BadRowError as reason:
            bad[number] = str(reason)
            continue
        except UnicodeEncodeError:  # an emoji that an export has cut in two: JSON can hold its half, UTF-8 cannot
            bad[number] = "half a character, a lone surrogate"
            continue
        if earlier != number:
            bad[number] = f"the same pair as row {earlier}"
        else:
            pairs.append(pair)
    return PairFile(path, tuple(pairs), bad)


def lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, gzipped where its name ends with ``.gz``. Raises PrefbenchError when it cannot be read."""
    encoding = "utf-8-sig"  # with the byte order mark that some editors put in front, or without
    try:
        with gzip.open(path, "rt", encoding=encoding) if path.suffix == ".gz" else path.open(encoding=encoding) as file:
            yield from file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PrefbenchError(
            f"{path}: cannot be read: {error}", "give a JSONL file in UTF-8; the name of a gzipped one ends with .gz"
        ) from None


def _json_object(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        _bad("not JSON")
    return row if isinstance(row, dict) else _bad("not a JSON object")


# ---------------------------------------------------------------- rows


def parse_pair(row: Mapping[str, Any], columns: Sequence[str] = ()) -> Pair:
    """One row as a pair. Raises BadRowError with the reason when it is none.

    Standard: ``prompt``, ``chosen`` and ``rejected`` are strings. Conversational: all are lists of messages, and each answer is one assistant
    message. Implicit prompt: there is no ``prompt``, and ``chosen`` and ``rejected`` are conversations that differ in their last message.
    """
    missing = [name for name in ("chosen", "rejected") if row.get(name) is None]
    if missing:
        _bad(f"no {' and no '.join(missing)}")
    prompt, chosen, rejected = _texts(row.get("prompt"), row["chosen"], row["rejected"])
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer.strip():
            _bad(f"{name} is empty")
    if chosen == rejected:
        _bad("chosen equals rejected")
    return Pair(prompt, chosen, rejected, {name: _number(row, name) for name in columns})


def _texts(prompt: Any, chosen: Any, rejected: Any) -> tuple[Prompt, str, str]:
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _plain_prompt(prompt), chosen, rejected
    if isinstance(chosen, str) or isinstance(rejected, str):
        _bad("chosen and rejected differ in kind: one is text, the other is not")
    left, right = _messages("chosen", chosen), _messages("rejected", rejected)
    if prompt is None:
        return _shared_prompt(left, right)
    if isinstance(prompt, str):
        _bad("prompt is text, but the answers are messages")
    return _conversation(_messages("prompt", prompt)), _answer("chosen", left), _answer("rejected", right)


def _plain_prompt(prompt: Any) -> str:
    if prompt is None:
        _bad("no prompt")
    if not isinstance(prompt, str):
        _bad("prompt is not text, but the answers are")
    return prompt if prompt.strip() else _bad("prompt is empty")


def _shared_prompt(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[Prompt, str, str]:
    if chosen == rejected:
        _bad("chosen equals rejected")
    if not chosen or not rejected or chosen[:-1] != rejected[:-1]:
        _bad("no prompt, and chosen and rejected are not the same conversation up to their last message")
    return _conversation(chosen[:-1]), _answer("chosen", chosen[-1:]), _answer("rejected", rejected[-1:])


def _conversation(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(messages) if any(message["content"].strip() for message in messages) else _bad("prompt is empty")


def _answer(name: str, messages: Sequence[Message]) -> str:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        _bad(f"{name} is not one assistant message")
    return messages[0]["content"]


def _messages(name: str, value: Any) -> list[Message]:
    """Messages with a role and a text. A further key that holds anything, such as a tool call, would be lost: it makes the row bad."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        _bad(f"{name} is neither text nor a list of messages")
    for message in value:
        if not all(isinstance(message.get(key), str) for key in ("role", "content")):
            _bad(f"{name} has a message without role and content")
        if other := sorted(key for key, held in message.items() if key not in ("role", "content") and held is not None):
            _bad(f"{name} has a message with {', '.join(other)}, which would be lost")
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else _bad(f"no number in {name!r}")


def _bad(reason: str) -> NoReturn:
    raise BadRowError(reason)
