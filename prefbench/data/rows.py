"""Tables of rows: JSON, JSONL, CSV and Parquet files with their row numbers, and data sets of a folder or the hub through ``datasets``."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.data.locations import HubLocation, fetch_file, is_on_hub, short_name
from prefbench.errors import PrefbenchError, first_line

Numbered = tuple[int, Mapping[str, Any] | str]
"""A row's number, from 1, and the row; or why it is none."""
DEFAULT_SPLIT = "train"


@dataclass(frozen=True)
class Table:
    """A file, or a data set (a folder, or a repository of the hub) with its configuration and split; nothing is read before ``rows``."""

    location: str
    config: str = ""
    split: str = ""

    @property
    def is_data_set(self) -> bool:
        """Whether ``datasets`` reads it; a file is read here."""
        if is_on_hub(self.location):
            return not HubLocation.parse(self.location).path
        return Path(self.location).is_dir()

    @property
    def name(self) -> str:
        """A short name for messages."""
        parts = (short_name(self.location), self.config, self.split)
        return " ".join(part for part in parts if part)

    def rows(self) -> Iterator[Numbered]:
        """Every row with its number; those of JSONL are its lines. Raises PrefbenchError for what cannot be read."""
        if self.is_data_set:
            return data_set_rows(self)
        if self.config or self.split:
            raise PrefbenchError(
                f"{self.location}: is a file, and has no configurations and no splits", "leave pairs_config and the split out"
            )
        path = fetch_file(self.location)
        kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
        return READERS.get(kind, jsonl_rows)(path)


# ---------------------------------------------------------------- files


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


def jsonl_rows(path: Path) -> Iterator[Numbered]:
    """A JSON object per line. Blank lines count, and are no rows."""
    for number, line in enumerate(lines(path), start=1):
        if line.strip():
            yield number, _json_object(line)


def _json_object(line: str) -> Mapping[str, Any] | str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return "not JSON"
    return row if isinstance(row, dict) else "not a JSON object"


def json_rows(path: Path) -> Iterator[Numbered]:
    """The objects of a JSON list; many files of this name hold JSONL, and are read as such."""
    text = "".join(lines(path))
    if not text.lstrip().startswith("["):
        yield from jsonl_rows(path)
        return
    try:
        listed = json.loads(text)
    except json.JSONDecodeError as error:
        raise PrefbenchError(f"{path}: not JSON: {error}", "give a JSON list of objects, or one JSON object per line") from None
    for number, row in enumerate(listed, start=1):
        yield number, row if isinstance(row, dict) else "not a JSON object"


def csv_rows(path: Path) -> Iterator[Numbered]:
    """The rows below the header, every field a text: nobody guesses that an answer is a number. The header is not counted."""
    csv.field_size_limit(sys.maxsize)  # an answer may be longer than the 128 KiB that the module allows
    reader = csv.DictReader(lines(path), strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            whole = None not in row and None not in row.values()  # where csv puts what is too much, and what is missing
            yield number, row if whole else "not as many fields as the header"
    except csv.Error as error:
        raise PrefbenchError(f"{path}: not CSV: {error}", "separate with commas, and quote texts that hold one") from None


def parquet_rows(path: Path) -> Iterator[Numbered]:
    """The rows of a Parquet file, batch by batch."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        batches = ParquetFile(path).iter_batches()
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (OSError, pyarrow.ArrowException) as error:
        raise PrefbenchError(f"{path}: cannot be read: {first_line(error)}", "give a whole Parquet file, not a pointer to one") from None


READERS = {"json": json_rows, "csv": csv_rows, "parquet": parquet_rows}
"""Readers by the end of a file's name; any other file holds JSONL."""

# ---------------------------------------------------------------- data sets


def data_set_rows(table: Table) -> Iterator[Numbered]:
    """The rows of a data set's split. Raises PrefbenchError that says what to do."""
    for first, batch in _batches(_load(table)):
        for place, row in enumerate(batch):
            yield first + place, row


def _batches(data_set: Any, size: int = 1000) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for start in range(0, len(data_set), size):
        columns: dict[str, list[Any]] = data_set[start : start + size]
        yield start + 1, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _load(table: Table) -> Any:
    """The split, from the hub, from this machine's cache of it, or from a folder."""
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar per split would fill the log of a run
    place, revision = table.location, None
    if is_on_hub(table.location):
        found = HubLocation.at_commit(table.location)
        if found.kind != "dataset":
            raise PrefbenchError(f"{table.location}: is no data set", f"write hf://datasets/{found.repo}@{found.revision}")
        place, revision = found.repo, found.revision
    split = table.split or DEFAULT_SPLIT
    try:
        return load_dataset(place, table.config or None, split=split, revision=revision)
    except Exception as error:  # whatever datasets raises, of some twenty kinds, is a data set that cannot be had
        raise PrefbenchError(f"{table.name}: the data set cannot be loaded: {first_line(error)}", _hint(error)) from None


def _hint(error: Exception) -> str:
    """What to do, by what ``datasets`` says; it has no exception of its own for most of it."""
    text = str(error)
    if "Unknown split" in text:
        return "name one of them with pairs_split or held_out_split; train is meant where none is named"
    if "Config name is missing" in text or "BuilderConfig" in text:
        return "name one of its configurations with pairs_config"
    if "scripts are no longer supported" in text:
        return "it is loaded by a script, which is not run; use a repository of data files, such as its branch refs/convert/parquet"
    if "save_to_disk" in text:
        return "write it with to_parquet() or to_json(), and name the file"
    if isinstance(error, ConnectionError | TimeoutError) or "offline" in text.lower() or "couldn't reach" in text.lower():
        return "fetch it once where there is a network (the cache is used from then on), or name a file or folder of this machine"
    return "a folder or repository of JSON, CSV or Parquet files is due; a private or gated one needs `hf auth login`"
