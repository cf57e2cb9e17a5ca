"""Tiny real models and tokenizers, made on the spot."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from prefbench.api import Pair
from prefbench.data.tokens import TokenPairs

WORDS = ["<pad>", "<eos>", "<user>", "<assistant>", "<unk>", *(f"w{i}" for i in range(45))]
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% if message['role'] == 'assistant' %}<eos> {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)


def tiny_llama(seed: int = 0, **changes: object) -> PreTrainedModel:
    """Two layers, width 16, 50 words; random weights large enough for log-probs that differ."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.3, "max_position_embeddings": 128}
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **tokens, "tie_word_embeddings": True, **changes})).eval()


def tiny_neox(seed: int = 0) -> PreTrainedModel:
    """Another architecture, its embeddings not tied."""
    torch.manual_seed(seed)
    config = GPTNeoXConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, eos_token_id=1)
    return GPTNeoXForCausalLM(config).eval()


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, with a chat template."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


def random_tokens(count: int, seed: int = 0) -> TokenPairs:
    """Pairs of random token ids with very different lengths."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(5, 50, rng.integers(low, high)))

    pairs = tuple(Pair(f"p{i}", f"c{i}", f"r{i}") for i in range(count))
    return TokenPairs(pairs, *(tuple(ids(*span) for _ in pairs) for span in ((2, 9), (1, 20), (1, 12))))
