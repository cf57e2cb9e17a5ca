"""Batched sampling of answers with the model's own chat template; finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import DynamicCache

from prefbench.api import Prompt, Sampling
from prefbench.data.tokens import encode_prompts
from prefbench.streams import stream
from prefbench.train.forward import refuse_unknown_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CACHE_BYTES = {"cpu": 1 << 26, "cuda": 1 << 32}
"""Memory that the key-value cache of one batch may take, by device; on a CPU a larger one falls out of its caches and costs four times as much."""


@dataclass(frozen=True)
class Draws:
    """Uniform numbers for the tokens of answers: a stream of its own for each id, under a seed and a name."""

    seed: int
    stream: str

    def of(self, id_: str, count: int) -> np.ndarray:
        """The first ``count`` of an id's numbers in [0, 1)."""
        return stream(self.seed, self.stream, id_).random(count)


@dataclass(frozen=True)
class _Rows:
    """The unfinished rows of a batch: where they belong, and what the next forward needs."""

    index: torch.Tensor  # (R,) row of the whole call
    mask: torch.Tensor  # (R, T) attention mask, left-padded
    draws: torch.Tensor  # (R, longest) uniforms in [0, 1), one per new token
    temperature: torch.Tensor  # (R, 1)
    limit: torch.Tensor  # (R,) new tokens allowed

    def keep(self, rows: torch.Tensor) -> _Rows:
        return _Rows(self.index[rows], self.mask[rows], self.draws[rows], self.temperature[rows], self.limit[rows])


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    ids: Sequence[str],
    sampling: Sequence[Sampling],
    source: Draws,
    report: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> list[str]:
    """One answer per prompt. A row's draws depend on ``(seed, stream, id)`` alone, so neither batching nor other rows change them.

    Tokens are drawn by inverting the cumulative distribution with one uniform per token: policies that share seed, stream and id share their
    luck too, which makes their differences smaller than those of independent samples.
    """
    prompt_ids = encode_prompts(tokenizer, prompts)
    refuse_unknown_tokens(model, prompt_ids)
    longest = max((s.max_new_tokens for s in sampling), default=0)
    draws = [source.of(id_, longest) for id_ in ids]
    answers: list[list[int]] = [[] for _ in prompts]
    for batch in _batches(model, prompt_ids, longest):
        report({"answers": sum(map(bool, answers))})
        new = _generate_batch(model, [prompt_ids[i] for i in batch], [sampling[i] for i in batch], np.stack([draws[i] for i in batch]))
        for i, tokens in zip(batch, new, strict=True):
            answers[i] = tokens
    texts: list[str] = tokenizer.batch_decode(answers, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [text.strip() for text in texts]


def _batches(model: PreTrainedModel, prompt_ids: list[list[int]], longest: int) -> list[list[int]]:
    """Rows in order of prompt length, so that little is padded, as many at a time as the cache budget allows."""
    if not prompt_ids:
        return []
    order = sorted(range(len(prompt_ids)), key=lambda i: len(prompt_ids[i]))
    positions = max(len(p) for p in prompt_ids) + longest
    rows = max(1, CACHE_BYTES[model.device.type] // (positions * _cache_bytes_per_token(model)))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def _cache_bytes_per_token(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)


@torch.inference_mode()
def _generate_batch(model: PreTrainedModel, prompt_ids: list[list[int]], sampling: list[Sampling], draws: np.ndarray) -> list[list[int]]:
    device = model.device
    tokens, mask = _left_pad(prompt_ids, device)
    rows = _Rows(
        index=torch.arange(len(prompt_ids), device=device),
        mask=mask,
        draws=torch.from_numpy(draws).to(device),
        temperature=torch.tensor([[s.temperature] for s in sampling], dtype=torch.float64, device=device),
        limit=torch.tensor([s.max_new_tokens for s in sampling], device=device),
    )
    ends = torch.tensor(end_tokens(model), device=device)
    answers: list[list[int]] = [[] for _ in prompt_ids]
    cache: Any = DynamicCache(config=model.config)
    position = (mask.cumsum(1) - 1).clamp(min=0)
    for step in range(draws.shape[1]):
        logits = model(
            input_ids=tokens, attention_mask=rows.mask, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        drawn = _draw(logits, rows.temperature, rows.draws[:, step])
        for row, token in zip(rows.index.tolist(), drawn.tolist(), strict=True):
            answers[row].append(token)
        going = (~torch.isin(drawn, ends) & (rows.limit > step + 1)).nonzero()[:, 0]
        if len(going) == 0:
            break
        position = position[:, -1:] + 1
        if len(going) < len(drawn):
            rows, drawn, position = rows.keep(going), drawn[going], position[going]
            cache.batch_select_indices(going)
        rows = _Rows(rows.index, torch.nn.functional.pad(rows.mask, (0, 1), value=1), rows.draws, rows.temperature, rows.limit)
        tokens = drawn[:, None]
    return answers


def end_tokens(model: PreTrainedModel) -> list[int]:
    """The token ids that end an answer, as the model's generation settings name them."""
    end = model.generation_config.eos_token_id if model.generation_config is not None else model.config.eos_token_id
    return end if isinstance(end, list) else [] if end is None else [end]


def _left_pad(prompt_ids: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(p) for p in prompt_ids)
    tokens = torch.tensor([[0] * (longest - len(p)) + p for p in prompt_ids], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompt_ids], device=device)
    return tokens, mask


def _draw(logits: torch.Tensor, temperature: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """One token per row, shape (R,): the most probable at temperature 0, else the inverse of the cumulative distribution at ``uniform``."""
    greedy = logits.argmax(-1)
    # float64: over a vocabulary of 150,000 tokens a float32 running sum is off by more than the rarest tokens' probability.
    cumulative = torch.softmax(logits.double() / temperature.clamp(min=1e-6), dim=-1).cumsum(-1)
    sampled = torch.searchsorted(cumulative, (uniform[:, None] * cumulative[:, -1:]).contiguous(), right=True)[:, 0]
    return torch.where(temperature[:, 0] > 0, sampled.clamp(max=logits.shape[-1] - 1), greedy)
