"""One command for what the tracks ``imdb-gemma-270m-*`` need: ``python prepare.py OUT`` makes the model, scored continuations and pairs.

OUT gets ``gemma-3-270m-imdb-sft``, ``scored.jsonl`` and ``imdb/``. What is there already is not made again, so that the same command
goes on after a stop; ``made-from.json`` says from what. Access to google/gemma-3-270m is granted on request: `hf auth login`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from continuations import continuations
from pairs import write_pairs
from reviews import NEGATIVE, POSITIVE, Sizes, read_reviews, texts
from sentiment import fetch_classifier, scores
from tuning import tune

from prefbench.data.json_files import read_objects
from prefbench.data.locations import fetch_model, located
from prefbench.errors import PrefbenchError, in_two_lines
from prefbench.store.files import lines_bytes, read_json, sweep, write_bytes, write_json

RESULTS = ("gemma-3-270m-imdb-sft", "continuations.jsonl", "scored.jsonl")
PAPERS = Sizes()
Report = Callable[[str], None]


@dataclass(frozen=True)
class Places:
    """Folders, files or ``hf://`` locations of what everything is made from. The commits are those that public code pins."""

    model: str = "hf://google/gemma-3-270m@9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1"
    reviews: str = "hf://datasets/stanfordnlp/imdb@e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
    classifier: str = "hf://cardiffnlp/twitter-roberta-base-sentiment-latest@3216a57f2a0d9c45a2e6c20157c20c49fb4bf9c7"


def prepare(places: Places, out: Path, sizes: Sizes = PAPERS, report: Report = print) -> None:
    """Make in ``out`` what is not there yet. Raises PrefbenchError for a folder that was begun with other places."""
    model, sampled, scored = (out / name for name in RESULTS)
    keep_to(places, out)
    sweep(out)
    if not scored.exists():
        fetch_classifier(places.classifier)  # what is missing of it is said now, and not behind the tuning
    if not model.exists():
        make_model(places, model, sizes, report)
    if not sampled.exists() and not scored.exists():
        negative = texts(read_reviews(places.reviews), sizes.continued, NEGATIVE)
        write_bytes(sampled, lines_bytes(continuations(model, negative, sizes, report)))
    if not scored.exists():
        make_scored(places, sampled, scored)
    for name, (training, held_out) in write_pairs(scored, out / "imdb").items():
        report(f"{name}: {training} training pairs, {held_out} held out")


def keep_to(places: Places, out: Path) -> None:
    """Note the places, or raise PrefbenchError where something was made from others: results of two origins would stand side by side."""
    note, given = out / "made-from.json", dataclasses.asdict(places)
    if not any((out / name).exists() for name in RESULTS):
        write_json(note, given)
    for name, before in read_json(note).items() if note.exists() else ():
        if given[name] != before:
            raise PrefbenchError(f"{out}: was begun with --{name} {before}", "name that one, or another folder for the results")


def make_model(places: Places, model: Path, sizes: Sizes, report: Report) -> None:
    """Step 1."""
    reviews = read_reviews(places.reviews)
    tuned, watched = (texts(reviews, rows, POSITIVE) for rows in (sizes.tuned, sizes.watched))
    done = tune(fetch_model(places.model), model, tuned, watched, sizes)
    report(f"tuned for {done.steps} steps; {done.loss:.3f} nats per token of the watched reviews")


def make_scored(places: Places, sampled: Path, scored: Path) -> None:
    """Step 3: the continuations' rows, each with the scores of prompt and text together."""
    rows = read_objects(sampled, "continuations")
    found = iter(scores(fetch_classifier(places.classifier), [row["prompt"] + text for row in rows for text in row["texts"]]))
    write_bytes(scored, lines_bytes({**row, "scores": [next(found) for _ in row["texts"]]} for row in rows))


def main(given: Sequence[str] | None = None, sizes: Sizes = PAPERS) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for place in dataclasses.fields(Places):
        parser.add_argument(f"--{place.name}", default=place.default, help="folder, file or hf:// location; %(default)s unless given")
    arguments = vars(parser.parse_args(given))
    out = arguments.pop("out")
    try:
        prepare(Places(**{name: located(location, Path.cwd()) for name, location in arguments.items()}), out, sizes)
    except PrefbenchError as error:
        print(in_two_lines(error), file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
