"""Made-up work of a known shape: random Llamas with a tokenizer of one token a word, and pairs of random words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from benchmarks.trl.sides import Workload

SPECIAL = ("<pad>", "<eos>", "<unk>")
LONGEST = 384
"""Words of the longest prompt and of the longest answer of wide pairs."""


@dataclass(frozen=True)
class Size:
    """A model's vocabulary, width and layers; the head shares the input embedding."""

    vocabulary: int
    width: int
    layers: int

    def config(self) -> PreTrainedConfig:
        """A Llama with heads of 64, of 32 where it is that narrow, and the usual inner width of 8/3."""
        heads = self.width // (64 if self.width > 64 else 32)
        inner = 16 * -(-self.width // 6)
        sizes = {"hidden_size": self.width, "intermediate_size": inner, "num_hidden_layers": self.layers, "num_attention_heads": heads}
        return LlamaConfig(**sizes, **_tokens(self.vocabulary))


@dataclass(frozen=True)
class QwenSize:
    """Qwen2.5-0.5B."""

    vocabulary: int = 151936

    def config(self) -> PreTrainedConfig:
        """As its authors published it."""
        sizes = {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
        }
        return Qwen2Config(**sizes, rope_theta=1e6, **_tokens(self.vocabulary))


def _tokens(vocabulary: int) -> dict[str, object]:
    known = {"bos_token_id": None, "eos_token_id": SPECIAL.index("<eos>"), "pad_token_id": SPECIAL.index("<pad>")}
    return {"vocab_size": vocabulary, "tie_word_embeddings": True, "max_position_embeddings": 2048, **known}


SIZES: dict[str, Size | QwenSize] = {
    "xs": Size(2048, 64, 2),  # 0.2 M parameters
    "s": Size(8192, 256, 6),  # 7 M
    "m": Size(32000, 384, 8),  # 26 M
    "qwen2.5-0.5b": QwenSize(),
}
LENGTHS = ("mild", "wide")


def make(folder: Path, size: str, lengths: str, count: int, seed: int = 0) -> Workload:
    """Write a workload into ``folder``: the same for the same arguments."""
    workload, made = Workload(folder), SIZES[size]
    folder.mkdir(parents=True, exist_ok=True)
    random_model(made.config(), seed).save_pretrained(workload.model)
    tokenizer(made.vocabulary).save_pretrained(workload.model)
    rows = random_pairs(made.vocabulary, lengths, count, seed)
    workload.pairs.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return workload


def random_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """A model as its configuration initialises it, float32."""
    torch.manual_seed(seed)
    kind = Qwen2ForCausalLM if isinstance(config, Qwen2Config) else LlamaForCausalLM
    return kind(config)


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A token a word; the words are w3, w4 and so on, by their ids."""
    words = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), vocabulary))]
    by_word = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    by_word.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=by_word, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def random_pairs(vocabulary: int, lengths: str, count: int, seed: int) -> list[dict[str, str]]:
    """Pairs of random words, prompt and answers as long as ``lengths`` says."""
    rng = np.random.default_rng(seed)
    texts = [[_words(rng.integers(len(SPECIAL), vocabulary, n)) for n in row] for row in word_counts(lengths, count, rng)]
    # An answer begins with the space that parts it from its prompt.
    return [{"prompt": prompt, "chosen": f" {chosen}", "rejected": f" {rejected}"} for prompt, chosen, rejected in texts]


def word_counts(lengths: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Words of prompt, chosen and rejected answer, int64, shape (count, 3).

    mild: prompts of 96 to 160, answers of 64 to 128. wide: lognormal with a mean of about 120 and 105, up to 384.
    """
    if lengths == "mild":
        return np.stack([rng.integers(96, 161, count), rng.integers(64, 129, count), rng.integers(64, 129, count)], axis=1)
    drawn = rng.lognormal(mean=[4.5, 4.35, 4.35], sigma=0.8, size=(count, 3))
    return np.clip(drawn.round().astype(np.int64), 4, LONGEST)


def mean_words(workload: Workload) -> tuple[float, float]:
    """Of the pairs of a workload: the mean words of a prompt, and of both answers together."""
    rows = [json.loads(line) for line in workload.pairs.read_text().splitlines()]
    prompts = np.mean([len(row["prompt"].split()) for row in rows])
    return float(prompts), float(np.mean([len(f"{row['chosen']}{row['rejected']}".split()) for row in rows]))


def _words(ids: np.ndarray) -> str:
    return " ".join(f"w{i}" for i in ids)
