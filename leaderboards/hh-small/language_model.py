"""A small Llama and its byte-level tokenizer, trained from nothing on the CPU: plain text first, then conversations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END, PAD, SYSTEM, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"
IGNORED = -100
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The size of the model: vocabulary, hidden width, layers, heads."""

    vocabulary: int = 4096
    width: int = 192
    layers: int = 4
    heads: int = 6


@dataclass(frozen=True)
class Budget:
    """One pass of training: tokens per step (padding included), tokens in all, and the highest learning rate."""

    tokens: int
    learning_rate: float
    step_tokens: int = 4096


# ---------------------------------------------------------------- tokenizer and model


def train_tokenizer(texts: Iterable[str], vocabulary: int, max_length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``vocabulary`` entries with a chat template in which every message ends with the end-of-sequence token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END, PAD, SYSTEM, USER, ASSISTANT], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=max_length,
    )


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, positions: int, seed: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings and random weights, float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=round(shape.width * 8 / 3 / 32) * 32,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


# ---------------------------------------------------------------- batches

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids and labels, both int64 of shape (rows, length); labels are ``IGNORED`` where there is no loss."""


def text_batches(ids: Sequence[int], length: int, budget: Budget, seed: int) -> Iterator[Batch]:
    """Blocks of ``length`` tokens of one long text, shuffled, over and over."""
    blocks = torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
    rows = budget.step_tokens // length
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(blocks))
        for start in range(0, len(order) - rows + 1, rows):
            batch = blocks[order[start : start + rows]]
            yield batch, batch


def conversation_batches(rows: Sequence[tuple[list[int], list[int]]], pad: int, budget: Budget, seed: int) -> Iterator[Batch]:
    """Prompts with answers, similar lengths together, at most ``budget.step_tokens`` a batch, shuffled, over and over; loss on answers only."""
    by_length = sorted(rows, key=lambda row: len(row[0]) + len(row[1]))
    groups: list[list[tuple[list[int], list[int]]]] = [[]]
    for row in by_length:
        if (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > budget.step_tokens:
            groups.append([])
        groups[-1].append(row)
    rng = np.random.default_rng(seed)
    while True:
        for number in rng.permutation(len(groups)):
            yield padded(groups[number], pad)


def padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> Batch:
    """Rows padded on the right; causal attention then needs no mask."""
    length = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), length), pad)
    labels = torch.full((len(rows), length), IGNORED)
    for number, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[number, :end] = torch.tensor(prompt + answer)
        labels[number, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


# ---------------------------------------------------------------- training


def train(model: LlamaForCausalLM, batches: Iterator[Batch], budget: Budget, report: Callable[[str], None]) -> None:
    """AdamW on next-token cross-entropy until the budget's tokens are seen; short warm-up, then a cosine to a tenth of the rate."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    model.train()
    seen, losses = 0, list[float]()
    for tokens, labels in batches:
        if seen >= budget.tokens:
            break
        for group in optimiser.param_groups:
            group["lr"] = budget.learning_rate * rate(seen / budget.tokens)
        loss = model(input_ids=tokens, labels=labels, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        seen += tokens.numel()
        losses.append(loss.item())
        if len(losses) % 200 == 0:
            report(f"{seen} of {budget.tokens} tokens, loss {np.mean(losses[-200:]):.3f}")
    model.eval()


def rate(progress: float) -> float:
    """The share of the highest learning rate at a progress in [0, 1]."""
    return min(1.0, progress / 0.05 + 0.02) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))
