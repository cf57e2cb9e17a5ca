"""Real files of pairs: what each is detected as, and how many pairs, bad rows, over-long and cut ones it has."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from prefbench.api import Pair
from prefbench.data.preference_files import PairFile, read_pairs
from prefbench.data.rows import Table
from prefbench.data.tokens import tokenise_pairs
from prefbench.errors import PrefbenchError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PREFBENCH_SHARED") or ROOT.parent / "shared") / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "hh_rlhf").is_dir(),
    reason="needs real data, which are not committed: set PREFBENCH_SHARED to the folder that holds data/",
)

TEMPLATE = "{% for m in messages %}{{ m.role[0] + m.content + '|' }}{% endfor %}{% if add_generation_prompt %}a{% endif %}"
MAX_LENGTH, PROMPT_LENGTH = 2000, 500
"""In bytes, each of which is a token here."""


@dataclass(frozen=True)
class Expected:
    """What a file holds: its rows are pairs or bad ones; of the pairs, those over the limit, whose prompts and whose answers are then cut."""

    file: str
    format: str
    pairs: int
    bad: dict[str, int]
    over_long: int
    prompts_cut: int
    answers_cut: int


FILES = [
    Expected("hh_rlhf/harmless-base_test.jsonl.gz", "hh", 2299, {
        "the turns of chosen do not alternate from Human to Assistant": 8,
        "the turns of rejected do not alternate from Human to Assistant": 1,
        "chosen is empty": 4,
    }, 87, 83, 7),
    Expected("hh_rlhf/helpful-base_test_cleaned.jsonl.gz", "hh", 2333, {
        "the turns of chosen do not alternate from Human to Assistant": 9,
        "the turns of rejected do not alternate from Human to Assistant": 6,
        "an empty turn before the answers": 1,
        "rejected is empty": 3,
    }, 97, 95, 6),
    Expected("llama_factory_demo/dpo_en_demo.jsonl.gz", "sharegpt", 295, {"the same pair as an earlier row": 5}, 196, 143, 171),
    Expected("alpaca_eval_multi/responses.jsonl.gz", "scored", 801, {"rejected is empty": 4}, 445, 25, 440),
]  # fmt: skip
each_file = pytest.mark.parametrize("expected", FILES, ids=[found.file for found in FILES])


@lru_cache
def read(name: str) -> PairFile:
    return read_pairs(Table(str(DATA / name)))


@pytest.fixture(scope="module")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token per byte, so that lengths are counted without it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={**{letter: i for i, letter in enumerate(alphabet)}, "<eos>": len(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    fast.chat_template = TEMPLATE
    return fast


def lengths(pair: Pair) -> tuple[int, int]:
    """Bytes of the prompt as the template has it, and of the longer answer with its end."""
    prompt = sum(len(message["content"].encode()) + 2 for message in pair.prompt) + 1  # a role and a bar each, then the answer's role
    return prompt, max(len(text.encode()) for text in (pair.chosen, pair.rejected)) + 2


@each_file
def test_every_row_is_a_pair_or_counted_by_its_reason(expected: Expected) -> None:
    found = read(expected.file)
    assert (found.format, len(found.pairs), found.reasons) == (expected.format, expected.pairs, expected.bad)


@each_file
def test_over_long_pairs_are_dropped_or_cut_and_counted(expected: Expected, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = read(expected.file).pairs
    long = [number for number, pair in enumerate(pairs) if sum(lengths(pair)) > MAX_LENGTH]
    dropping = tokenise_pairs(byte_tokenizer, pairs, MAX_LENGTH)
    assert (list(dropping.dropped), len(long)) == (long, expected.over_long)

    cutting = tokenise_pairs(byte_tokenizer, pairs, MAX_LENGTH, PROMPT_LENGTH)
    assert (cutting.dropped, len(cutting)) == ((), len(pairs))
    assert list(cutting.prompts_cut) == [number for number in long if lengths(pairs[number])[0] > PROMPT_LENGTH]
    short = {number: min(lengths(pairs[number])[0], PROMPT_LENGTH) + lengths(pairs[number])[1] for number in long}
    assert list(cutting.answers_cut) == [number for number, length in short.items() if length > MAX_LENGTH]
    assert (len(cutting.prompts_cut), len(cutting.answers_cut)) == (expected.prompts_cut, expected.answers_cut)


def test_the_gap_of_scored_responses_is_a_probability_s() -> None:
    gaps = [pair.columns["score-gap"] for pair in read("alpaca_eval_multi/responses.jsonl.gz").pairs]
    assert 0 < min(gaps) <= max(gaps) <= 1


def test_labelled_pairs_of_people_are_read_in_both_orders() -> None:
    found = read("llmbar/llmbar.jsonl.gz")
    assert (found.format, len(found.pairs), found.bad) == ("labelled", 419, {})


def test_single_answers_with_a_label_are_no_pairs() -> None:
    with pytest.raises(PrefbenchError, match="holds one answer and a label"):
        read("llama_factory_demo/kto_en_demo.jsonl.gz")


def test_row_numbers_are_those_of_the_file() -> None:
    bad = read("llama_factory_demo/dpo_en_demo.jsonl.gz").bad
    assert Counter(reason.rsplit(" ", 1)[0] for reason in bad.values()) == {"the same pair as row": 5}
    assert all(int(reason.rsplit(" ", 1)[1]) < row <= 300 for row, reason in bad.items())
