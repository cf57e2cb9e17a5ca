"""Token ids in, log-probs of response tokens out: any causal LM of transformers, the vocabulary projected on response positions only."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from prefbench.errors import PrefbenchError
from prefbench.train.device import autocast

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils import ModelOutput

LOGIT_BYTES = 1 << 28
"""Memory of one block of float32 logits; more response positions than fit are projected block by block and recomputed in the backward."""


@dataclass(frozen=True)
class MicroBatch:
    """R sequences, padded on the right. ``rows`` are their numbers in the caller's list."""

    rows: torch.Tensor  # (R,) int64
    tokens: torch.Tensor  # (R, T) int64
    predictors: torch.Tensor  # (N,) flat position in (R*T) whose hidden state predicts each response token
    targets: torch.Tensor  # (N,) the response tokens
    owner: torch.Tensor  # (N,) which of the R sequences a response token belongs to
    prompts: torch.Tensor  # (R,) tokens of each prompt
    lengths: torch.Tensor  # (R,) tokens of each sequence, without padding


@dataclass(frozen=True)
class Scorer:
    """A model with what its forward needs: the compute dtype, and whether its head may be applied apart from it."""

    model: PreTrainedModel
    dtype: str
    split_head: bool

    def copy(self) -> Scorer:
        """The same with a model of its own, to be trained."""
        return Scorer(copy.deepcopy(self.model), self.dtype, self.split_head)

    @property
    def arithmetic(self) -> str:
        """Compute dtype, dtype of the weights and attention implementation: what the last digits of a log-prob depend on."""
        return f"{self.dtype} on {self.model.dtype}, {self.model.config._attn_implementation}"

    def token_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """log p of each response token given what stands before it; nats, float32, shape (N,), differentiable.

        Right padding needs no mask: under causal attention no response token sees it.
        """
        with autocast(self.dtype):
            return self.project(self.states(batch)[batch.predictors], batch.targets)

    def sequence_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """The same summed over each sequence's response, float64, shape (R,): a float32 sum over 100 tokens loses a digit."""
        return sum_by_sequence(self.token_log_probs(batch), batch)

    def distributions(self, batch: MicroBatch) -> torch.Tensor:
        """Log-probs over the whole vocabulary at each response position; nats, float64, shape (N, V)."""
        with autocast(self.dtype):
            return torch.log_softmax(self.logits(self.states(batch)[batch.predictors]).double(), dim=-1)

    def run(self, batch: MicroBatch, **wanted: bool) -> ModelOutput:
        """The model without its head where that may be applied apart, else the whole model."""
        part = self.model.base_model if self.split_head else self.model
        output: ModelOutput = part(input_ids=batch.tokens, use_cache=False, **wanted)
        return output

    def states(self, batch: MicroBatch) -> torch.Tensor:
        """What the head turns into logits, or the logits themselves where it cannot be applied apart; shape (R*T, D or V)."""
        return self.states_of(self.run(batch))

    def states_of(self, output: ModelOutput) -> torch.Tensor:
        """The same of a forward that was run before."""
        found: torch.Tensor = output.last_hidden_state if self.split_head else output.logits
        return found.flatten(0, 1)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Of some positions; shape (N, V)."""
        return head_logits(self.model, states) if self.split_head else states

    def project(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """log p of each target, shape (N,); block by block where the logits would take too much memory."""
        return in_blocks(self._log_probs, self.model.config.get_text_config().vocab_size, states, targets)

    def _log_probs(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -functional.cross_entropy(self.logits(states).float(), targets, reduction="none")


def in_blocks(function: Callable[..., torch.Tensor], width: int, *rows: torch.Tensor) -> torch.Tensor:
    """``function`` of the rows, a block of at most LOGIT_BYTES (float32, ``width`` numbers a row) at a time, recomputed in the backward."""
    block = max(1, LOGIT_BYTES // (4 * width))
    if len(rows[0]) <= block:
        return function(*rows)
    pieces = zip(*(tensor.split(block) for tensor in rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([function(*piece) for piece in pieces])
    return torch.cat([checkpoint(function, *piece, use_reentrant=False) for piece in pieces])


def sum_by_sequence(values: torch.Tensor, batch: MicroBatch) -> torch.Tensor:
    """Sum of a number per response token over each of the R sequences, float64, shape (R,)."""
    return sum_by_owner(values, batch.owner, len(batch.rows))


def sum_by_owner(values: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Sum of the values of each owner, float64, shape (count,)."""
    sums = torch.zeros(count, dtype=torch.float64, device=values.device)
    return sums.index_add(0, owner, values.double())


def head_logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of hidden states: the output embedding and, where the model has one, its soft cap."""
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def make_scorer(model: PreTrainedModel, dtype: str) -> Scorer:
    """A scorer whose head was compared with the model's own logits once; a model that does more behind its head is run whole."""
    return Scorer(model, dtype, split_head=_head_matches(model))


@torch.no_grad()
def _head_matches(model: PreTrainedModel) -> bool:
    if model.get_output_embeddings() is None:
        return False
    tokens = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    whole = model(input_ids=tokens, use_cache=False).logits
    if whole.isnan().any():
        message = f"the model {model.name_or_path!r} gives logits that are no numbers"
        raise PrefbenchError(message, "its weights are damaged, or its training diverged at the last step", exit_code=1)
    apart = head_logits(model, model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
    return torch.allclose(whole.float(), apart.float(), rtol=1e-4, atol=1e-4)


def refuse_unknown_tokens(model: PreTrainedModel, *texts: Sequence[Sequence[int]]) -> None:
    """Raise PrefbenchError for a token id that the model has no embedding for: on a GPU it would end the process, and name nothing."""
    known = model.get_input_embeddings().weight.shape[0]
    highest = max((max(ids, default=0) for text in texts for ids in text), default=0)
    if highest >= known:
        raise PrefbenchError(
            f"the model knows {known} tokens, and the tokenizer gave id {highest}",
            "take model and tokenizer from one folder, or model.resize_token_embeddings(len(tokenizer)) before it is tuned",
            exit_code=1,
        )


def micro_batches(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], budget: int, target: torch.device
) -> list[MicroBatch]:
    """Sequences sorted by length and cut into batches of at most ``budget`` tokens, padding included; one sequence may exceed it alone."""
    lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups: list[list[int]] = []
    for row in order:
        if groups and (len(groups[-1]) + 1) * lengths[row] <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_collate(group, prompts, responses, target) for group in groups]


def _collate(group: list[int], prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], target: torch.device) -> MicroBatch:
    width = max(len(prompts[row]) + len(responses[row]) for row in group)
    tokens: list[list[int]] = []
    predictors: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    prompt_lengths = [len(prompts[row]) for row in group]
    lengths = [len(prompts[row]) + len(responses[row]) for row in group]
    for place, row in enumerate(group):
        prompt, response = prompts[row], responses[row]
        tokens.append([*prompt, *response, *[0] * (width - len(prompt) - len(response))])
        first = place * width + len(prompt) - 1
        predictors += range(first, first + len(response))
        targets += response
        owner += [place] * len(response)
    columns = (group, tokens, predictors, targets, owner, prompt_lengths, lengths)
    return MicroBatch(*(torch.tensor(values).to(target, non_blocking=True) for values in columns))


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode: a pair has one score, and training's draws of dropout stay where they are."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
