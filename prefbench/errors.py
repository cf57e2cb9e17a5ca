"""The exceptions that a user sees: what was wrong, and what to do about it."""

from __future__ import annotations


class PrefbenchError(Exception):
    """Printed as two lines, ``error:`` and ``hint:``; ``exit_code`` is 1 (cells failed), 2 (usage, config) or 3 (a needed plugin is broken)."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 2) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class DamagedError(PrefbenchError):
    """A stored file is not what was written: torn, changed, or without its seal."""


class StorageError(PrefbenchError):
    """A file could not be written: the disk is full, the quota used up, or the folder read-only. No cell after this one would fare better."""


def in_two_lines(error: PrefbenchError) -> str:
    """How a user is told: ``error:``, and where there is one ``hint:``."""
    return f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else "")


def shortened(value: object, width: int = 60) -> str:
    """How a value is written, for a message: cut where it is long, with a sign that it was."""
    text = repr(value)
    return text if len(text) <= width else f"{text[:width]}..."


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says, or its kind where it says nothing: for a message of our own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
