"""One command from TL;DR's validation split to the questions of `summarize-tldr`: ``python prepare.py tldr``.

The folder gets ``questions.json`` (posts to summarise) and ``references.json`` (for each the summary that people preferred), both in AlpacaEval's
format. Without a network, ``--validation FILE`` names the split as a Parquet, JSON or JSONL file with the columns ``prompt`` and ``chosen``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefbench.data.locations import HubLocation, is_on_hub
from prefbench.data.revisions import commit_now
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError
from prefbench.store.files import write_json

DATA_SET = "hf://datasets/trl-lib/tldr-preference@main"
QUESTIONS = 400
REQUEST = "Write a summary of this post in one or two sentences.\n\n"
END = "TL;DR:"
"""What a post of the data ends with; the request stands in its place."""


def read_rows(location: str) -> Iterator[Mapping[str, Any]]:
    """The rows of the split, from a file or from the hub. Raises PrefbenchError for one that is none."""
    table = Table(location, split="validation") if is_on_hub(location) else Table(location)
    for number, row in table.rows():
        if isinstance(row, str) or not all(isinstance(row.get(key), str) for key in ("prompt", "chosen")):
            raise PrefbenchError(
                f"{table.name}: row {number} needs the texts prompt and chosen", "give trl-lib/tldr-preference's validation"
            )
        yield row


def at_its_commit(location: str) -> str:
    """A location of the hub with the commit that its branch is now; any other as it stands."""
    if not is_on_hub(location):
        return location
    place = HubLocation.parse(location)
    return str(place if place.is_pinned else replace(place, revision=commit_now(place)))


def summaries(rows: Iterable[Mapping[str, Any]], count: int) -> dict[str, str]:
    """So many different posts, by the hash of their text, each with the first summary of it that was preferred."""
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(row["prompt"].strip().removesuffix(END).strip(), row["chosen"].strip())
    drawn = sorted(found, key=lambda post: hashlib.sha256(post.encode()).digest())[:count]
    return {post: found[post] for post in drawn}


def prepare(validation: str, out: Path, count: int = QUESTIONS) -> int:
    """Write both files, and ``made-from.json``, which says from what; the number of questions."""
    found = summaries(read_rows(validation), count)
    rows = [{"instruction": REQUEST + post, "output": summary, "generator": "people"} for post, summary in found.items()]
    questions = [{"instruction": row["instruction"], "dataset": "tldr"} for row in rows]
    for name, content in (("questions", questions), ("references", rows), ("made-from", {"validation": validation})):
        write_json(out / f"{name}.json", content)
    return len(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--validation", default=DATA_SET, help="file or hf:// location of the split; %(default)s unless given")
    arguments = parser.parse_args()
    try:
        validation = at_its_commit(arguments.validation)
        print(f"{prepare(validation, arguments.out)} questions from {validation}")
    except PrefbenchError as error:
        parser.error(f"{error}; {error.hint}")


if __name__ == "__main__":
    main()
