"""Made-up pairs for an objective: near home, untrained, and as far out as it says it bears."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prefbench.api import Objective, PairBatch
from prefbench.streams import stream
from prefbench.testing.offered import Offered, refusal

WITH_GRADIENT = (
    *("prompt_log_prob", "chosen_common_log_prob", "rejected_common_log_prob"),
    *("chosen_collision", "rejected_collision", "chosen_kl", "rejected_kl"),
)
OF_ANSWERS = ("policy_chosen", "policy_rejected", "chosen_common_log_prob", "rejected_common_log_prob")
"""Log-probs of answers, or of a part of them, under the policy."""
LENGTHS = (1.0, 2000.0)
"""The shortest and the longest answer, in tokens."""


@dataclass(frozen=True)
class Answers:
    """Log-ratios in nats and lengths in tokens of the chosen and the rejected answers of B pairs, shape (B,)."""

    chosen_log_ratio: np.ndarray
    rejected_log_ratio: np.ndarray
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen_tokens)


def near(count: int, seed: int, drift: float = 0.0) -> Answers:
    """Answers of 3 to 40 tokens whose log-ratios are a few nats, the chosen ones' higher by ``drift`` on average and the rejected ones' lower."""
    rng = stream(seed, "near")
    ratios = rng.normal(size=(2, count)) * 2.0 + np.array([[drift], [-drift]])
    return Answers(*ratios, *rng.integers(3, 41, size=(2, count)).astype(np.float64))


def untrained(count: int, seed: int) -> Answers:
    """Answers that policy and reference find equally probable, as they do before the first step."""
    return dataclasses.replace(near(count, seed), chosen_log_ratio=np.zeros(count), rejected_log_ratio=np.zeros(count))


def far(chosen: float, rejected: float) -> Answers:
    """Eight pairs with these log-ratios, in every combination of the shortest and the longest answer, twice."""
    lengths = np.array([(one, other) for one in LENGTHS for other in LENGTHS] * 2).T
    return Answers(np.full(8, chosen), np.full(8, rejected), *lengths)


def everywhere(distance: float) -> Iterator[tuple[str, Answers]]:
    """Where losses are to be finite, in words and as answers: at the start, near it, and up to this many nats away."""
    yield "before the first step, where policy = reference", untrained(12, seed=10)
    yield "near home", near(12, seed=11)
    for size in (distance, distance / 100):
        for chosen in (size, -size):
            for rejected in (size, -size):
                yield f"at log-ratios of {chosen:+g} (chosen) and {rejected:+g} nats (rejected)", far(chosen, rejected)


def offered_pairs(objective: Objective, answers: Answers, step: int = 0, watch: bool = False) -> PairBatch:
    """The pairs as the core hands them to the objective, with the columns and statistics that it declares drawn at random.

    Every policy log-prob is at most a small negative number, so that answers remain possible. With ``watch``, reading an undeclared name is an error.
    """
    count, rng = len(answers), stream(step, "policy")
    homes = [-tokens * rng.uniform(0.02, 3.0, count) for tokens in (answers.chosen_tokens, answers.rejected_tokens)]
    chosen, rejected = (home - np.maximum(0.0, ratio) for home, ratio in zip(homes, _ratios(answers), strict=True))
    prompt_tokens = rng.integers(2, 30, count).astype(np.float64)
    return PairBatch(
        policy_chosen=torch.from_numpy(chosen + answers.chosen_log_ratio),
        policy_rejected=torch.from_numpy(rejected + answers.rejected_log_ratio),
        reference_chosen=torch.from_numpy(chosen),
        reference_rejected=torch.from_numpy(rejected),
        chosen_tokens=torch.from_numpy(answers.chosen_tokens),
        rejected_tokens=torch.from_numpy(answers.rejected_tokens),
        prompt_tokens=torch.from_numpy(prompt_tokens),
        columns=Offered(objective.needs, _columns(count, step), refusal(objective, "needs") if watch else None),
        statistics=Offered(objective.wants, _statistics(answers, prompt_tokens, step), refusal(objective, "wants") if watch else None),
        progress=min(1.0, step / 10),
        seed=step,
    )


def _ratios(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    return answers.chosen_log_ratio, answers.rejected_log_ratio


def _columns(count: int, step: int) -> Callable[[str], torch.Tensor]:
    """Numbers about 1, some of them negative, as a score gap has them."""
    return lambda name: torch.from_numpy(1.0 + 1.5 * stream(step, "column", name).normal(size=count))


def _statistics(answers: Answers, prompt_tokens: np.ndarray, step: int) -> Callable[[str], torch.Tensor]:
    """Each on its own side of zero, and about as large as lengths and log-ratios make it."""
    collisions = {"chosen_collision": answers.chosen_tokens, "rejected_collision": answers.rejected_tokens}
    divergences = {"chosen_kl": answers.chosen_log_ratio, "rejected_kl": answers.rejected_log_ratio}

    def draw(name: str) -> torch.Tensor:
        rng = stream(step, "statistic", name)
        share = rng.uniform(0.05, 1.0, len(answers))
        if name in collisions:
            return torch.from_numpy(-4.0 * share * collisions[name])
        if name in divergences:
            return torch.from_numpy(share * np.abs(divergences[name]))
        if name.endswith("common_log_prob"):
            return torch.from_numpy(-3.0 * share * np.minimum(answers.chosen_tokens, answers.rejected_tokens))
        if name == "prompt_log_prob":
            return torch.from_numpy(-5.0 * share * prompt_tokens)
        return torch.from_numpy(rng.normal(size=len(answers)) * (1.0 + np.abs(answers.chosen_log_ratio)))

    return draw


# ---------------------------------------------------------------- the same pairs otherwise


def mapped(batch: PairBatch, change: Callable[[torch.Tensor], torch.Tensor]) -> PairBatch:
    """Every tensor of a batch changed."""
    tensors = {name: change(value) for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    by_name = {name: _offered(value).mapped(change) for name, value in vars(batch).items() if isinstance(value, Mapping)}
    changes: dict[str, Any] = {**tensors, **by_name}
    return dataclasses.replace(batch, **changes)


def _offered(values: Mapping[str, torch.Tensor]) -> Offered[torch.Tensor]:
    """A batch's columns or statistics, which worked pairs bring as plain mappings."""
    return values if isinstance(values, Offered) else Offered(values, values.__getitem__)


def detached(batch: PairBatch) -> PairBatch:
    """As ``update`` gets it."""
    return mapped(batch, torch.Tensor.detach)


def part(batch: PairBatch, rows: torch.Tensor) -> PairBatch:
    """Some of the pairs, in this order."""
    return mapped(batch, lambda values: values[rows])


def trainable(batch: PairBatch) -> tuple[PairBatch, dict[str, torch.Tensor]]:
    """As ``per_pair`` gets it: what depends on the policy carries gradient. The batch, and its leaves by name."""
    leaves = {name: getattr(batch, name).detach().clone().requires_grad_() for name in ("policy_chosen", "policy_rejected")}
    carried = {name: value.detach().clone().requires_grad_() for name, value in batch.statistics.items() if name in WITH_GRADIENT}
    statistics = Offered(batch.statistics, lambda name: carried[name] if name in carried else batch.statistics[name])
    changes: dict[str, Any] = {**leaves, "statistics": statistics}
    return dataclasses.replace(batch, **changes), leaves | carried


def with_another_reference(batch: PairBatch) -> PairBatch:
    """The same pairs under another reference: it finds every answer less probable, each in its own measure. Columns of the reference move too."""

    def column(name: str) -> torch.Tensor:
        return batch.columns[name] + 0.7 if name.startswith("reference-") else batch.columns[name]

    return dataclasses.replace(
        batch,
        reference_chosen=batch.reference_chosen - 1.5,
        reference_rejected=batch.reference_rejected * 1.25 - 0.5,
        columns=Offered(batch.columns, column),
    )


def contents(batch: PairBatch) -> dict[str, object]:
    """Everything that a batch holds, for a snapshot."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(batch).items()}
