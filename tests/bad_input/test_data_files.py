"""Pairs and questions as users' exports have them: refused before anything starts, by row, and the finished run stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from prefbench.data.preference_files import read_pairs
from prefbench.data.rows import Table
from tests.bad_input.place import Bad, Spoil, Told, both, cut, drop, each, edit, jsonl, packed, put, rows

GOOD = jsonl(rows(*range(60)))
PLAIN = rows(3)[0]
KTO = {"prompt": "w1", "completion": "w2", "label": True}
LABELLED = {"prompt": "w1", "response_a": "w2", "response_b": "w3", "label": "a"}
BOT = {"role": "assistant", "content": "w2"}


def row(**changes: object) -> Spoil:
    """The good pairs with one more row, the 61st."""
    return put("pairs.jsonl", GOOD + json.dumps({**PLAIN, "prompt": "w44 w44", **changes}) + "\n")


def dropping(spoil: Spoil) -> Spoil:
    """The same with bad rows left out."""
    return both(spoil, edit('pairs_file = "pairs.jsonl"', 'pairs_file = "pairs.jsonl"\nbad_rows = "drop"'))


def option(line: str) -> Spoil:
    """One more line in [source]."""
    return edit("held_out_share = 0.3", "held_out_share = 0.3\n" + line)


def questions(harness: str, name: str, content: str, more: str = "") -> Spoil:
    """A track whose only harness asks the questions of a file, and a judge."""
    return both(
        put(name, content),
        option(f'{harness}_questions = "{name}"'),
        edit('name = "held_out"', f'name = "{harness}"'),
        edit("[train]", '[judge]\nname = "prefworld-annotator"\n[train]'),
        edit("[trivial]", more + "[trivial]"),
    )


def alpaca(content: str) -> Spoil:
    return questions("alpaca_eval", "questions.json", content)


def bench(content: str) -> Spoil:
    return questions("mt_bench", "questions.jsonl", content)


TURNS = {"question_id": 1, "category": "writing", "turns": ["w1", "w2"]}

PAIRS = [
    Bad("missing", "pairs.jsonl: there is no such file", "relative to the track file", drop("pairs.jsonl")),
    Bad(
        "a-folder-of-nothing",
        "pairs: the data set cannot be loaded",
        "JSON, CSV or Parquet",
        both(put("pairs/a.bin", GOOD), edit("pairs.jsonl", "pairs")),
    ),
    Bad("answers-with-a-label", "row 1 holds one answer and a label", "docs/pairs.md", put("pairs.jsonl", jsonl([KTO]))),
    Bad(
        "no-known-format",
        "no row has a format that is known; row 1 has left, right",
        "",
        put("pairs.jsonl", jsonl([{"left": 1, "right": 2}])),
    ),
    Bad(
        "two-formats",
        "rows of several formats: standard (row 1), labelled (row 61)",
        "pairs_format",
        put("pairs.jsonl", GOOD + jsonl([LABELLED])),
    ),
    Bad("a-split-of-a-file", "is a file, and has no configurations and no splits", "", option('pairs_split = "train"')),
    Bad("no-revision", "no location on the hub", "a branch such as main", edit('"pairs.jsonl"', '"hf://datasets/owner/name"')),
    Bad("a-branch-that-nobody-knows", "does not tell its commit", "40 hexadecimal", edit('"pairs.jsonl"', '"hf://datasets/owner/name@x"')),
    Bad("empty", "pairs.jsonl: 0 training pairs, and 1 are asked for", "", put("pairs.jsonl", "")),
    Bad(
        "not-json",
        "3 bad rows: row 1 (not JSON), row 2 (not JSON), row 3 (not JSON)",
        "one JSON object on one line",
        put("pairs.jsonl", "prompt,chosen,rejected\nw1,w2,w3\nw1,w3,w4\n"),
    ),
    Bad("json-list", "row 1 (not a JSON object)", "one JSON object on one line", put("pairs.jsonl", json.dumps(rows(1, 2)))),
    Bad("json-list-indented", "row 1 (not JSON)", "one JSON object on one line", put("pairs.jsonl", json.dumps(rows(1, 2), indent=1))),
    Bad("cut-short", "1 bad row: row 31 (not JSON)", 'bad_rows = "drop"', cut("pairs.jsonl", 0.51)),
    Bad("no-rejected", "1 bad row: row 61 (no rejected)", 'bad_rows = "drop"', row(rejected=None)),
    Bad("no-prompt", "row 61 (no prompt)", "", row(prompt=None)),
    Bad("number-as-answer", "row 61 (chosen is neither text nor a list of messages)", "", row(chosen=3, rejected=4)),
    Bad("kinds-differ", "row 61 (chosen and rejected differ in kind: one is text, the other is not)", "", row(chosen=[BOT])),
    Bad("answer-empty", "row 61 (chosen is empty)", "", row(chosen=" \n")),
    Bad("answers-equal", "row 61 (chosen equals rejected)", "", row(chosen="w7", rejected="w7")),
    Bad("pair-twice", "row 61 (the same pair as row 4)", "", row(**PLAIN)),
    Bad("half-a-character", "row 61 (half a character", "", row(rejected="w1 \ud83d")),
    Bad("column-missing", "row 1 (no number in 'score_gap')", "", option('columns = ["score_gap"]')),
    Bad("latin-1", "pairs.jsonl: cannot be read: 'utf-8' codec", "UTF-8", put("pairs.jsonl", GOOD.replace("w1", "é").encode("latin-1"))),
    Bad("utf-16", "pairs.jsonl: cannot be read: 'utf-8' codec", "UTF-8", put("pairs.jsonl", GOOD.encode("utf-16"))),
    Bad("nul", "row 61 (not JSON)", "", put("pairs.jsonl", GOOD + "\0" * 512)),
    Bad(
        "gzip-cut-short",
        "pairs.jsonl.gz: cannot be read",
        "",
        both(packed("pairs.jsonl"), cut("pairs.jsonl.gz"), edit("pairs.jsonl", "pairs.jsonl.gz")),
    ),
    Bad(
        "gzip-by-name-only",
        "pairs.jsonl.gz: cannot be read: Not a gzipped file",
        "ends with .gz",
        both(put("pairs.jsonl.gz", GOOD), edit("pairs.jsonl", "pairs.jsonl.gz")),
    ),
    Bad(
        "gzip-without-the-name",
        "pairs.jsonl: cannot be read",
        "ends with .gz",
        both(packed("pairs.jsonl"), lambda folder: (folder / "pairs.jsonl.gz").replace(folder / "pairs.jsonl")),
    ),
    Bad(
        "all-rows-dropped",
        "0 training pairs, and 1 are asked for; 60 bad rows were dropped, the first is row 1 (no chosen)",
        "",
        dropping(put("pairs.jsonl", GOOD.replace("chosen", "chose"))),
    ),
    Bad("more-pairs-asked-for", "45 training pairs, and 1000 are asked for", "lower pairs_per_seed", option("pairs_per_seed = 1000")),
    Bad(
        "prompts-on-both-sides",
        "60 training pairs have a prompt of",
        "held_out_share",
        both(put("held.jsonl", GOOD), edit("held_out_share = 0.3", 'held_out_file = "held.jsonl"')),
    ),
    Bad("nothing-held-out", "held_out: the source has no held-out pairs", "held_out_share", edit("held_out_share = 0.3", ""), code=1),
    Bad(
        "all-too-long",
        "no training pair of seed 0 is left: 45 of 45 are longer than 3 tokens",
        "raise train.max_length",
        edit("max_length = 40", "max_length = 3"),
        code=1,
    ),
    Bad(
        "too-long-and-refused",
        "45 of 45 training pairs of seed 0 are longer than 3 tokens, the first is pairs.jsonl row",
        "raise train.max_length",
        edit("max_length = 40", 'max_length = 3\nover_long = "refuse"'),
        code=1,
    ),
]

QUESTIONS = [
    Bad(
        "questions-missing",
        "questions.json: there is no such file",
        "relative to the track file",
        both(alpaca("[]"), drop("questions.json")),
    ),
    Bad("questions-empty", "questions.json: holds no questions", "JSON list", alpaca("")),
    Bad("questions-empty-list", "questions.json: holds no questions", "JSON list", alpaca("[]")),
    Bad("questions-not-json", "questions.json: not JSON", "JSON list", alpaca("instruction\nw1\n")),
    Bad(
        "instruction-missing",
        "questions.json: question 2 has no usable instruction",
        "every row needs instruction",
        alpaca('[{"instruction": "w1"}, {"question": "w2"}]'),
    ),
    Bad(
        "instruction-twice",
        "questions.json: question 2 repeats an earlier one",
        "leave the second one out",
        alpaca('[{"instruction": "w1"}, {"instruction": "w1"}]'),
    ),
    Bad(
        "question-id-twice",
        "questions.jsonl: question 2 repeats an earlier one (id 1)",
        "leave the second one out",
        bench(jsonl([TURNS, TURNS])),
    ),
    Bad("turns-no-texts", "questions.jsonl: question 1: turns is no list of texts", "", bench(jsonl([{**TURNS, "turns": ["w1", 2]}]))),
    Bad("reference-a-text", "questions.jsonl: question 1: reference is no list of texts", "", bench(jsonl([{**TURNS, "reference": "w3"}]))),
    Bad(
        "references-missing-for-math",
        "mt_bench: question 1 of category math has 0 reference answers",
        "give the question `references`",
        bench(jsonl([{**TURNS, "category": "math"}])),
        code=1,
    ),
    Bad(
        "reference-file-without-turns",
        "answers.jsonl: question 1: choices[0].turns is no list of texts",
        "",
        both(
            bench(jsonl([TURNS])),
            put("answers.jsonl", jsonl([{"question_id": 1, "choices": [{"text": "w3"}]}])),
            option('mt_bench_references = "answers.jsonl"'),
        ),
    ),
    Bad(
        "harness-without-questions",
        "alpaca_eval: the source has no questions",
        "alpaca_eval_questions",
        both(alpaca('[{"instruction": "w1"}]'), edit('alpaca_eval_questions = "questions.json"', "")),
        code=1,
    ),
    Bad(
        "harness-without-judge",
        "harness[0]: mt_bench asks a judge, and there is no table [judge]",
        "add [judge]",
        both(bench(jsonl([TURNS])), edit('[judge]\nname = "prefworld-annotator"\n', "")),
    ),
]


@each(PAIRS, QUESTIONS)
def test_data_that_cannot_be_used_are_refused_before_a_cell_is_trained(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(bad)
    assert told.code == bad.code
    assert not {name for name in told.changed if name.startswith(("records/dpo", "items/dpo", "cells/dpo"))}
    assert told.code == 1 or not told.changed


def test_a_byte_order_mark_in_front_of_the_pairs_is_no_part_of_them(place: Path) -> None:
    plain = read_pairs(Table(str(place / "pairs.jsonl"))).pairs
    (place / "pairs.jsonl").write_bytes(b"\xef\xbb\xbf" + (place / "pairs.jsonl").read_bytes())
    assert read_pairs(Table(str(place / "pairs.jsonl"))).pairs == plain
