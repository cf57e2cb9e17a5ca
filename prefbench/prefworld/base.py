"""The base model and its SFT: a tiny Llama trained from nothing on the corpus, saved as ordinary Hugging Face folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from prefbench.identity import digest
from prefbench.prefworld.corpus import base_corpus, demonstrations
from prefbench.prefworld.tokenizer import ASSISTANT, END, PAD, USER, build_tokenizer, word_ids
from prefbench.streams import stream_seed

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

MAX_POSITIONS = 256
_BATCH = 48
_EVERY = 25
"""Steps between two checkpoints, and two reports."""
_PARTS = 4
"""Of a batch, sorted by length so that little is padding. They go through the model side by side, each on one thread: matrices as small as
these are slower on two."""


@dataclass(frozen=True)
class Schedule:
    """One stage of training: optimiser steps, peak learning rate, warm-up steps, and whether answers alone are learned."""

    name: str
    steps: int
    learning_rate: float
    warmup: int
    answers_only: bool

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear warm-up, then a cosine to a hundredth of the peak."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def base_schedule(steps: int) -> Schedule:
    """Of the base model: every token of the corpus is learned."""
    return Schedule("base", steps, 5e-3, max(1, steps // 20), answers_only=False)


def sft_schedule(steps: int) -> Schedule:
    """Of supervised fine-tuning: the answers of the demonstrations are learned."""
    return Schedule("sft", steps, 1.5e-3, max(1, steps // 10), answers_only=True)


def build(folder: Path, seed: int, base_steps: int, sft_steps: int, report: Callable[[str], None]) -> None:
    """Train both models and save them under ``folder/base`` and ``folder/sft``, from where an earlier attempt in this folder was cut off.

    The same seed gives the same weights on the same machine, cut off or not.
    """
    import torch

    from prefbench.train.checkpoint import load_model, save_policy, weights_digest

    tokenizer = build_tokenizer()
    with _one_thread():
        base, sft = folder / "base", folder / "sft"
        if not base.exists():
            stage, model = Stage(base_schedule(base_steps), str(seed), folder), new_model(seed)
            train(stage, model, base_corpus(seed), report)
            save_policy(model, tokenizer, base)
            stage.checkpoint.unlink()
        if not sft.exists():
            stage = Stage(sft_schedule(sft_steps), weights_digest(base), folder)
            model = cast("LlamaForCausalLM", load_model(base, torch.device("cpu")))
            train(stage, model, demonstrations(seed), report)
            save_policy(model, tokenizer, sft)
            stage.checkpoint.unlink()


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    # The caller's number must not matter: another number of threads sums in another order and gives other weights.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def new_model(seed: int) -> LlamaForCausalLM:
    """An untrained model of 0.27 million parameters; the global random state is left as it was."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    ids = word_ids()
    special = {"bos_token_id": None, "eos_token_id": ids[END], "pad_token_id": ids[PAD]}
    config = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        initializer_range=0.06,
        tie_word_embeddings=True,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "prefworld", "init"))
        model = LlamaForCausalLM(config)
        # With the usual 0.02 throughout, copying does not emerge within 700 steps.
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.1)
    model.generation_config = GenerationConfig(do_sample=True, **special)
    return model


@dataclass(frozen=True)
class Stage:
    """A schedule, what its training starts from (a seed, or the digest of weights), and the folder for its checkpoint."""

    schedule: Schedule
    start: str
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint while it is not finished."""
        return self.folder / f"{self.schedule.name}.safetensors"

    @property
    def key(self) -> str:
        """What a checkpoint depends on."""
        return digest({"schedule": asdict(self.schedule), "start": self.start})


def train(stage: Stage, model: LlamaForCausalLM, texts: Iterator[str], report: Callable[[str], None]) -> None:
    """Adam on next-token cross-entropy, in one pass over as many texts as the steps need; from the stage's checkpoint where it has one."""
    import torch

    from prefbench.train.device import usable_cores
    from prefbench.train.state import model_tree, read_tree, restore_model, write_tree

    schedule, first = stage.schedule, 0
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    if tree := read_tree(stage.checkpoint, stage.key):
        restore_model(model, optimiser, tree)
        first = tree["step"]
        texts = islice(texts, first * _BATCH, None)
    model.train()
    with ThreadPoolExecutor(min(usable_cores(), _PARTS)) as threads:
        for step in range(first, schedule.steps):
            loss = _set_gradients(model, [_encode(text) for text in islice(texts, _BATCH)], schedule.answers_only, threads)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(step)
            optimiser.step()
            if (step + 1) % _EVERY == 0 or step + 1 == schedule.steps:
                write_tree(stage.checkpoint, stage.key, {"step": step + 1, **model_tree(model, optimiser)})
                report(f"{schedule.name}: step {step + 1} of {schedule.steps}, loss {loss:.3f}")
    model.eval()


_IDS = word_ids()


def _encode(text: str) -> np.ndarray:
    return np.array([_IDS[word] for word in text.split()])


def _set_gradients(model: LlamaForCausalLM, batch: list[np.ndarray], answers_only: bool, threads: ThreadPoolExecutor) -> float:
    """Give the weights the gradient of the mean cross-entropy over the batch's learned tokens; that mean, in nats.

    Batches stay random and are only cut by length: bringing texts of equal length together over many batches trains far worse. The parts'
    gradients are added in the parts' order, whichever is ready first.
    """
    import torch

    batch = sorted(batch, key=len)
    masks = [_answer_mask(ids) if answers_only else np.ones(len(ids), dtype=bool) for ids in batch]
    learned = sum(int(mask[1:].sum()) for mask in masks)
    weights = list(model.parameters())

    def part(rows: slice) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = _summed_loss(model, batch[rows], masks[rows]) / learned
        return loss.item(), torch.autograd.grad(loss, weights)

    losses, gradients = zip(*threads.map(part, _parts(batch)), strict=True)
    for weight, of_parts in zip(weights, zip(*gradients, strict=True), strict=True):
        weight.grad = sum(of_parts[1:], of_parts[0])
    return float(sum(losses))


def _parts(batch: list[np.ndarray]) -> list[slice]:
    """A batch, shortest text first, in parts of about as many tokens each."""
    tokens = np.cumsum([len(ids) for ids in batch])
    cuts = 1 + np.searchsorted(tokens, tokens[-1] * np.arange(1, _PARTS) / _PARTS)
    edges = [0, *cuts.tolist(), len(batch)]
    return [slice(start, stop) for start, stop in pairwise(edges) if start < stop]


def _summed_loss(model: LlamaForCausalLM, sequences: list[np.ndarray], masks: list[np.ndarray]) -> torch.Tensor:
    """Summed cross-entropy of the learned tokens; only their positions are projected on the vocabulary."""
    import torch
    from torch.nn.functional import cross_entropy, linear

    shape = (len(sequences), max(map(len, sequences)))
    ids, learned = torch.full(shape, _IDS[PAD]), torch.zeros(shape, dtype=torch.bool)
    for row, (sequence, mask) in enumerate(zip(sequences, masks, strict=True)):
        ids[row, : len(sequence)], learned[row, : len(mask)] = torch.from_numpy(sequence), torch.from_numpy(mask)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    learned = learned[:, 1:]
    return cross_entropy(linear(hidden[learned], model.lm_head.weight), ids[:, 1:][learned], reduction="sum")


def _answer_mask(sequence: np.ndarray) -> np.ndarray:
    """True for what the assistant says, its end token included."""
    opened, closed = np.cumsum(sequence == _IDS[ASSISTANT]), np.cumsum(sequence == _IDS[USER])
    mask: np.ndarray = (opened == closed) & (sequence != _IDS[ASSISTANT])
    return mask
