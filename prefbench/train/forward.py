"""Token ids in, log-probs of response tokens out: any causal LM of transformers, the vocabulary projected on response positions only."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from prefbench.errors import PrefbenchError, first_line
from prefbench.identity import digest
from prefbench.train import head
from prefbench.train.attention import NAME, obstacle, use_attention, worthwhile_padding
from prefbench.train.device import autocast
from prefbench.train.head import head_logits, is_plain_linear, target_log_probs
from prefbench.train.layout import AS_ROWS, PADDED, SHARED, Ids, Layout, MicroBatch, micro_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils import ModelOutput


ORIGIN = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Settings of a configuration that no log-prob depends on, or that the scorer names itself."""


@dataclass(frozen=True)
class Scorer:
    """A model with what its forward needs: the compute dtype, whether its head may be applied apart from it, and how tokens are laid out."""

    model: PreTrainedModel
    dtype: str
    split_head: bool
    layout: Layout = AS_ROWS

    def copy(self) -> Scorer:
        """The same with a model of its own, to be trained."""
        return dataclasses.replace(self, model=copy.deepcopy(self.model))

    @property
    def arithmetic(self) -> str:
        """What log-probs depend on beside weights and tokens: compute dtype, dtype of the weights, attention, layout, and the configuration, whose
        rotary base, say, no weight tells."""
        how = f"{self.dtype} on {self.model.dtype}, {self.model.config._attn_implementation}, {self.layout.name}"
        return f"{how}, {config_digest(self.model)[:16]}"

    def micro_batches(
        self, prompts: Sequence[Ids], sides: Sequence[Sequence[Ids]], budget: int, order: Sequence[int] | None = None
    ) -> list[MicroBatch]:
        """Prompts with their answers as the model is to see them: see ``layout.micro_batches``."""
        return micro_batches(self.layout, prompts, sides, budget, self.model.device, order)

    def token_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """log p of each response token given what stands before it; nats, float32, shape (N,), differentiable.

        Right padding needs no mask: under causal attention no response token sees it.
        """
        with autocast(self.dtype):
            return self.project(self.states(batch).index_select(0, batch.predictors), batch.targets)

    def sequence_log_probs(self, batch: MicroBatch) -> torch.Tensor:
        """The same summed over each sequence's response, float64, shape (R,): a float32 sum over 100 tokens loses a digit."""
        return sum_by_sequence(self.token_log_probs(batch), batch)

    def distributions(self, batch: MicroBatch) -> torch.Tensor:
        """Log-probs over the whole vocabulary at each response position; nats, float64, shape (N, V)."""
        with autocast(self.dtype):
            return torch.log_softmax(self.logits(self.states(batch).index_select(0, batch.predictors)).double(), dim=-1)

    def run(self, batch: MicroBatch, **wanted: bool) -> ModelOutput:
        """The model without its head where that may be applied apart, else the whole model."""
        part = self.model.base_model if self.split_head else self.model
        output: ModelOutput = part(input_ids=batch.tokens, use_cache=False, **self._packed(batch), **wanted)
        return output

    def _packed(self, batch: MicroBatch) -> dict[str, Any]:
        """What a model needs beside packed tokens; nothing for padded ones."""
        if batch.packing is None:
            return {}
        if self.model.config._attn_implementation != NAME:
            raise ValueError("packed tokens need a model whose layers call prefbench's attention: make_scorer sees to that")
        # A mask of four dimensions is what transformers takes for ready-made: it hands it on, and the attention knows better.
        unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=batch.tokens.device)
        return {"position_ids": batch.packing.place[None], "attention_mask": unread, "packing": batch.packing}

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
        """log p of each target, float32, shape (N,); block by block where the logits would take too much memory."""
        if self.split_head and is_plain_linear(self.model.get_output_embeddings()):
            return target_log_probs(self.model, states, targets)
        return in_blocks(self._log_probs, self.model.config.get_text_config().vocab_size, states, targets)

    def _log_probs(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -functional.cross_entropy(self.logits(states).float(), targets, reduction="none")


def config_digest(model: PreTrainedModel) -> str:
    """sha256 of a model's configuration but for what only says where it is from."""
    settings = json.loads(model.config.to_json_string(use_diff=False))
    return digest({name: value for name, value in settings.items() if name not in ORIGIN})


def in_blocks(function: Callable[..., torch.Tensor], width: int, *rows: torch.Tensor) -> torch.Tensor:
    """``function`` of the rows, a block of at most LOGIT_BYTES (float32, ``width`` numbers a row) at a time, recomputed in the backward."""
    block = max(1, head.LOGIT_BYTES // (4 * width))
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


def make_scorer(model: PreTrainedModel, dtype: str) -> Scorer:
    """A scorer whose head and whose layout were compared with the model's own plain forward once, in the dtype of its weights.

    A model that does more behind its head is run whole; one whose layers cannot be given packed tokens is given padded ones.
    """
    padded = Scorer(model, dtype, _head_matches(model))
    return dataclasses.replace(padded, layout=_fastest_layout(padded))


def _fastest_layout(padded: Scorer) -> Layout:
    """Shared prompts where the model can be given them, else padding, with the reason."""
    model = padded.model
    if reason := obstacle(model):
        return Layout(PADDED, reason=reason)
    shared = dataclasses.replace(padded, layout=Layout(SHARED, worthwhile_padding(model)))
    before = model.config._attn_implementation
    use_attention(model, NAME)
    try:
        reason = "" if _agree(padded, shared) else "has other states for packed tokens"
    except (
        Exception
    ) as error:  # no compiler, or a kernel that cannot take this model's heads: there is more than one kind of error for either
        reason = f"cannot be given packed tokens: {first_line(error)}"
    if not reason:
        return shared.layout
    use_attention(model, before)
    return Layout(PADDED, reason=f"{type(model).__name__} {reason}")


def _agree(padded: Scorer, shared: Scorer) -> bool:
    """Whether two small pairs have the same states where answers are predicted, in either layout; on a GPU a backward is tried too.

    A token that leaks from one sequence into the next changes them by a thousandth at least, of their norm.
    """
    known = padded.model.config.get_text_config().vocab_size
    prompts, sides = [[1, 2, 3, 4], [5, 6]], [[[7, 8, 9], [10, 11]], [[12, 13], [14, 15, 16, 17]]]

    def states(scorer: Scorer) -> torch.Tensor:
        (batch,) = scorer.micro_batches(
            [_modulo(ids, known) for ids in prompts], [[_modulo(ids, known) for ids in side] for side in sides], 100
        )
        order = torch.tensor([span.row for span in batch.spans], device=batch.owner.device)[batch.owner].argsort(stable=True)
        return scorer.states(batch).index_select(0, batch.predictors)[order].float()

    with torch.set_grad_enabled(padded.model.device.type == "cuda"), autocast(padded.dtype):
        plain, packed = states(padded), states(shared)
        if packed.requires_grad:
            torch.autograd.grad(packed.sum(), shared.model.get_input_embeddings().weight, allow_unused=True)
    tolerance = 1e-4 if padded.model.dtype == torch.float32 and padded.dtype == "float32" else 2e-2
    return bool((plain - packed).norm() <= tolerance * plain.norm())


def _modulo(ids: Sequence[int], known: int) -> list[int]:
    return [token % known for token in ids]


@torch.no_grad()
def _head_matches(model: PreTrainedModel) -> bool:
    if model.get_output_embeddings() is None or model.base_model is model:
        return False
    tokens = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    whole = model(input_ids=tokens, use_cache=False).logits
    if whole.isnan().any():
        message = f"the model {model.name_or_path!r} gives logits that are no numbers"
        raise PrefbenchError(message, "its weights are damaged, or its training diverged at the last step", exit_code=1)
    apart = head_logits(model, model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
    return torch.allclose(whole.float(), apart.float(), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- many answers, without gradient


@torch.inference_mode()
def summed_log_probs(scorer: Scorer, prompts: Sequence[Ids], sides: Sequence[Sequence[Ids]], budget: int) -> np.ndarray:
    """log p of each answer on each side, nats, float64, shape (len(sides), len(prompts)). Raises PrefbenchError for unknown tokens."""
    refuse_unknown_tokens(scorer.model, prompts, *sides)
    sums = np.empty(len(sides) * len(prompts))
    for batch in scorer.micro_batches(prompts, sides, budget):
        sums[batch.rows.cpu().numpy()] = scorer.sequence_log_probs(batch).cpu().numpy()
    return sums.reshape(len(sides), len(prompts))


@torch.inference_mode()
def per_token_log_probs(
    scorer: Scorer, prompts: Sequence[Ids], sides: Sequence[Sequence[Ids]], budget: int, on_answers: Callable[[int], None] = lambda _: None
) -> list[list[np.ndarray]]:
    """The same token by token, float32: for each side an array per answer. ``on_answers`` hears of how many there are so far."""
    refuse_unknown_tokens(scorer.model, prompts, *sides)
    scored = 0
    found = [[np.empty(0, dtype=np.float32)] * len(prompts) for _ in sides]
    for batch in scorer.micro_batches(prompts, sides, budget):
        ends = np.cumsum([span.answer_length for span in batch.spans])
        pieces = np.split(scorer.token_log_probs(batch).cpu().numpy(), ends[:-1])
        for row, piece in zip(batch.rows.tolist(), pieces, strict=True):
            side, prompt = divmod(row, len(prompts))
            found[side][prompt] = piece
        scored += len(batch.spans)
        on_answers(scored)
    return found


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


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode: a pair has one score, and training's draws of dropout stay where they are."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
