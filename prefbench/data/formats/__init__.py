"""The formats in which people keep preference pairs, by name, and which of them a row has."""

from __future__ import annotations

from prefbench.data.formats.base import BadRowError, Format, Row, checked, number
from prefbench.data.formats.dialogues import HH, SHAREGPT
from prefbench.data.formats.labelled import LABELLED, SUMMARIES
from prefbench.data.formats.named import BINARIZED, INSTRUCTION
from prefbench.data.formats.scored import SCORED
from prefbench.data.formats.trl import CONVERSATIONAL, IMPLICIT, STANDARD

__all__ = ["AUTO", "FORMATS", "BadRowError", "Format", "Row", "checked", "format_of", "number"]

AUTO = "auto"
"""In the place of a format's name: the rows tell."""

FORMATS = {
    format_.name: format_
    for format_ in (STANDARD, CONVERSATIONAL, IMPLICIT, BINARIZED, INSTRUCTION, HH, SHAREGPT, SCORED, LABELLED, SUMMARIES)
}


def format_of(row: Row) -> Format | None:
    """The format whose shape a row has; None where it has no format's, and is a bad row of whatever the others are."""
    return next((format_ for format_ in FORMATS.values() if format_.matches(row)), None)
