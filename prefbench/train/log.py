"""What a training run says of itself, step by step: loss, margins, rewards, and the share of pairs that still pull, by length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from prefbench.api import PairBatch
from prefbench.data.tokens import TokenPairs
from prefbench.errors import PrefbenchError
from prefbench.train.layout import to_device

EVERY = 10
"""Steps between two readings of the device."""
BUCKETS = ("short", "medium", "long")
COLUMNS = ("loss", "margin", "chosen_reward", "chosen_log_prob", "kl_from_reference", "active", *(f"active_{name}" for name in BUCKETS))

COUNTS = ("pairs_forward", "pairs_backward", "tokens", "pairs_offered", "flipped_offered", "flipped_trained")


@dataclass
class StepLog:
    """Rows of one number per column and step, and what the run has cost so far.

    ``margin``, ``chosen_reward`` (log-ratio of the chosen answer) and ``chosen_log_prob`` are means over the trained pairs, in nats.
    ``kl_from_reference`` is minus the mean log-ratio over chosen and rejected: where the answers are the reference's own samples, an estimate
    of KL(reference || policy). ``active`` is the share of pairs whose loss has a nonzero gradient, also within each third of the pairs by length.
    ``extras`` holds what objective and scheduler tell, a number per step and name.
    """

    bucket: np.ndarray
    tokens_per_pair: np.ndarray
    flipped: np.ndarray
    extras: dict[str, list[float]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    pairs_forward: int = 0
    pairs_backward: int = 0
    tokens: int = 0
    pairs_offered: int = 0
    flipped_offered: int = 0
    flipped_trained: int = 0
    _waiting: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    @classmethod
    def for_pairs(cls, tokens: TokenPairs) -> StepLog:
        """An empty log; thirds of the pairs by the tokens of both answers."""
        answers = np.array([len(c) + len(r) for c, r in zip(tokens.chosen_ids, tokens.rejected_ids, strict=True)])
        prompts = np.array([len(p) for p in tokens.prompt_ids])
        bucket = np.searchsorted(np.quantile(answers, [1 / 3, 2 / 3]), answers)
        flipped = np.array([pair.columns.get("flipped", 0.0) for pair in tokens.pairs]) == 1.0
        return cls(bucket, answers + 2 * prompts, flipped)

    def add(self, step: int, picked: np.ndarray, batch: PairBatch, losses: torch.Tensor, gradient: torch.Tensor) -> None:
        """One step's numbers, kept on the device: reading them now would make the host wait for it."""
        size = len(picked)
        self.pairs_backward += size
        self.tokens += int(self.tokens_per_pair[picked].sum())
        self.flipped_trained += int(self.flipped[picked].sum())
        pulls = ((gradient[:size] != 0) | (gradient[size:] != 0)).any(dim=1).double()
        # By place, and not by a mask, whose size a GPU would have to tell first; NaN where a step has no such pair.
        places = [np.flatnonzero(self.bucket[picked] == i) for i in range(len(BUCKETS))]
        by_length = [pulls.index_select(0, to_device(place, pulls.device)).mean() for place in places]
        away = -(batch.chosen_log_ratio + batch.rejected_log_ratio).mean() / 2
        values = [
            losses.mean(),
            batch.margin.mean(),
            batch.chosen_log_ratio.mean(),
            batch.policy_chosen.mean(),
            away,
            pulls.mean(),
            *by_length,
        ]
        self._waiting.append((step, torch.stack([value.detach() for value in values])))

    def note(self, offered: np.ndarray, told: Mapping[str, float]) -> None:
        """The pairs that a step's pool offered, and what objective and scheduler tell of the step. Raises PrefbenchError for changing names."""
        if self.extras and told.keys() != self.extras.keys():
            changed = ", ".join(sorted(told.keys() ^ self.extras.keys()))
            raise PrefbenchError(
                f"diagnostics() changed its names: {changed}", "give every name at every step, NaN where unknown", exit_code=1
            )
        self.pairs_offered += len(offered)
        self.flipped_offered += int(self.flipped[offered].sum())
        for name, value in told.items():
            self.extras.setdefault(name, []).append(value)

    def due(self, step: int, steps: int) -> bool:
        """Whether this step is one at which the log is read."""
        return (step + 1) % EVERY == 0 or step + 1 == steps

    def read(self) -> list[tuple[int, float]]:
        """Move the waiting steps to ``rows``; (step, loss) of each."""
        if not self._waiting:
            return []
        steps = [step for step, _ in self._waiting]
        values = torch.stack([row for _, row in self._waiting]).cpu().tolist()
        self._waiting.clear()
        new = [{"step": step, **dict(zip(COLUMNS, row, strict=True))} for step, row in zip(steps, values, strict=True)]
        self.rows += new
        return [(row["step"], row["loss"]) for row in new]

    def state_dict(self) -> dict[str, Any]:
        """What was read so far, float64, shape (steps, 1 + len(COLUMNS)), and the counts; nothing may be waiting."""
        rows = np.array([[row["step"], *(row[name] for name in COLUMNS)] for row in self.rows], dtype=np.float64)
        extras = {name: np.array(values) for name, values in self.extras.items()}
        return {"rows": rows.reshape(len(self.rows), 1 + len(COLUMNS)), "extras": extras, **{name: getattr(self, name) for name in COUNTS}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.rows = [{"step": int(row[0]), **dict(zip(COLUMNS, row[1:], strict=True))} for row in state["rows"].tolist()]
        self.extras = {name: values.tolist() for name, values in state["extras"].items()}
        for name in COUNTS:
            setattr(self, name, state[name])

    def table(self) -> list[dict[str, Any]]:
        """A row per step: the log's own columns, then what objective and scheduler told."""
        told = [dict(zip(self.extras, values, strict=True)) for values in zip(*self.extras.values(), strict=True)]
        return [{**row, **more} for row, more in zip(self.rows, told or [{}] * len(self.rows), strict=True)]

    def summary(self) -> dict[str, Any]:
        """Means over the last tenth of the steps, and what the run has cost; NaN-free JSON. Flipped pairs are counted where there are any."""
        rows = self.table()
        tail = rows[-max(1, len(rows) // 10) :]
        means = {name: np.array([row[name] for row in tail], dtype=float) for name in (*COLUMNS, *self.extras)}
        last = {name: round(float(np.nanmean(values)), 6) for name, values in means.items() if not np.isnan(values).all()}
        return {
            "steps": len(self.rows),
            "pairs_forward": self.pairs_forward,
            "pairs_backward": self.pairs_backward,
            "tokens": self.tokens,
            "last": last,
            **(self._flipped_shares() if self.flipped.any() else {}),
        }

    def _flipped_shares(self) -> dict[str, float]:
        """Shares of pairs with a label that was corrupted on purpose: of all, of those that were offered, of those that were trained on."""
        shares = {
            "flipped_share": float(self.flipped.mean()),
            "flipped_share_offered": self.flipped_offered / self.pairs_offered,
            "flipped_share_trained": self.flipped_trained / self.pairs_backward,
        }
        return {name: round(share, 6) for name, share in shares.items()}
