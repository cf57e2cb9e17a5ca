"""The tokenizer knows every word of the world and gives every text back."""

from __future__ import annotations

from itertools import islice

from prefbench.prefworld.base import new_model
from prefbench.prefworld.corpus import base_corpus, demonstrations, transcript
from prefbench.prefworld.tokenizer import build_tokenizer, word_ids

TURNS = [("now add two to that", "of course : two plus two makes four keys ."), ("now tell anna too", "ahoy anna")]
MESSAGES = [{"role": role, "content": text} for turn in TURNS for role, text in zip(("user", "assistant"), turn, strict=True)]


def test_every_text_of_the_world_comes_back_exactly() -> None:
    tokenizer = build_tokenizer()
    texts = list(islice(base_corpus(0), 1500)) + list(islice(demonstrations(0), 500))
    ids = tokenizer(texts)["input_ids"]
    assert not any(tokenizer.unk_token_id in row for row in ids)
    assert tokenizer.batch_decode(ids, skip_special_tokens=False) == texts


def test_special_tokens_are_left_out_of_an_answer() -> None:
    tokenizer = build_tokenizer()
    text = "sure , my friend : it returns ( cup red ) ."
    ids = tokenizer(f"{text} <end>")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text


def test_the_chat_template_writes_what_the_models_were_trained_on() -> None:
    tokenizer = build_tokenizer()
    rendered = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert tokenizer(rendered)["input_ids"] == tokenizer(transcript(TURNS))["input_ids"]


def test_a_prompt_is_the_beginning_of_the_dialogue() -> None:
    tokenizer = build_tokenizer()
    prompt = tokenizer.apply_chat_template(MESSAGES[:3], tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False).startswith(prompt)


def test_the_vocabulary_is_small_and_the_model_has_a_quarter_of_a_million_parameters() -> None:
    assert 270 <= len(word_ids()) <= 290
    assert 0.25e6 < sum(parameter.numel() for parameter in new_model(0).parameters()) < 0.29e6
