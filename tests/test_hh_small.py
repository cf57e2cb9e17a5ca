"""The track hh-small: HH's dialogues parsed, split and shortened, and a miniature of its preparation that a model can be loaded from."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PREFBENCH_SHARED") or ROOT.parent / "shared") / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "hh_rlhf").is_dir(),
    reason="needs the HH data, which are not committed: set PREFBENCH_SHARED to the folder that holds data/",
)
FILES = {"hh_rlhf": ".jsonl.gz", "dolly": ".jsonl.gz", "alpaca_subset": ".jsonl.gz", "tinystories": ".txt.gz"}


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    """The track's own script, which is no part of the package."""
    folder = str(ROOT / "leaderboards" / "hh-small")
    sys.path.insert(0, folder)
    import prepare as module

    yield module
    sys.path.remove(folder)
    for name in ("prepare", "hh", "language_model"):
        sys.modules.pop(name, None)


def dialogue(*turns: str) -> str:
    return "".join(f"\n\n{role}: {text}" for role, text in zip(itertools.cycle(["Human", "Assistant"]), turns, strict=False))


# ---------------------------------------------------------------- dialogues


def test_a_dialogue_becomes_a_prompt_and_two_answers(prepare: ModuleType) -> None:
    pair = sys.modules["hh"].parse("helpful", dialogue("hi", "hello", "how?", "so"), dialogue("hi", "hello", "how?", "no"))
    assert [message["role"] for message in pair.prompt] == ["user", "assistant", "user"]
    assert (pair.prompt[-1]["content"], pair.chosen, pair.rejected) == ("how?", "so", "no")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (("hi", "a", "x", "b"), ("hi", "a", "y", "b"), "differ before the last message"),
        (("hi", "a"), ("hi", "a"), "answers are equal"),
        (("hi", ""), ("hi", "a"), "empty message"),
        (("hi", "a", "x"), ("hi", "a", "y"), "do not alternate"),
    ],
)
def test_what_is_no_pair_says_why(prepare: ModuleType, chosen: tuple[str, ...], rejected: tuple[str, ...], reason: str) -> None:
    assert reason in sys.modules["hh"].parse("helpful", dialogue(*chosen), dialogue(*rejected))


def test_a_long_dialogue_loses_whole_early_turns_and_is_dropped_when_its_last_turn_is_too_long(prepare: ModuleType) -> None:
    hh = sys.modules["hh"]
    pair = hh.parse("helpful", dialogue("one", "two", "three", "four"), dialogue("one", "two", "three", "five"))

    def messages(candidate: object) -> int:
        return len(candidate.prompt) + 1  # type: ignore[attr-defined]

    assert hh.shorten(pair, messages, 4) == pair
    assert [message["content"] for message in hh.shorten(pair, messages, 3).prompt] == ["three"]
    assert hh.shorten(pair, messages, 1) is None
    kept, counts = hh.fit([pair], messages, 1)
    assert (kept, dict(counts)) == ([], {"dropped": 1})


def test_stages_of_one_dialogue_stay_on_one_side(prepare: ModuleType) -> None:
    hh = sys.modules["hh"]
    stages = [
        hh.parse("helpful", dialogue(f"start {i}", *middle, "a"), dialogue(f"start {i}", *middle, "b"))
        for i in range(100)
        for middle in ((), ("x", "y"))
    ]
    training, held_out = hh.split(stages, 0.2)
    assert len(training) + len(held_out) == 200
    assert not {pair.prompt[0]["content"] for pair in training} & {pair.prompt[0]["content"] for pair in held_out}


# ---------------------------------------------------------------- the real files


@needs_data
def test_every_row_of_hh_is_a_pair_or_counted(prepare: ModuleType) -> None:
    pairs, dropped = sys.modules["hh"].read_preferences(DATA / "hh_rlhf")
    # The two files have 2,312 + 2,352 rows (their provenance says so).
    assert len(pairs) + sum(dropped.values()) == 4664
    assert len(pairs) > 4600
    training, held_out = sys.modules["hh"].split(pairs, prepare.HELD_OUT_SHARE)
    assert abs(len(held_out) / len(pairs) - prepare.HELD_OUT_SHARE) < 0.03
    assert not {json.dumps(pair.prompt) for pair in training} & {json.dumps(pair.prompt) for pair in held_out}


@pytest.fixture
def few_rows(tmp_path: Path) -> Path:
    """A data folder with the first lines of every file."""
    for name, suffix in FILES.items():
        (tmp_path / name).mkdir()
        for path in (DATA / name).glob(f"*{suffix}"):
            with gzip.open(path, "rt", encoding="utf-8") as lines, gzip.open(tmp_path / name / path.name, "wt", encoding="utf-8") as few:
                few.writelines(itertools.islice(lines, 60))
    return tmp_path


@needs_data
def test_a_miniature_preparation_can_be_loaded_and_repeats_itself(prepare: ModuleType, few_rows: Path, tmp_path: Path) -> None:
    from prefbench.data.files import Files
    from prefbench.data.tokens import tokenise_pairs
    from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest

    sizes = prepare.Sizes(
        prepare.Shape(vocabulary=400, width=16, layers=1, heads=2),
        prepare.Budget(tokens=2000, learning_rate=1e-3, step_tokens=512),
        prepare.Budget(tokens=2000, learning_rate=1e-3, step_tokens=512),
    )
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        prepare.prepare(few_rows, out, sizes, report=lambda _: None)
    assert weights_digest(outs[0] / "sft") == weights_digest(outs[1] / "sft") != weights_digest(outs[0] / "base")
    assert (outs[0] / "pairs.jsonl").read_bytes() == (outs[1] / "pairs.jsonl").read_bytes()

    source = Files(model="sft", base="base", pairs_file="pairs.jsonl", held_out_file="held_out.jsonl").locate(outs[0])
    source.prepare(tmp_path / "cache", lambda _: None)  # refuses bad rows, and a prompt on both sides
    folder = source.models()["sft"]
    tokens = tokenise_pairs(load_tokenizer(folder), [*source.pairs(0), *source.held_out()], prepare.MAX_LENGTH)
    assert tokens.dropped == ()  # the core counts tokens as the preparation does
    assert len(tokens) > 0
    import torch

    model = load_model(folder, torch.device("cpu"))
    assert model(torch.tensor([tokens.prompt_ids[0]])).logits.shape[-1] == len(load_tokenizer(folder))
