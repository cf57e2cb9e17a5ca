"""The word-level tokenizer of Prefworld with its chat template, as an ordinary fast tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefbench.prefworld.vocabulary import all_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, USER, ASSISTANT, END = "<pad>", "<unk>", "<user>", "<assistant>", "<end>"
SPECIALS = (PAD, UNKNOWN, USER, ASSISTANT, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant> {{ message['content'] }} <end> "
    "{% else %}<user> {{ message['content'] }} {% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def word_ids() -> dict[str, int]:
    """Every token's id: the special tokens first, then the words in alphabetical order."""
    return {word: i for i, word in enumerate(SPECIALS + all_words())}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that splits at spaces and joins with single ones, so that lower-case text of known words comes back exactly."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(WordLevel(word_ids(), unk_token=UNKNOWN))
    backend.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
