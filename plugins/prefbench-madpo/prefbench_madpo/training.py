"""Bradley-Terry training of a reward model, stopped early on held-out pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from prefbench.api import hyper
from prefbench_madpo.reward_model import RewardModel, TokenPairs

ADAM_BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.01
LARGEST_GRADIENT_NORM = 1.0


@dataclass
class Recipe:
    """How the reward model is trained: AdamW, warm-up, then a cosine to zero over all epochs, however early training stops."""

    learning_rate: float = hyper(5e-4, low=1e-8, doc="peak; 5e-4 suits a small model that is tuned whole; try 1e-5 for one of 1 B")
    epochs: int = hyper(8, low=1, doc="at most so many passes over the pairs that are not held out")
    batch_size: int = hyper(32, low=1, doc="pairs per step")
    warm_up: float = hyper(0.03, low=0.0, high=0.5, doc="share of the steps over which the learning rate rises")
    evaluations_per_epoch: int = hyper(4, low=1, doc="how often the held-out loss is looked at")
    patience: int = hyper(3, low=1, doc="evaluations without a new best held-out loss after which training stops")
    seed: int = hyper(0, low=0, doc="of the order of the pairs, and of the noise")
    micro_batch_tokens: int = hyper(8192, low=1, doc="tokens, padding included, in memory at a time; no influence but rounding")

    def steps_per_epoch(self, pairs: int) -> int:
        """Batches that so many pairs give, the last one perhaps smaller."""
        return math.ceil(pairs / self.batch_size)

    def rate(self, done: float) -> float:
        """The learning rate when this share of all steps is done."""
        if done < self.warm_up:
            return self.learning_rate * done / self.warm_up
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (done - self.warm_up) / (1.0 - self.warm_up)))


class Best:
    """The best weights seen, by held-out loss, and for how many evaluations they have stood."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.stood = 0
        self._weights: dict[str, torch.Tensor] = {}

    def see(self, model: RewardModel, loss: float) -> None:
        """Take the model's weights if this loss is a new best."""
        self.stood += 1
        if loss < self.loss:
            self.loss, self.stood = loss, 0
            self._weights = {name: weight.detach().to("cpu", copy=True) for name, weight in model.state_dict().items()}

    def restore(self, model: RewardModel) -> None:
        """Give the model the best weights back; as it is where none was seen."""
        if self._weights:
            model.load_state_dict(self._weights)


@dataclass(frozen=True)
class Training:
    """One training: ``run`` changes the model in place."""

    model: RewardModel
    pairs: TokenPairs
    recipe: Recipe
    report: Callable[[str], None]

    def run(self, rows: Sequence[int], held_out: Sequence[int]) -> int:
        """Train on ``rows`` and leave the model with the weights that were best on ``held_out``; the number of steps done.

        Without held-out pairs it runs to the end and keeps what it has then.
        """
        recipe, best = self.recipe, Best()
        optimiser = torch.optim.AdamW(self.model.parameters(), betas=ADAM_BETAS, weight_decay=WEIGHT_DECAY)
        per_epoch = recipe.steps_per_epoch(len(rows))
        total, interval, step = recipe.epochs * per_epoch, math.ceil(per_epoch / recipe.evaluations_per_epoch), 0
        self._evaluate(best, held_out, f"0 of {total} steps")
        for step, batch in enumerate(batches(rows, recipe), start=1):
            optimiser.param_groups[0]["lr"] = recipe.rate((step - 0.5) / total)
            self._step(optimiser, batch)
            if step % interval == 0 or step == total:
                self._evaluate(best, held_out, f"{step} of {total} steps")
            if held_out and best.stood >= recipe.patience:
                break
        best.restore(self.model)
        return step

    def _step(self, optimiser: torch.optim.Optimizer, batch: Sequence[int]) -> None:
        optimiser.zero_grad()
        for part in self.pairs.micro_batches(batch, self.recipe.micro_batch_tokens):
            loss = -logsigmoid(self.model.margins(self.pairs, part)).sum() / len(batch)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT_NORM)
        optimiser.step()

    def _evaluate(self, best: Best, held_out: Sequence[int], when: str) -> None:
        if not held_out:
            self.report(f"reward model: {when}")
            return
        loss = log_loss(self.model.score(self.pairs, held_out, self.recipe.micro_batch_tokens))
        best.see(self.model, loss)
        self.report(f"reward model: {when}, held-out loss {loss:.4f}")


def batches(rows: Sequence[int], recipe: Recipe) -> Iterator[list[int]]:
    """The rows in a new order every epoch, ``batch_size`` at a time; the last batch of an epoch may be smaller."""
    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.epochs):
        order = [rows[i] for i in rng.permutation(len(rows))]
        yield from (order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size))


def log_loss(margins: np.ndarray) -> float:
    """Mean of -log sigma(margin), nats."""
    return float(np.logaddexp(0.0, -margins).mean())


def accuracy(margins: np.ndarray) -> float:
    """Share of positive margins; a tie is half right."""
    return float((0.5 + 0.5 * np.sign(margins)).mean())
