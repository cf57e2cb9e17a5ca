"""The output projection: log-probs of given tokens from hidden states, through one buffer of logits, or block by block without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_BYTES = 1 << 28
"""Memory of one buffer of logits; more response positions than fit are projected block by block, and again in the backward."""
CHUNK, CUDA_CHUNK = 1 << 18, 1 << 25
"""Logits that are turned into probabilities at a time: few enough to stay in a CPU's cache between two passes over them; on a GPU, where every
pass is a launch, many."""


def head_logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of hidden states: the output embedding and, where the model has one, its soft cap."""
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    cap = soft_cap(model)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def soft_cap(model: PreTrainedModel) -> float | None:
    """The bound that the model's logits approach, where it has one."""
    cap: float | None = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return cap


def is_plain_linear(head: torch.nn.Module) -> bool:
    """Whether a head is a matrix product and perhaps a bias, and nothing that a subclass or an adapter would add."""
    return type(head) is torch.nn.Linear and not head._forward_hooks and not head._forward_pre_hooks


def target_log_probs(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p of each target (N,) from hidden states (N, D); float32, shape (N,), differentiable once.

    The same as a log-softmax over ``head_logits``, read at the targets; see ``TargetLogProbs`` for what it saves.
    """
    head = cast("torch.nn.Linear", model.get_output_embeddings())
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    found: torch.Tensor = TargetLogProbs.apply(hidden, head.weight, head.bias, targets, soft_cap(model))  # type: ignore[no-untyped-call]
    return found


class TargetLogProbs(torch.autograd.Function):
    """Linear layer, soft cap and log-softmax at the targets, with three matrix products and one buffer (N, V) in all.

    The forward keeps the logits and each row's normaliser; the backward turns that same buffer into the logits' gradient,
    ``(one-hot - softmax) * gradient``, in place. Where the buffer would exceed LOGIT_BYTES nothing is kept, and a fourth product makes it again,
    block by block.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, cap: float | None
    ) -> torch.Tensor:
        block = max(1, LOGIT_BYTES // (weight.shape[0] * hidden.element_size()))
        wanted = len(hidden) <= block and any(ctx.needs_input_grad)
        found, kept = [], None
        for piece in zip(hidden.split(block), targets.split(block), strict=True):
            log_probs, logits, normaliser = _block_log_probs(*piece, weight, bias, cap)
            found.append((log_probs, normaliser))
            kept = logits if wanted else None
            del logits  # the next block's take their place
        # Saved, and no attribute: recomputation drops, and makes again, what is saved.
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat([normaliser for _, normaliser in found]), kept)
        ctx.cap, ctx.block, ctx.spent = cap, block, False
        return torch.cat([log_probs for log_probs, _ in found])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, normalisers, kept = ctx.saved_tensors
        if kept is not None:  # overwritten below: of a second backward through the same graph the logits are made again
            kept, ctx.spent = None if ctx.spent else kept.data, True
        sums = _Gradients(ctx.needs_input_grad, hidden, weight)
        rows = (hidden, targets, normalisers, gradients[0])
        for number, piece in enumerate(zip(*(tensor.split(ctx.block) for tensor in rows), strict=True)):
            states, wanted, normaliser, gradient = piece
            logits = capped_logits(states, weight, bias, ctx.cap) if kept is None else kept
            logits_to_gradient_(logits, wanted, normaliser, gradient, ctx.cap)
            sums.add(number * ctx.block, states, logits)
            del logits
        return sums.hidden, sums.weight, sums.bias, None, None


class _Gradients:
    """Gradients of the head's inputs, block by block; of what needs none, none."""

    def __init__(self, needed: tuple[bool, ...], hidden: torch.Tensor, weight: torch.Tensor) -> None:
        self.matrix = weight
        self.hidden = torch.empty_like(hidden) if needed[0] else None
        self.needed = needed
        self.weight: torch.Tensor | None = None
        self.bias: torch.Tensor | None = None

    def add(self, start: int, hidden: torch.Tensor, logits: torch.Tensor) -> None:
        """A block of rows, with the gradient of its logits."""
        if self.hidden is not None:
            torch.mm(logits, self.matrix.to(logits.dtype), out=self.hidden[start : start + len(hidden)])
        if self.needed[1]:
            self.weight = _plus(self.weight, torch.mm(logits.t(), hidden).to(self.matrix.dtype))
        if self.needed[2]:
            self.bias = _plus(self.bias, logits.sum(0).to(self.matrix.dtype))


def _plus(sum_: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
    return more if sum_ is None else sum_.add_(more)


def capped_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, cap: float | None) -> torch.Tensor:
    """Logits (N, V) in the dtype of the hidden states."""
    matrix = weight.to(hidden.dtype)
    logits = hidden @ matrix.t() if bias is None else torch.addmm(bias.to(hidden.dtype), hidden, matrix.t())
    return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


def _block_log_probs(
    hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, cap: float | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probs (N,), logits (N, V), and the logarithm of each row's summed exponentials (N,), the first and last in float32."""
    logits = capped_logits(hidden, weight, bias, cap)
    rows = _rows_at_a_time(logits)
    normaliser = torch.cat([torch.logsumexp(chunk.float(), dim=1) for chunk in logits.split(rows)])
    return logits.gather(1, targets[:, None]).squeeze(1).float() - normaliser, logits, normaliser


def _rows_at_a_time(logits: torch.Tensor) -> int:
    return max(1, (CUDA_CHUNK if logits.is_cuda else CHUNK) // logits.shape[1])


def logits_to_gradient_(
    logits: torch.Tensor, targets: torch.Tensor, normaliser: torch.Tensor, gradient: torch.Tensor, cap: float | None
) -> None:
    """Overwrite logits (N, V) by the gradient of the matrix product before the cap, given that of the log-probs (N,)."""
    rows = _rows_at_a_time(logits)
    columns = (logits, targets[:, None], normaliser[:, None], gradient[:, None])
    for chunk, wanted, offset, slope in zip(*(tensor.split(rows) for tensor in columns), strict=True):
        steepness = None if cap is None else 1 - (chunk.float() / cap) ** 2
        found = chunk.float().sub_(offset).exp_().mul_(-slope)  # in the buffer itself where that is float32
        found.scatter_add_(1, wanted, slope.to(found.dtype))
        chunk.copy_(found if steepness is None else found * steepness)
