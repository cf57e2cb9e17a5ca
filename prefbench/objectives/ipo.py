"""IPO: regress the margin to a target instead of pushing it without end."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prefbench.api import Objective, PairBatch, hyper


@dataclass
class Ipo(Objective):
    """Identity preference optimisation: the squared distance of the margin from 1 / (2 beta).

    Per pair::

        (m - 1 / (2 * beta))^2

    where m is the chosen log-ratio per token minus the rejected one per token or, with ``length_normalised = false``, the margin itself.
    """

    name = "ipo"
    source = "Azar et al. 2023, arXiv 2310.12036, Eq. 17 (beta is its tau)"
    deviations = (
        "The equation sums log-ratios over tokens. The default divides each by its answer's tokens, as TRL does with the authors' consent; "
        "length_normalised = false is the equation as printed."
    )
    beta: float = hyper(0.1, low=1e-6, doc="tau: strength of the pull towards the reference; the target is 1 / (2 beta)")
    length_normalised: bool = hyper(True, doc="divide each log-ratio by its answer's tokens")

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        """The loss of each pair, shape (B,)."""
        return (self._margin(batch) - 0.5 / self.beta) ** 2

    def _margin(self, batch: PairBatch) -> torch.Tensor:
        if not self.length_normalised:
            return batch.margin
        return batch.chosen_log_ratio / batch.chosen_tokens - batch.rejected_log_ratio / batch.rejected_tokens
