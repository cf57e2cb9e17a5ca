"""Batched sampling of answers with the model's own chat template; finished rows leave the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import DynamicCache

from prefbench.evaluate.asked import Asked, Draws, Requests, answer_in_batches, ask, end_tokens, texts_of
from prefbench.evaluate.kept_answers import UNTOLD, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CPU_CACHE_BYTES = 1 << 26
"""Memory that the key-value cache of one batch may take on a CPU; a larger one falls out of its caches and costs four times as much."""
CUDA_CACHE_SHARE = 0.5
"""The same on a GPU, as a share of the memory that is free; the rest is for activations, and for logits over the vocabulary."""


@dataclass(frozen=True)
class _Rows:
    """The unfinished rows of a batch: where they belong, and what the next forward needs."""

    index: torch.Tensor  # (R,) row of the whole batch
    mask: torch.Tensor  # (R, T) attention mask, left-padded
    draws: torch.Tensor  # (R, longest) uniforms in [0, 1), one per new token
    temperature: torch.Tensor  # (R, 1)
    top_p: torch.Tensor | None  # (R, 1); None where every row draws from the whole distribution
    penalty: torch.Tensor | None  # (R, 1); None where no row is penalised for repetitions
    history: torch.Tensor | None  # (R, T) the token ids so far, a real one in the place of each that is padding; None likewise
    limit: torch.Tensor  # (R,) new tokens allowed

    def keep(self, rows: torch.Tensor) -> _Rows:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        kept: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return _Rows(**kept)

    def longer(self, drawn: torch.Tensor) -> _Rows:
        """With the tokens (R,) that were drawn, one for each row."""
        history = None if self.history is None else torch.cat([self.history, drawn[:, None]], dim=1)
        return dataclasses.replace(self, mask=torch.nn.functional.pad(self.mask, (0, 1), value=1), history=history)


def generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: Requests, progress: Progress = UNTOLD) -> list[str]:
    """One answer per prompt. A row's draws depend on ``(seed, stream, id)`` alone, so neither batching nor other rows change them.

    Tokens are drawn by inverting the cumulative distribution with one uniform per token: policies that share seed, stream and id share their
    luck too, which makes their differences smaller than those of independent samples. Where CUDA runs out of memory a batch is halved; beyond
    rounding the answers do not depend on it. Raises PrefbenchError for a prompt that leaves no room for its answer.
    """
    asked, source = ask(model, tokenizer, requests), requests.source
    ends = end_tokens(model, tokenizer)

    def draw(rows: Sequence[Asked]) -> list[list[int]]:
        return in_halves(lambda part: _generate_batch(model, part, source, ends), rows)

    return texts_of(tokenizer, answer_in_batches(asked, _batches(model, asked), draw, source, progress), ends)


# ---------------------------------------------------------------- batches and memory


def _batches(model: PreTrainedModel, asked: Sequence[Asked]) -> list[list[int]]:
    """Rows in order of prompt length, so that little is padded, as many at a time as the cache budget allows."""
    if not asked:
        return []
    order = sorted(range(len(asked)), key=lambda i: len(asked[i].prompt))
    positions = max(len(row.prompt) for row in asked) + max(row.sampling.max_new_tokens for row in asked)
    rows = max(1, _cache_budget(model.device) // (positions * _cache_bytes_per_token(model)))
    if model.device.type == "cuda":
        rows = 1 << (rows.bit_length() - 1)  # a run that goes on with a little more or less memory free cuts the same batches
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def _cache_budget(device: torch.device) -> int:
    if device.type != "cuda":
        return CPU_CACHE_BYTES
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(CUDA_CACHE_SHARE * (torch.cuda.mem_get_info(device)[0] + unused))


def _cache_bytes_per_token(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)


def in_halves(draw: Callable[[Sequence[Asked]], list[list[int]]], rows: Sequence[Asked]) -> list[list[int]]:
    """``draw`` of the rows, in halves of halves where CUDA runs out of memory. Raises torch.OutOfMemoryError where one row is too much."""
    try:
        return draw(rows)
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise
    # Behind the handler: within it the traceback holds what the failed forward had allocated.
    torch.cuda.empty_cache()
    half = len(rows) // 2
    return in_halves(draw, rows[:half]) + in_halves(draw, rows[half:])


# ---------------------------------------------------------------- one batch


@torch.inference_mode()
def _generate_batch(model: PreTrainedModel, asked: Sequence[Asked], source: Draws, ends: Sequence[int]) -> list[list[int]]:
    tokens, mask = _left_pad([row.prompt for row in asked], model.device)
    rows = _first_rows(asked, source, tokens, mask)
    stops = torch.tensor(ends, device=model.device)
    answers: list[list[int]] = [[] for _ in asked]
    cache: Any = DynamicCache(config=model.config)
    position = (mask.cumsum(1) - 1).clamp(min=0)
    for step in range(rows.draws.shape[1]):
        logits = model(
            input_ids=tokens, attention_mask=rows.mask, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        if rows.penalty is not None and rows.history is not None:
            logits = _penalised(logits, rows.history, rows.penalty)
        drawn = _draw(logits, rows.temperature, rows.draws[:, step], rows.top_p)
        for row, token in zip(rows.index.tolist(), drawn.tolist(), strict=True):
            answers[row].append(token)
        going = (~torch.isin(drawn, stops) & (rows.limit > step + 1)).nonzero()[:, 0]
        if len(going) == 0:
            break
        position = position[:, -1:] + 1
        if len(going) < len(drawn):
            rows, drawn, position = rows.keep(going), drawn[going], position[going]
            cache.batch_select_indices(going)
        rows, tokens = rows.longer(drawn), drawn[:, None]
    return answers


def _first_rows(asked: Sequence[Asked], source: Draws, tokens: torch.Tensor, mask: torch.Tensor) -> _Rows:
    """All rows of a batch, before its first token."""
    device, sampling = mask.device, [row.sampling for row in asked]
    longest = max(s.max_new_tokens for s in sampling)
    penalised = any(s.repetition_penalty != 1 for s in sampling)
    return _Rows(
        index=torch.arange(len(asked), device=device),
        mask=mask,
        draws=torch.from_numpy(np.stack([source.of(row.id, longest) for row in asked])).to(device),
        temperature=torch.tensor([[s.temperature] for s in sampling], dtype=torch.float64, device=device),
        top_p=torch.tensor([[s.top_p] for s in sampling], dtype=torch.float64, device=device)
        if any(s.top_p < 1 for s in sampling)
        else None,
        penalty=torch.tensor([[s.repetition_penalty] for s in sampling], dtype=torch.float64, device=device) if penalised else None,
        history=torch.where(mask == 1, tokens, tokens[:, -1:]) if penalised else None,
        limit=torch.tensor([s.max_new_tokens for s in sampling], device=device),
    )


def _left_pad(prompt_ids: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(p) for p in prompt_ids)
    tokens = torch.tensor([[0] * (longest - len(p)) + p for p in prompt_ids], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompt_ids], device=device)
    return tokens, mask


def _penalised(logits: torch.Tensor, history: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """The logits (R, V) with those of tokens in ``history`` (R, T) made smaller by the factor ``penalty`` (R, 1), as ``Sampling`` says."""
    seen = logits.gather(1, history)
    return logits.scatter(1, history, torch.where(seen > 0, seen / penalty, seen * penalty).to(logits.dtype))


def _draw(logits: torch.Tensor, temperature: torch.Tensor, uniform: torch.Tensor, top_p: torch.Tensor | None = None) -> torch.Tensor:
    """One token per row, shape (R,): the most probable at temperature 0, else the inverse of the cumulative distribution at ``uniform``."""
    greedy = logits.argmax(-1)
    # float64: over a vocabulary of 150,000 tokens a float32 running sum is off by more than the rarest tokens' probability.
    probability = torch.softmax(logits.double() / temperature.clamp(min=1e-6), dim=-1)
    cumulative = (probability if top_p is None else _nucleus(probability, top_p)).cumsum(-1)
    sampled = torch.searchsorted(cumulative, (uniform[:, None] * cumulative[:, -1:]).contiguous(), right=True)[:, 0]
    return torch.where(temperature[:, 0] > 0, sampled.clamp(max=logits.shape[-1] - 1), greedy)


def _nucleus(probability: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The probabilities (R, V), 0 outside the nucleus: the fewest of the most probable tokens that reach ``top_p`` (R, 1) together.

    Holtzman et al., The Curious Case of Neural Text Degeneration (2020), section 3.1. The most probable token is always in it, all are at
    ``top_p`` 1, and of equals the lower id comes first.
    """
    ordered, tokens = probability.sort(dim=-1, descending=True, stable=True)
    inside = (ordered.cumsum(-1) - ordered < top_p) | (top_p >= 1)
    inside[:, 0] = True
    return probability * torch.zeros_like(inside).scatter(-1, tokens, inside)
