"""How hard a pair is to learn from the other pairs: its loss under policies that were trained without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefbench.api import Column, ColumnContext, hyper
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    import numpy as np

FIRST_SEED = 41
"""The seed of the first repeat; its folds and its policies follow from it. The source's three are 41, 42 and 43."""


@dataclass
class Difficulty(Column):
    """Selective DPO's difficulty: the loss of each pair under policies that were trained on the folds that do not hold it. Large is hard.

    In each repeat the N pairs are dealt at random into F folds, and with l(i; rows) the objective's loss of pair i under a policy trained on rows::

        difficulty(i) = mean over the repeats of  l(i; all folds but i's)

    It costs folds * repeats trainings of ``epochs`` epochs each. With repeats > 1 the cell's record holds the rank correlation between repeats:
    how much of the ranking is the pairs' and not the folds'.
    """

    name = "difficulty"
    source = "Gao et al. 2025, arXiv 2502.09650, and glorgao/SelectiveDPO"
    deviations = (
        "The source trains reference models of their own, with LoRA, in three repeats of two halves; here the small policy itself is the reference "
        "model, trained with the objective and the learning rate of the row of the board, in one repeat unless told otherwise. The authors' code "
        "averages five evaluations during each training; here the loss is that at its end. More folds than two are ours."
    )
    uses_objective = True
    folds: int = hyper(2, low=2, doc="parts that the pairs are dealt into; each is scored by a policy trained on the others")
    repeats: int = hyper(1, low=1, doc="times that this is done, with other folds; the source does it 3 times")
    epochs: float = hyper(1.0, low=0.01, doc="epochs over its pairs that each policy is trained for")

    def compute(self, context: ColumnContext) -> np.ndarray:
        """The difficulty, float64, shape (N,). Raises PrefbenchError when there are fewer pairs than folds."""
        import numpy as np

        if len(context.pairs) < self.folds:
            raise PrefbenchError(
                f"column {self.name!r} cannot deal {len(context.pairs)} pairs into {self.folds} folds", "give it fewer folds or more pairs"
            )
        losses = np.array([self._held_out_losses(context, repeat) for repeat in range(self.repeats)])
        context.note(mean_held_out_loss=float(losses.mean()))
        if self.repeats > 1:
            context.note(rank_correlation=_mean_rank_correlation(losses))
        difficulty: np.ndarray = losses.mean(axis=0)
        return difficulty

    def _held_out_losses(self, context: ColumnContext, repeat: int) -> np.ndarray:
        """Each pair's loss under the one policy of this repeat that did not see it, shape (N,)."""
        import numpy as np

        count, seed = len(context.pairs), FIRST_SEED + repeat
        fold_of = np.random.default_rng(seed).permutation(count) % self.folds
        losses = np.empty(count)
        for fold in range(self.folds):
            held_out, rest = np.flatnonzero(fold_of == fold).tolist(), np.flatnonzero(fold_of != fold).tolist()
            number = repeat * self.folds + fold + 1
            context.report(f"difficulty: policy {number} of {self.folds * self.repeats}, on {len(rest)} of {count} pairs")
            losses[held_out] = context.train(rest, self.epochs, seed).losses(held_out)
        return losses


def _mean_rank_correlation(losses: np.ndarray) -> float:
    """Spearman's correlation, averaged over all pairs of repeats; ``losses`` has shape (repeats, N).

    A repeat that finds all pairs equally hard ranks none of them, and agrees with no other: 0.
    """
    import numpy as np
    from scipy.stats import rankdata

    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(rankdata(losses, axis=1))
    return float(np.nan_to_num(correlations)[np.triu_indices(len(losses), k=1)].mean())
