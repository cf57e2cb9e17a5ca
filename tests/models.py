"""Tiny real models and tokenizers, made on the spot."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

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


WINDOW = 6
"""Tokens that a layer with sliding attention looks back on."""
GEMMA = {"num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW}
ZOO: dict[str, tuple[type[PreTrainedConfig], dict[str, object]]] = {
    "llama": (LlamaConfig, {"tie_word_embeddings": False}),
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "qwen3": (Qwen3Config, {"tie_word_embeddings": True, "num_key_value_heads": 1, "head_dim": 8}),
    "gemma2": (Gemma2Config, {**GEMMA, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 0.5}),
    "gemma3": (Gemma3TextConfig, {**GEMMA, "layer_types": ["sliding_attention", "full_attention"]}),
    "gpt-neox": (GPTNeoXConfig, {}),
    "gpt2": (GPT2Config, {"n_inner": 32, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    "mistral": (MistralConfig, {"num_key_value_heads": 1, "sliding_window": WINDOW}),
}
"""Architectures with what is special about them: tied and untied embeddings, shared key-value heads, soft caps, sliding
windows, and transposed layers."""


def attention_of(name: str) -> str:
    """The attention implementation that runs a model of the zoo as its authors mean it: a cap on attention logits needs the plain one."""
    return "eager" if name == "gemma2" else "sdpa"


def tiny_model(name: str, seed: int = 0) -> PreTrainedModel:
    """A model of the zoo: two layers, width 16, 50 words, random weights large enough for log-probs that differ."""
    torch.manual_seed(seed)
    kind, special = ZOO[name]
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.3, "max_position_embeddings": 128}
    config = kind(**{**sizes, **tokens, **special})
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention_of(name)).eval()


def word_tokenizer(padding_side: str = "right") -> PreTrainedTokenizerFast:
    """One token per word, with a chat template."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side=padding_side
    )
    fast.chat_template = TEMPLATE
    return fast


def random_tokens(count: int, seed: int = 0) -> TokenPairs:
    """Pairs of random token ids with very different lengths."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(5, 50, rng.integers(low, high)))

    pairs = tuple(Pair(f"p{i}", f"c{i}", f"r{i}") for i in range(count))
    return TokenPairs(pairs, *(tuple(ids(*span) for _ in pairs) for span in ((2, 9), (1, 20), (1, 12))))
