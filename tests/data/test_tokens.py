"""Chat template, borders of prompt and answer, the end-of-sequence token, and pairs that are too long."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from prefbench.api import Pair
from prefbench.data.tokens import encode_answers, encode_prompts, render, tokenise_pairs
from prefbench.errors import PrefbenchError
from tests.models import WORDS, word_tokenizer

QUESTION = ({"role": "user", "content": "w1 w2"},)


def words(ids) -> list[str]:
    return [WORDS[i] for i in ids]


def test_a_conversation_goes_through_the_template():
    tokenizer = word_tokenizer()
    assert words(encode_prompts(tokenizer, [QUESTION])[0]) == ["<user>", "w1", "w2", "<assistant>"]


def test_a_second_turn_holds_the_first_answer():
    dialogue = (*QUESTION, {"role": "assistant", "content": "w3"}, {"role": "user", "content": "w4"})
    expected = ["<user>", "w1", "w2", "<assistant>", "w3", "<eos>", "<user>", "w4", "<assistant>"]
    assert words(encode_prompts(word_tokenizer(), [dialogue])[0]) == expected


def test_an_answer_ends_with_one_end_of_sequence_token():
    tokenizer = word_tokenizer()
    prompt_ids = encode_prompts(tokenizer, [QUESTION])
    assert words(encode_answers(tokenizer, [QUESTION], prompt_ids, ["w5 w6"])[0]) == ["w5", "w6", "<eos>"]


def test_plain_text_is_used_as_it_stands_and_closed():
    tokenizer = word_tokenizer()
    prompt_ids = encode_prompts(tokenizer, ["w1 w2 "])
    assert words(prompt_ids[0]) == ["w1", "w2"]
    assert words(encode_answers(tokenizer, ["w1 w2 "], prompt_ids, ["w5"])[0]) == ["w5", "<eos>"]


def test_a_tokenizer_that_merges_across_the_border_still_continues_the_prompts_own_tokens():
    # "ab" is one token, but the prompt ends with "a": generation never sees "ab" there, so training must not either.
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(["ab"] * 50, trainers.BpeTrainer(vocab_size=260, special_tokens=["<eos>"], show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>")
    assert len(tokenizer("ab")["input_ids"]) == 1
    prompt_ids = encode_prompts(tokenizer, ["a"])
    (answer,) = encode_answers(tokenizer, ["a"], prompt_ids, ["b"])
    assert tokenizer.decode([*prompt_ids[0], *answer]) == "ab<eos>"


def test_long_pairs_are_dropped_and_counted_and_never_cut():
    pairs = [Pair(QUESTION, "w1", "w2"), Pair(QUESTION, "w1 " * 20, "w2"), Pair(QUESTION, "w3", "w4 w5")]
    tokens = tokenise_pairs(word_tokenizer(), pairs, max_length=7)
    assert tokens.dropped == (1,)
    assert tokens.pairs == (pairs[0], pairs[2])
    assert words(tokens.rejected_ids[1]) == ["w4", "w5", "<eos>"]


def test_a_long_pair_is_cut_where_that_is_asked_for_its_prompt_on_the_left_its_answers_on_the_right():
    pairs = [Pair("w1 w2 ", "w3", "w4"), Pair("w1 w2 w3 w4 ", "w5", "w6 w7"), Pair("w1 w2 ", "w3 w4 w5 w6 w7", "w8")]
    tokens = tokenise_pairs(word_tokenizer(), pairs, max_length=5, prompt_length=2)
    assert (tokens.pairs, tokens.dropped) == (tuple(pairs), ())
    assert [words(ids) for ids in tokens.prompt_ids] == [["w1", "w2"], ["w3", "w4"], ["w1", "w2"]]
    assert [words(ids) for ids in tokens.chosen_ids] == [["w3", "<eos>"], ["w5", "<eos>"], ["w3", "w4", "w5"]]
    assert [words(ids) for ids in tokens.rejected_ids] == [["w4", "<eos>"], ["w6", "w7", "<eos>"], ["w8", "<eos>"]]
    assert (tokens.prompts_cut, tokens.answers_cut) == ((1,), (2,))


def test_a_pair_whose_answers_differ_only_behind_the_cut_is_dropped():
    pairs = [Pair("w1 ", "w3 w4 w5", "w3 w4 w6"), Pair("w1 ", "w3", "w4")]
    tokens = tokenise_pairs(word_tokenizer(), pairs, max_length=3, prompt_length=2)
    assert (tokens.pairs, tokens.dropped, tokens.answers_cut) == ((pairs[1],), (0,), ())


def test_a_conversation_without_a_template_is_refused_with_what_to_do():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(PrefbenchError, match="chat template"):
        render(tokenizer, QUESTION)


def test_an_answer_that_ends_at_once_is_an_answer_unless_nothing_ends_it():
    pairs = [Pair(QUESTION, "w1", ""), Pair(QUESTION, "", "w2")]
    tokenizer = word_tokenizer()
    assert [words(ids) for ids in tokenise_pairs(tokenizer, pairs, max_length=7).rejected_ids] == [["<eos>"], ["w2", "<eos>"]]
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, unk_token="<unk>")
    with pytest.raises(PrefbenchError, match="pair 0 has no token"):
        tokenise_pairs(plain, [Pair("w1 ", "w2", "")], max_length=7)
