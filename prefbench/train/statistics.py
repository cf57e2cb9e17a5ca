"""Numbers per sequence from one forward: what objectives may want beyond log-probs, and schedulers of the hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from prefbench.train.device import autocast
from prefbench.train.forward import Scorer, in_blocks, sum_by_owner, sum_by_sequence
from prefbench.train.layout import MicroBatch, to_device

if TYPE_CHECKING:
    from transformers.utils import ModelOutput

LOG_PROB = "log_prob"
OF_SEQUENCES: Mapping[str, str] = {
    "prompt_log_prob": "prompt_log_prob",
    "chosen_common_log_prob": "common_log_prob",
    "rejected_common_log_prob": "common_log_prob",
    "chosen_collision": "collision",
    "rejected_collision": "collision",
    "chosen_kl": "kl",
    "rejected_kl": "kl",
}
"""The number per sequence that a pair statistic is taken from."""


def sequence_names(wants: Sequence[str]) -> tuple[str, ...]:
    """The numbers per sequence that the wanted pair statistics are made of; the answer's log-prob is always the first."""
    return tuple(dict.fromkeys((LOG_PROB, *(OF_SEQUENCES[name] for name in wants if name in OF_SEQUENCES))))


def sequence_values(
    scorer: Scorer, reference: Scorer | None, names: Sequence[str], batch: MicroBatch, output: ModelOutput | None = None
) -> torch.Tensor:
    """The named numbers of each sequence, nats, float64, shape (R, len(names)), differentiable.

    ``output`` is the model's own, where it was run before; ``reference`` is run, without gradient, for a KL alone.
    """
    with autocast(scorer.dtype):
        states = scorer.states(batch) if output is None else scorer.states_of(output)
        answers = states.index_select(0, batch.predictors)
        log_probs = scorer.project(answers, batch.targets)
        columns = [sum_by_sequence(log_probs, batch)]
        for name in names[1:]:
            if name == "prompt_log_prob":
                columns.append(_prompt_log_probs(scorer, states, batch))
            elif name == "common_log_prob":
                columns.append(_common_log_probs(log_probs, batch))
            elif name == "collision":
                columns.append(sum_by_sequence(in_blocks(lambda rows: _collision(scorer, rows), _width(scorer), answers), batch))
            else:
                columns.append(sum_by_sequence(_divergence(scorer, reference, answers, batch), batch))
    return torch.stack(columns, dim=1)


def _width(scorer: Scorer) -> int:
    return int(scorer.model.config.get_text_config().vocab_size)


def _prompt_log_probs(scorer: Scorer, states: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
    """log p of every prompt token but the first, summed; float64, shape (R,)."""
    places = [place for span in batch.spans for place in range(span.prompt, span.prompt + span.prompt_length - 1)]
    owner = [number for number, span in enumerate(batch.spans) for _ in range(span.prompt_length - 1)]
    predictors = to_device(places, states.device)
    values = scorer.project(states.index_select(0, predictors), batch.tokens.flatten()[predictors + 1])
    return sum_by_owner(values, to_device(owner, states.device), len(batch.rows))


def _common_log_probs(log_probs: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
    """log p of each answer's first tokens, as many as the shorter answer of its pair has, summed; float64, shape (R,)."""
    lengths = np.array([span.answer_length for span in batch.spans])
    # Both answers of a pair are in the micro-batch; the chosen ones have the lower row numbers, in the order of the rejected ones.
    pairs = np.argsort([span.row for span in batch.spans]).reshape(2, -1)
    common = np.empty_like(lengths)
    common[pairs] = lengths[pairs].min(axis=0)
    places = np.concatenate([np.arange(length) for length in lengths])
    kept = to_device(places < np.repeat(common, lengths), log_probs.device, torch.bool)
    return sum_by_sequence(log_probs.where(kept, 0.0), batch)


def _collision(scorer: Scorer, states: torch.Tensor) -> torch.Tensor:
    """log of the probability that two draws from the policy are the same token, shape (N,)."""
    return torch.logsumexp(2 * torch.log_softmax(scorer.logits(states).float(), dim=-1), dim=-1)


def _divergence(scorer: Scorer, reference: Scorer | None, states: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
    """KL(reference || policy) at each response position, shape (N,)."""
    if reference is None:
        raise ValueError("a KL needs the job's reference")
    known = reference
    with torch.no_grad():
        fixed = known.states(batch).index_select(0, batch.predictors)

    def divergence(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        policy = torch.log_softmax(scorer.logits(own).float(), dim=-1)
        target = torch.log_softmax(known.logits(other).float(), dim=-1)
        return (target.exp() * (target - policy)).sum(dim=-1)

    return in_blocks(divergence, _width(scorer), states, fixed)


# ---------------------------------------------------------------- hidden states

HIDDEN_STATES = ("hidden_states", "padded_hidden_states")


def mean_hidden_states(output: ModelOutput, batch: MicroBatch, padded: bool) -> torch.Tensor:
    """What each block gives, averaged over a sequence's tokens, or over the width of the micro-batch; float32, shape (R, L, D).

    Raises ValueError for the latter where there is no such width, because tokens are packed.
    """
    blocks: Sequence[torch.Tensor] = output.hidden_states[1:]  # the first is the embedding's
    if padded:
        if batch.packing is not None:
            raise ValueError("means over padding need padded tokens")
        return torch.stack([block.float().mean(dim=1) for block in blocks], dim=1)
    device, sequences = blocks[0].device, len(batch.spans)
    places = to_device([place for span in batch.spans for place in span.positions()], device)
    lengths = [span.prompt_length + span.answer_length for span in batch.spans]
    owner = to_device([number for number, length in enumerate(lengths) for _ in range(length)], device)
    sums = [torch.zeros(sequences, block.shape[-1], device=device) for block in blocks]
    means = [
        total.index_add(0, owner, block.flatten(0, 1).float().index_select(0, places)) for total, block in zip(sums, blocks, strict=True)
    ]
    return torch.stack(means, dim=1) / to_device(lengths, device)[:, None, None]
