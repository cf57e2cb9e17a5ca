"""The contract of objectives: what the core relies on when it trains with a loss that somebody else wrote."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

import torch

from prefbench.api import PAIR_STATISTICS, Objective, PairBatch
from prefbench.registry import build
from prefbench.testing.batches import Worked
from prefbench.testing.contract import Contract, require, require_diagnostics
from prefbench.testing.pairs import (
    OF_ANSWERS,
    contents,
    detached,
    everywhere,
    near,
    offered_pairs,
    part,
    trainable,
    untrained,
    with_another_reference,
)
from prefbench.testing.snapshots import snapshot, through_a_checkpoint

COUNT = 12
"""Pairs of a batch of the checks."""
TOLERANCE = 1e-6
"""Of worked losses."""
UNREDUCED = "return the loss of each pair, unreduced: the core takes the mean"


class ObjectiveContract(Contract[Objective]):
    """Every check of an objective.

    ``variants`` are the options that it is checked with, one set at a time, and ``worked`` rows whose losses are known.
    """

    worked: ClassVar[Sequence[Worked]] = ()

    def exercise(self, component: Objective) -> None:
        """Three steps, as the core takes them."""
        for step in range(3):
            losses = step_losses(component, offered_pairs(component, near(COUNT, step, drift=step), step))
            _require_finite(component, losses, "near home")

    # ---------------------------------------------------------------- losses

    def test_one_loss_per_pair_with_a_gradient(self) -> None:
        """Floating-point losses of shape (B,), for batches and pools of any size; of a single pair too, unless mismatched answers are wanted."""
        for make in self.makers():
            objective = make()
            sizes = (COUNT, 32, 7, 2) if "mismatched_log_ratio" in objective.wants else (COUNT, 32, 7, 2, 1)
            for size in sizes:
                batch, _ = trainable(offered_pairs(objective, near(size, seed=size)))
                losses = step_losses(objective, batch)
                _require_losses(objective, losses, size)
                _require_finite(objective, losses, f"of a batch of {size}")

    def test_losses_and_gradients_are_finite_on_the_domain(self) -> None:
        """Log-ratios up to ``domain`` nats in every combination of signs, for answers of 1 and of 2000 tokens, and before the first step."""
        for make in self.makers():
            for where, answers in everywhere(make().domain):
                objective = make()
                batch, leaves = trainable(offered_pairs(objective, answers))
                losses = step_losses(objective, batch)
                _require_finite(objective, losses, where)
                for name, slope in _slopes(losses, leaves).items():
                    remedy = "a gradient of 0 times infinity hides in torch.where and clamp: bound the argument, not the result"
                    require(bool(slope.isfinite().all()), objective, f"the gradient by {name} is not finite {where}", remedy)

    def test_the_gradient_reaches_the_policy(self) -> None:
        """The losses depend on the log-probs of the policy's answers, or of parts of them, by a gradient that is not zero everywhere."""
        for make in self.makers():
            objective = make()
            found = []
            for answers in (untrained(COUNT, seed=1), near(COUNT, seed=2)):
                batch, leaves = trainable(offered_pairs(objective, answers))
                slopes = _slopes(step_losses(objective, batch), leaves)
                found += [slopes[name].abs().sum() for name in OF_ANSWERS if name in slopes]
            remedy = "compute them from batch.policy_chosen and batch.policy_rejected, without detach, item or numpy"
            require(any(total > 0 for total in found), objective, "no gradient reaches the policy's log-probs", remedy)

    def test_the_mean_loss_favours_the_chosen_answers(self) -> None:
        """At policy = reference the mean does not rise with the chosen log-probs and does not fall with the rejected ones, unless declared."""
        for make in self.makers():
            objective = make()
            if not objective.monotone:
                continue
            batch, leaves = trainable(offered_pairs(objective, untrained(64, seed=3)))
            slopes = _slopes(step_losses(objective, batch), leaves)
            remedy = "check its sign; if the method means it, declare `monotone = False`"
            rise, fall = float(slopes["policy_chosen"].sum()), -float(slopes["policy_rejected"].sum())
            require(rise <= 1e-12, objective, f"at policy = reference its mean rises with the chosen log-probs (slope {rise:.3g})", remedy)
            require(
                fall <= 1e-12, objective, f"at policy = reference its mean falls with the rejected log-probs (slope {-fall:.3g})", remedy
            )

    def test_worked_rows(self) -> None:
        """The losses of pairs that were worked out apart from the code, within 1e-6, after one ``update`` of a new objective."""
        for row in self.worked:
            objective = build(cast(type[Objective], self.component), row.options)
            losses = step_losses(objective, row.batch())
            _require_shape(objective, losses, len(row.losses))
            due = torch.tensor(list(row.losses), dtype=torch.float64)
            wrong = f"its losses are {_listed(losses)}, and {_listed(due)} were worked out"
            require(
                bool((losses - due).abs().max() <= TOLERANCE), objective, wrong, "one of the two has a mistake: work a pair out by hand"
            )

    # ---------------------------------------------------------------- what a loss may depend on

    def test_the_inputs_stay_as_they_are(self) -> None:
        """Neither ``update`` nor ``per_pair`` changes a tensor of the batch: the log and the scheduler read it afterwards."""
        for make in self.makers():
            objective = make()
            batch = offered_pairs(objective, near(COUNT, seed=4))
            before = snapshot(contents(batch))
            with torch.no_grad():
                step_losses(objective, batch)
            remedy = "use operations that return a new tensor: x.clamp(...), not x.clamp_(...); x - y, not x -= y"
            require(snapshot(contents(batch)) == before, objective, "it changes the batch that it is handed", remedy)

    def test_per_pair_is_pure(self) -> None:
        """The same batch twice gives the same losses, and leaves options and state as they are: only ``update`` changes state."""
        for make in self.makers():
            objective = make()
            batch, _ = trainable(offered_pairs(objective, near(COUNT, seed=5), step=1))
            objective.update(detached(batch))
            before = copy.deepcopy(objective.options()), snapshot(objective.state_dict())
            first = objective.per_pair(batch)
            second = objective.per_pair(batch)
            after = copy.deepcopy(objective.options()), snapshot(objective.state_dict())
            remedy = "change moving averages and queues in update(batch), and draw from batch.rng, which is new at every access"
            require(before == after, objective, "per_pair changes the objective", remedy)
            require(snapshot(first) == snapshot(second), objective, "per_pair gives other losses for the same batch", remedy)

    def test_parts_of_a_batch_lose_what_they_lose_in_the_whole(self) -> None:
        """A pair's loss does not depend on the other pairs of its batch, unless ``batch_coupled``."""
        for make in self.makers():
            objective = make()
            batch = offered_pairs(objective, near(COUNT, seed=6), step=1)
            whole = step_losses(objective, batch)
            if objective.batch_coupled or whole.shape != (COUNT,):
                continue
            parts = torch.cat([objective.per_pair(part(batch, rows)) for rows in torch.arange(COUNT).split(5)])
            remedy = "declare `batch_coupled = True`, or take nothing from the rest of the batch"
            require(_close(parts, whole), objective, "the loss of a pair depends on the other pairs of its batch", remedy)

    def test_the_order_of_pairs_does_not_matter(self) -> None:
        """Pairs in another order have the same losses in that order, unless ``batch_coupled``."""
        for make in self.makers():
            objective = make()
            batch = offered_pairs(objective, near(COUNT, seed=7), step=1)
            losses = step_losses(objective, batch)
            if objective.batch_coupled or losses.shape != (COUNT,):
                continue
            order = torch.arange(COUNT).roll(5).flip(0)
            remedy = "give losses in the order of the pairs; one that draws at random from batch.rng declares `batch_coupled = True`"
            require(
                _close(objective.per_pair(part(batch, order)), losses[order]), objective, "pairs in another order lose otherwise", remedy
            )

    def test_reference_free_means_what_it_says(self) -> None:
        """A reference-free objective gives the same losses whatever the reference says; every other one does not, at
        least with some variant."""
        readers = []
        for make in self.makers():
            batch = offered_pairs(make(), near(COUNT, seed=8), step=1)
            reads = snapshot(step_losses(make(), batch)) != snapshot(step_losses(make(), with_another_reference(batch)))
            wrong = "it says reference_free, and reads the reference's log-probs"
            require(not (reads and make().reference_free), make(), wrong, "take `reference_free` out")
            readers.append(reads or make().reference_free)
        wrong = "the reference's log-probs make no difference to it"  # for some options they need not
        require(any(readers), make(), wrong, "declare `reference_free = True`")

    def test_only_what_is_declared_is_read(self) -> None:
        """``needs`` and ``wants`` name every column and statistic that it reads."""
        for make in self.makers():
            objective = make()
            for name in objective.wants:
                known = name in PAIR_STATISTICS
                require(known, objective, f"it wants the statistic {name!r}, and there is none", f"there are {', '.join(PAIR_STATISTICS)}")
            step_losses(objective, offered_pairs(objective, near(COUNT, seed=9), watch=True))

    # ---------------------------------------------------------------- state

    def test_the_state_survives_a_checkpoint(self) -> None:
        """Two steps, a checkpoint, a new objective and two more steps lose what four steps lose; nothing else carries state along."""
        for make in self.makers():
            whole = make()
            due = [snapshot(losses) for losses in _steps(whole, range(4))][2:]
            stopped = make()
            list(_steps(stopped, range(2)))
            state = through_a_checkpoint(stopped)
            list(_steps(make(), range(6, 9)))  # another run in the same process must not be noticed
            resumed = make()
            resumed.load_state_dict(state)
            remedy = "keep state in attributes of the objective; state_dict() and load_state_dict() then need not be written"
            same = [snapshot(losses) for losses in _steps(resumed, range(2, 4))] == due
            require(same, whole, "a run that goes on from a checkpoint loses otherwise than one that never stopped", remedy)

    def test_diagnostics_keep_their_names(self) -> None:
        """The same names at every step, and numbers."""
        for make in self.makers():
            objective = make()
            told = [dict(objective.diagnostics()) for _ in _steps(objective, range(3))]
            require_diagnostics(objective, told)


# ---------------------------------------------------------------- the core's way with an objective


def step_losses(objective: Objective, batch: PairBatch) -> torch.Tensor:
    """What the core does at a step: ``update`` on the pairs, detached, then ``per_pair``."""
    objective.update(detached(batch))
    return objective.per_pair(batch)


def _steps(objective: Objective, steps: range) -> Iterator[torch.Tensor]:
    """The losses of some steps, each with pairs of its own that move away from home."""
    for step in steps:
        yield step_losses(objective, offered_pairs(objective, near(COUNT, seed=step, drift=0.5 * step), step))


def _slopes(losses: torch.Tensor, leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mean loss's gradient by each leaf, zero where there is none."""
    if not (isinstance(losses, torch.Tensor) and losses.requires_grad):
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(losses.mean(), list(leaves.values()), allow_unused=True)
    return {name: torch.zeros_like(leaf) if slope is None else slope for (name, leaf), slope in zip(leaves.items(), found, strict=True)}


# ---------------------------------------------------------------- what is required


def _require_shape(objective: Objective, losses: torch.Tensor, size: int) -> None:
    shape = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
    require(shape == (size,), objective, f"per_pair gives {shape} for {size} pairs, where shape ({size},) is due", UNREDUCED)


def _require_losses(objective: Objective, losses: torch.Tensor, size: int) -> None:
    _require_shape(objective, losses, size)
    remedy = "compute them from batch.policy_chosen and batch.policy_rejected with torch, without detach, item or numpy"
    require(losses.is_floating_point(), objective, f"its losses are {losses.dtype}, where floating-point numbers are due", remedy)
    require(losses.requires_grad, objective, "its losses carry no gradient: the policy would not be trained", remedy)


def _require_finite(objective: Objective, losses: torch.Tensor, where: str) -> None:
    remedy = "use stable forms (logsigmoid(x), not log(sigmoid(x))); where the method ends earlier, declare a smaller `domain`"
    finite = bool(losses.isfinite().all())
    require(finite, objective, f"a loss is {_first_odd(losses)} {where}", remedy)


def _first_odd(losses: torch.Tensor) -> float:
    return next((value for value in losses.detach().flatten().tolist() if value != value or abs(value) == float("inf")), 0.0)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def _listed(losses: torch.Tensor) -> str:
    return "[" + ", ".join(f"{value:.6f}" for value in losses.detach().tolist()) + "]"
