"""A preference loss, and the pairs as it sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from prefbench.api.component import Stateful

if TYPE_CHECKING:
    import torch

PAIR_STATISTICS = (
    "prompt_log_prob",
    "chosen_common_log_prob",
    "rejected_common_log_prob",
    "chosen_collision",
    "rejected_collision",
    "chosen_kl",
    "rejected_kl",
    "mismatched_log_ratio",
)
"""What an objective may want of its pairs beyond their log-probs; see ``PairBatch``."""


@dataclass(frozen=True)
class PairBatch:
    """B trained pairs as an objective sees them.

    Log-probs are summed over response tokens, in nats, float64, shape (B,). The policy's carry gradient; the reference's do not. Token counts
    are float64, shape (B,). ``columns`` holds the per-pair numbers that the objective ``needs``, shape (B,). ``progress`` runs from 0 at the
    first step to 1 at the last.

    ``statistics`` holds what the objective ``wants``, in nats, float64, shape (B,); it costs time only then:

    - ``prompt_log_prob``: log pi of the prompt's tokens but the first, summed; with gradient.
    - ``chosen_common_log_prob``, ``rejected_common_log_prob``: log pi of the answer's first tokens, as many as the shorter of the two has; with
      gradient.
    - ``chosen_collision``, ``rejected_collision``: sum over response positions of log sum_v pi(v)^2, over the vocabulary; with gradient.
    - ``chosen_kl``, ``rejected_kl``: sum over response positions of KL(reference || policy) over the vocabulary; with gradient.
    - ``mismatched_log_ratio``: log pi - log ref of the answers of the pair before it in the batch, given this pair's prompt: the mean of its
      chosen and its rejected answer's; without gradient. The batch has at least two pairs then.
    """

    policy_chosen: torch.Tensor
    policy_rejected: torch.Tensor
    reference_chosen: torch.Tensor
    reference_rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor
    prompt_tokens: torch.Tensor
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    statistics: Mapping[str, torch.Tensor] = field(default_factory=dict)
    progress: float = 0.0
    seed: int = 0

    @property
    def chosen_log_ratio(self) -> torch.Tensor:
        """log pi(chosen) - log ref(chosen), shape (B,)."""
        return self.policy_chosen - self.reference_chosen

    @property
    def rejected_log_ratio(self) -> torch.Tensor:
        """log pi(rejected) - log ref(rejected), shape (B,)."""
        return self.policy_rejected - self.reference_rejected

    @property
    def margin(self) -> torch.Tensor:
        """Chosen log-ratio minus rejected log-ratio, shape (B,); no beta in it."""
        return self.chosen_log_ratio - self.rejected_log_ratio

    @property
    def rng(self) -> torch.Generator:
        """A CPU generator of this batch's own, new at every call: whoever draws from it twice draws the same, and moves no other stream."""
        import torch

        return torch.Generator().manual_seed(self.seed)


class Objective(Stateful, ABC):
    """A preference loss. A subclass is a dataclass; its fields are its hyper-parameters."""

    batch_coupled: ClassVar[bool] = False
    """True when the loss of one pair depends on the other pairs of the batch."""
    reference_free: ClassVar[bool] = False
    """True when it reads no reference log-prob."""
    monotone: ClassVar[bool] = True
    """False when, at policy = reference, its mean may rise with the chosen or fall with the rejected log-prob."""
    domain: ClassVar[float] = 1e4
    """The largest size of a log-ratio, in nats, for which its losses are finite."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that it reads from ``batch.columns``. A plain class attribute, ``needs = ("my-column",)``, will do."""
        return ()

    @property
    def wants(self) -> tuple[str, ...]:
        """Names, of ``PAIR_STATISTICS``, that it reads from ``batch.statistics``. A plain class attribute will do."""
        return ()

    @abstractmethod
    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,); the core takes the mean. Pure: it changes neither the batch nor the objective."""

    def update(self, batch: PairBatch) -> None:
        """Change state (moving averages, queues); called exactly once per optimiser step, before ``per_pair``, on the trained pairs, detached."""
