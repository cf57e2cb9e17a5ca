"""Preference pairs of a table, row by row; what is no pair is listed by row number and counted by reason, never skipped in silence."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefbench.api import Pair, content_id
from prefbench.data.formats import AUTO, FORMATS, BadRowError, Format, Row, checked, format_of, number
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError

LISTED = 10
"""Bad rows that an error names; the rest are counted."""
REPEATED = "the same pair as row "


@dataclass(frozen=True)
class PairFile:
    """The pairs of a table in its order with their row numbers, its format's name, and why each other row is none, by row number from 1."""

    table: Table
    pairs: tuple[Pair, ...]
    rows: tuple[int, ...] = ()
    bad: Mapping[int, str] = field(default_factory=dict)
    format: str = ""

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows are bad for which reason, the most frequent first."""
        kinds = Counter(
            f"{REPEATED.removesuffix('row ')}an earlier row" if text.startswith(REPEATED) else text for text in self.bad.values()
        )
        return dict(kinds.most_common())

    def refuse_bad_rows(self, listed_in: str = "") -> None:
        """Raise PrefbenchError that lists the bad rows, if there are any; ``listed_in`` is the file that has them all."""
        if not self.bad:
            return
        listed = ", ".join(f"row {row} ({reason})" for row, reason in list(self.bad.items())[:LISTED])
        more = f", and {len(self.bad) - LISTED} more" if len(self.bad) > LISTED else ""
        plural = "s" if len(self.bad) > 1 else ""
        where = f"; {listed_in} has them all" if more and listed_in else ""
        raise PrefbenchError(
            f"{self.table.location}: {len(self.bad)} bad row{plural}: {listed}{more}",
            f'a row is one JSON object on one line; mend the file, or leave such rows out with bad_rows = "drop"{where}',
        )

    def without(self, prompts: set[str], reason: str) -> PairFile:
        """The file without the pairs whose prompt's ``content_id`` is among ``prompts``; those are bad rows."""
        shared = {row for row, pair in zip(self.rows, self.pairs, strict=True) if content_id(pair.prompt) in prompts}
        kept = [(row, pair) for row, pair in zip(self.rows, self.pairs, strict=True) if row not in shared]
        bad = {**self.bad, **dict.fromkeys(shared, reason)}
        return dataclasses.replace(
            self,
            rows=tuple(row for row, _ in kept),
            pairs=tuple(pair for _, pair in kept),
            bad={row: bad[row] for row in sorted(bad)},
        )


# ---------------------------------------------------------------- reading


def read_pairs(table: Table, columns: Sequence[str] = (), format_name: str = AUTO) -> PairFile:
    """Every pair of a table, with the row's numbers named in ``columns`` and those that its format brings.

    A second row with the same three texts is a bad row: items are stored by the pair's id. Raises PrefbenchError when the table cannot be read,
    when its rows have no known format, and when they have several.
    """
    reader = _Reader(FORMATS.get(format_name) or detect(table), columns)
    shapes: dict[Format, int] = {}
    for row_number, row in table.rows():
        if isinstance(row, str):
            reader.bad[row_number] = row
            continue
        reader.read(row_number, row)
        if format_name == AUTO and (shape := format_of(row)):
            shapes.setdefault(shape, row_number)
    if len(shapes) > 1:
        found = ", ".join(f"{shape.name} (row {row})" for shape, row in shapes.items())
        hint = "put them into files of their own, or name the one format to read with pairs_format"
        raise PrefbenchError(f"{table.location}: rows of several formats: {found}", hint)
    return PairFile(table, tuple(reader.pairs.values()), tuple(reader.pairs), reader.bad, reader.format.name)


def first_pair(table: Table, columns: Sequence[str], format_name: str) -> Pair | None:
    """The first pair of a table; None where it has none. The rows behind it are not read."""
    reader = _Reader(FORMATS.get(format_name) or detect(table), columns)
    for row_number, row in table.rows():
        if isinstance(row, Mapping):
            reader.read(row_number, row)
        if reader.pairs:
            return reader.pairs[row_number]
    return None


@dataclass
class _Reader:
    """Reads rows of one format, and keeps pairs and reasons by row number."""

    format: Format
    columns: Sequence[str]
    pairs: dict[int, Pair] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def read(self, row_number: int, row: Row) -> None:
        """One row: a pair, or a reason why it is none."""
        try:
            pair = self._pair(row)
            earlier = self.first.setdefault(pair.id, row_number)
        except BadRowError as reason:
            self.bad[row_number] = str(reason)
        except UnicodeEncodeError:  # an emoji that an export has cut in two: JSON can hold its half, UTF-8 cannot
            self.bad[row_number] = "half a character, a lone surrogate"
        else:
            if earlier != row_number:
                self.bad[row_number] = f"{REPEATED}{earlier}"
            else:
                self.pairs[row_number] = pair

    def _pair(self, row: Row) -> Pair:
        pair = checked(self.format.parse(row))
        own = {name: pair.columns[name] if name in pair.columns else number(row, name) for name in self.columns}
        known = next(iter(self.pairs.values()), pair).columns
        if missing := [name for name in known if name not in {*pair.columns, *own}]:
            raise BadRowError(f"no {' and no '.join(missing)}, which other rows have")
        return dataclasses.replace(pair, columns={**pair.columns, **own}) if own else pair


# ---------------------------------------------------------------- formats


def detect(table: Table) -> Format:
    """The format of the first row that has one. Raises PrefbenchError where no row has a format that is known."""
    first: tuple[int, Row] | None = None
    for row_number, row in table.rows():
        if isinstance(row, str):
            continue
        if found := format_of(row):
            return found
        first = first or (row_number, row)
    if first is None or {"chosen", "rejected"} & first[1].keys():
        return FORMATS["standard"]  # whose reasons say what its rows lack
    raise _unknown(table, *first)


def _unknown(table: Table, row_number: int, row: Row) -> PrefbenchError:
    hint = "pairs need a chosen and a rejected answer to one prompt; docs/pairs.md has every format, and pairs_format names one"
    if isinstance(row.get("label"), bool) and {"messages", "completion"} & row.keys():
        return PrefbenchError(f"{table.location}: row {row_number} holds one answer and a label, as KTO's data do: no pair", hint)
    names = ", ".join(sorted(map(str, row)))
    return PrefbenchError(f"{table.location}: no row has a format that is known; row {row_number} has {names or 'no column'}", hint)
