"""One command from TL;DR's validation split to the questions of `summarize-tldr`: ``python prepare.py VALIDATION OUT``.

VALIDATION is the split as a Parquet, JSON or JSONL file with the columns ``prompt`` and ``chosen``; OUT gets ``questions.json`` (posts to
summarise) and ``references.json`` (for each the summary that people preferred), both in AlpacaEval's format.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

QUESTIONS = 400
REQUEST = "Write a summary of this post in one or two sentences.\n\n"
END = "TL;DR:"
"""What a post of the data ends with; the request stands in its place."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of the split."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("records")
    return pd.read_json(path, lines=path.suffix == ".jsonl", dtype=False).to_dict("records")


def summaries(rows: Iterable[Mapping[str, Any]], count: int) -> dict[str, str]:
    """So many different posts, by the hash of their text, each with the first summary of it that was preferred."""
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(row["prompt"].strip().removesuffix(END).strip(), row["chosen"].strip())
    drawn = sorted(found, key=lambda post: hashlib.sha256(post.encode()).digest())[:count]
    return {post: found[post] for post in drawn}


def prepare(validation: Path, out: Path, count: int = QUESTIONS) -> int:
    """Write both files; the number of questions."""
    found = summaries(read_rows(validation), count)
    rows = [{"instruction": REQUEST + post, "output": summary, "generator": "people"} for post, summary in found.items()]
    out.mkdir(parents=True, exist_ok=True)
    questions = [{"instruction": row["instruction"], "dataset": "tldr"} for row in rows]
    for name, content in (("questions", questions), ("references", rows)):
        (out / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return len(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    print(f"{prepare(arguments.validation, arguments.out)} questions")


if __name__ == "__main__":
    main()
