"""What needs no judge: which answers of held-out pairs the policy has come to prefer, and how far it has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prefbench.api import Calibration, Harness, Items, Judge, Pair, Policy, Sampling, Source, content_id, hyper
from prefbench.errors import PrefbenchError

DECIMALS = 3
"""Kept of every number: a thousandth of a nat."""

_METRICS = {
    "held_out_accuracy": "correct",
    "held_out_gold_accuracy": "gold_correct",
    "margin": "margin",
    "chosen_reward": "chosen_log_ratio",
    "kl": "kl",
}


@dataclass
class HeldOut(Harness):
    """Accuracy, margin and divergence on the source's held-out pairs.

    A pair's log-ratio is log pi(y|x) - log ref(y|x) and its margin the chosen log-ratio minus the rejected, both summed over tokens, in
    nats, with no beta in them: rewards of objectives with different betas compare. ``chosen_reward`` is the chosen log-ratio. A pair is
    correct when its margin is above 0 (half where it is exactly 0), by its label and, where the source knows it, by the sign of its true
    margin. ``kl`` is KL(policy || reference) in nats along one answer of the policy at temperature 1 to each prompt.
    """

    name: ClassVar[str] = "held_out"
    source: ClassVar[str] = "Rafailov et al., Direct Preference Optimization (2023): implicit reward, accuracy and KL"

    divergence_prompts: int = hyper(200, low=0, doc="different prompts that the divergence is measured on")
    max_new_tokens: int = hyper(64, low=1, doc="limit of those answers")

    def calibrate(self, policy: Policy, judge: Judge, source: Source) -> Calibration:
        """Nothing is fixed; that there are no held-out pairs is found here, and not after a training."""
        if not source.held_out():
            raise PrefbenchError(
                "held_out: the source has no held-out pairs", "give some, such as local's held_out_share = 0.1, or leave the harness out"
            )
        return Calibration()

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        """A row per held-out pair: ``id``, ``margin``, ``chosen_log_ratio``, ``gold_margin`` and ``kl`` (null where there is none)."""
        pairs = source.held_out()
        scores = policy.score(pairs)
        chosen = scores["policy_chosen"] - scores["reference_chosen"]
        margin = chosen - (scores["policy_rejected"] - scores["reference_rejected"])
        divergence = self._divergence(policy, pairs)
        return [
            {
                "id": pair.id,
                "margin": float(margin[row]),
                "chosen_log_ratio": float(chosen[row]),
                "gold_margin": pair.columns.get("gold_margin"),
                "kl": divergence.get(row),
            }
            for row, pair in enumerate(pairs)
        ]

    def _divergence(self, policy: Policy, pairs: Sequence[Pair]) -> dict[int, float]:
        """The divergence of one fresh answer to each of the first different prompts, by the row of the first pair that has it."""
        first = {content_id(pair.prompt): row for row, pair in reversed(list(enumerate(pairs)))}
        ids = sorted(first, key=first.__getitem__)[: self.divergence_prompts]
        if not ids:
            return {}
        prompts = [pairs[first[id_]].prompt for id_ in ids]
        answers = policy.sample(prompts, ids, [Sampling(1.0, self.max_new_tokens)] * len(ids), self.name)
        values = policy.divergence(prompts, answers).tolist()
        return {first[id_]: value for id_, value in zip(ids, values, strict=True)}

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        """The rows as they are stored, rounded, with what the sign of the margin says. Nobody is asked."""
        return [self._item(row) for row in rows]

    def _item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        sign, gold = np.sign(row["margin"]), row["gold_margin"]
        return {
            "harness": self.name,
            "id": row["id"],
            "correct": _share(sign),
            "gold_correct": _share(sign * np.sign(gold)) if gold else None,  # a true tie has no right order
            "margin": round(row["margin"], DECIMALS),
            "chosen_log_ratio": round(row["chosen_log_ratio"], DECIMALS),
            "kl": None if row["kl"] is None else round(row["kl"], DECIMALS),
        }

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        """``held_out_accuracy``, ``held_out_gold_accuracy`` (shares), ``margin``, ``chosen_reward`` and ``kl`` (nats), by pair."""
        columns = {metric: {item["id"]: item[key] for item in items if item[key] is not None} for metric, key in _METRICS.items()}
        return {metric: values for metric, values in columns.items() if values}


def _share(sign: float) -> float:
    """1 for a right order, 0.5 for a tie, 0 for a wrong one."""
    return float(0.5 + 0.5 * sign)
