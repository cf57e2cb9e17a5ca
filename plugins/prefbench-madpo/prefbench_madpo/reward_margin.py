"""The column ``reward-margin``: how much better a reward model, trained on the same pairs, finds the chosen answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.api import Column, ColumnContext, content_id, hyper
from prefbench_madpo.reward_model import RewardModel, TokenPairs
from prefbench_madpo.training import Recipe, Training, accuracy, log_loss


@dataclass
class RewardMargin(Recipe, Column):
    """r(chosen) - r(rejected), in nats, under a Bradley-Terry reward model trained on the very pairs that it then scores.

    The model that training starts from, with a linear head on the hidden state of the last token of prompt and answer, is tuned whole on::

        -log sigma(r(chosen) - r(rejected))

    A share of the pairs, by a hash of their ids, is held out to stop training early; the weights that were best on it are kept. All pairs are
    scored, those that it was trained on too. ``held_out_accuracy``, ``held_out_loss``, ``training_accuracy``, ``steps`` and ``epochs`` go into
    the records.
    """

    name = "reward-margin"
    source = "Rho 2025, arXiv 2510.05342, step 1; sirano1004/Margin-Apative-Direct-Preference-Optimization, notebooks and utils/loss_functions.py"
    deviations = (
        "As the authors do, the pairs that the reward model was trained on get its margins like all others: there they are surer than on unseen "
        "pairs. AdamW(.9, .95), weight decay .01, cosine, 3 % warm-up, batches of 32, gradients clipped at norm 1 and patience 3 are theirs. Ours: "
        "full tuning instead of LoRA and hence its learning rate (theirs is 1e-5), a head that starts at zero (theirs: at random), up to 8 epochs "
        "with a tenth of the pairs held out (they: up to 12, with a validation set of its own), four evaluations an epoch (they: every 20 steps), "
        "no dropout. Their head reads the last position even where that is padding; ours reads the last token of the text."
    )
    held_out_share: float = hyper(
        0.1, low=0.0, high=0.5, doc="share of the pairs that stop training early; 0: none, and it runs to the end"
    )
    noise: float = hyper(0.0, low=0.0, doc="deliberate corruption: sd of Gaussian noise on every margin, in sds of the margins themselves")

    def compute(self, context: ColumnContext) -> np.ndarray:
        """r(chosen) - r(rejected) of each pair, nats, float64, shape (N,)."""
        pairs, ids = joined(context), [pair.id for pair in context.pairs]
        rows, held_out = split(ids, self.held_out_share)
        model = RewardModel(context.fresh_model())
        steps = Training(model, pairs, self, context.report).run(rows, held_out)
        margins = model.score(pairs, range(len(ids)), self.micro_batch_tokens)
        context.note(training_accuracy=accuracy(margins[rows]), steps=steps, epochs=steps / self.steps_per_epoch(len(rows)))
        if held_out:
            context.note(held_out_accuracy=accuracy(margins[held_out]), held_out_loss=log_loss(margins[held_out]))
        noisy: np.ndarray = margins + self.noise * margins.std() * gaussian(ids, self.seed)
        return noisy


def joined(context: ColumnContext) -> TokenPairs:
    """Each prompt with either answer."""
    chosen, rejected = (
        [[*prompt, *answer] for prompt, answer in zip(context.prompt_ids, answers, strict=True)]
        for answers in (context.chosen_ids, context.rejected_ids)
    )
    return TokenPairs(chosen, rejected)


def split(ids: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Rows to train on and rows to hold out, both in the order of a hash of the ids: the pairs' own order has no influence."""
    rows = sorted(range(len(ids)), key=lambda row: content_id("held out", ids[row]))
    count = round(share * len(ids))
    return rows[count:], rows[:count]


def gaussian(ids: Sequence[str], seed: int) -> np.ndarray:
    """A standard normal draw per id, float64, shape (N,), each from a generator of its own."""
    seeds = [int(content_id("noise", seed, pair_id), 16) for pair_id in ids]
    return np.array([np.random.default_rng(own).standard_normal() for own in seeds])
