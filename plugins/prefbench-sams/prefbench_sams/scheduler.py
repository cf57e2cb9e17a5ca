"""SamS: the scheduler that learns, from how the next pool looks, which pairs are worth training on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from prefbench.api import Pool, Scheduler, hyper
from prefbench_sams.learner import Learner, Training
from prefbench_sams.presets import PRESETS
from prefbench_sams.replay import Arms, Replay
from prefbench_sams.rewards import MODES, batch_reward, repo_batch_reward, rewards, sample_rewards

MEGABYTE = 1_000_000
LEARNT = ("reward", "reward_batch", "reward_sample", "estimate_error", "exploitation_loss", "exploration_loss")


@dataclass
class Sams(Scheduler):
    """A contextual bandit whose arms are the pairs of a pool: it trains on the K pairs whose reward it predicts to be highest.

    An arm's context x is the policy's hidden states after every block, averaged over tokens and over the two answers. Its score::

        f_S(x) + exploration * f_S'(h)                                      h: block means of f_S's activations

    A choice is rewarded one step later, by the next pool. With L the mean loss of a pool under the policy as it is before training on it, A =
    e^L of the pool that was chosen from, B = e^L of the next, and g the min-max over the pool::

        r   = gamma * sigmoid(r_B) + (1 - gamma) * sigmoid(r_S)             Eq. 8
        r_B = (A - B) / max(A, B)                                           of all pairs of the pool
        r_S = delta * g(beta * margin) + (1 - delta) * (1 - g(chosen log-prob))

    f_S then learns r, and f_S' what f_S missed of it, by squared error on this pool and on ``replay_batches`` earlier ones. The first pool is
    chosen from at random. Logged, each about the choice of the step before: the mean reward and its parts, the mean error of f_S
    (``estimate_error``), both networks' losses, and the memory in use.
    """

    name = "sams"
    source = "arXiv 2506.17252 v4 (NeurIPS 2025), Algorithm 1, Eq. 6-11 and appendices D.1 and F; code: github.com/hzx122/SamS"
    deviations = (
        "Ours, where the paper is silent: Eq. 6 and 7 are rebuilt from its prose and its code; gamma, delta, exploration (the code's values; the "
        "paper states none); no NaN in g where all values are equal; the small preset; tokens of padding left out; arms: selected "
        "(Algorithm 1; appendix F.4 and the code use all); the memory bounded in bytes instead of 40,000 batches; a random first choice. "
        "The MLPs' details (one layer norm for all blocks, dropout) are the code's. The encoder has the shape "
        "of all-MiniLM-L6-v2 in the larger presets but starts from random weights, and learns during training unless rehearsals taught it. "
        "Rehearsals are the frozen-policy form of the pre-training (F.3), with the reward above; all that they taught "
        "is kept, f_S and f_S' included. A round is a step: the code's is a micro-batch. The loss is divided by K, not by n as in the code. "
        "Not reproduced of the code: its NaN in g, its random choice by numpy's global generator."
    )

    # ---------------------------------------------------------------- what is chosen
    ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is trained on; paper: .5, and .75 after a pre-selection")
    selection: str = hyper("greedy", choices=("greedy", "softmax"), doc="the K best scores (paper), or drawn from their softmax (code)")
    exploration: float = hyper(0.01, low=0.0, doc="lambda, the weight of f_S'; 0: there is none; paper: not stated; code: .01")
    # ---------------------------------------------------------------- what is seen of an arm
    masked: bool = hyper(True, doc="average hidden states over tokens only (ours), or over padding too (code)")
    sides: str = hyper(
        "mean", choices=("mean", "concat"), doc="chosen and rejected: averaged (paper, code), or one after the other (code's option)"
    )
    preset: str = hyper("small", choices=tuple(PRESETS), doc="sizes of the networks: small is ours; paper has 3.3 billion weights")
    rehearsals: int = hyper(
        0, low=0, doc="pools before the first step that teach the encoder, then fixed (paper); 0: it learns online (ours)"
    )
    # ---------------------------------------------------------------- what is rewarded
    reward: str = hyper(
        "paper",
        choices=MODES,
        doc="repo-fixed: r_B from sigmoid(beta * margin) instead of e^L, and squashed as sigmoid(50 r_B + .5), as in the code; "
        "repo-parity: also the code's wrong sign of r_B, and sigmoid(sigmoid(r_S))",
    )
    beta: float = hyper(
        0.1, low=1e-6, doc="scale of the margins, as the objective's; without effect in the paper's reward, where g cancels it"
    )
    gamma: float = hyper(0.5, low=0.0, high=1.0, doc="share of the batch's reward in r; paper: not stated; code: .5")
    delta: float = hyper(0.5, low=0.0, high=1.0, doc="share of the margin in r_S; paper: not stated; code: .5")
    smoothing: float = hyper(0.0, low=0.0, high=1.0, doc="share of the mean of earlier r_B in r_B; paper: none; code's option: .5")
    # ---------------------------------------------------------------- how the networks learn
    arms: str = hyper("selected", choices=("selected", "all"), doc="pairs that they learn from: Algorithm 1, or appendix F.4 and the code")
    learning_rate: float = hyper(1e-4, low=0.0, doc="of Adam; paper and code")
    updates: int = hyper(1, low=1, doc="steps of either network in a round; paper: 1; code: 4")
    optimiser: str = hyper("kept", choices=("kept", "re-created"), doc="re-created: anew in every round, with weight decay 1e-5 (code)")
    stop_below: float = hyper(
        0.0, low=0.0, doc="a round's updates end at this loss over the number of arms; paper: no such rule; code: 5e-5"
    )
    targets: str = hyper(
        "own",
        choices=("own", "repo-parity"),
        doc="repo-parity: from the second update on every prediction is pulled to all targets (code's bug)",
    )
    replay_batches: int = hyper(32, low=0, doc="earlier batches learnt from in a round; paper and code")
    replay_megabytes: float = hyper(
        64.0, low=0.0, doc="memory for earlier batches, in 10^6 bytes; a random one gives way when it is full (ours)"
    )

    learner: Learner | None = field(init=False, default=None, repr=False, compare=False)
    offered: int = field(init=False, default=0)
    rounds: int = field(init=False, default=0)
    average: float = field(init=False, default=0.0)
    seed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.replay = Replay(int(self.replay_megabytes * MEGABYTE))
        self.told = dict.fromkeys(LEARNT, float("nan"))

    @property
    def wants(self) -> tuple[str, ...]:
        """Loss, margin, chosen log-prob, and hidden states averaged over tokens or over padding too."""
        return ("loss", "margin", "chosen_log_prob", "hidden_states" if self.masked else "padded_hidden_states")

    # ---------------------------------------------------------------- a step

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` distinct positions, the best first; drawn at random while nothing was observed."""
        self.offered += 1
        self.seed = int(rng.integers(2**63))  # of all that the next observation draws
        if self.learner is None:
            return rng.permutation(len(pool))[:size]
        found = self.learner.score(self.context(pool))
        scores = (found.exploitation + self.exploration * found.exploration).double().numpy()
        if self.selection == "softmax":
            scores = scores + rng.gumbel(size=len(pool))  # the K largest are a draw from the softmax without replacement
        return np.argsort(-scores, kind="stable")[:size]

    def observe(self, previous: Pool, chosen: np.ndarray, current: Pool) -> None:
        """Reward the previous choice by the current pool, and learn from it."""
        rng, context = np.random.default_rng(self.seed), self.context(previous)
        self.learner = learner = self.learner or self.new_learner(context.shape[-1])
        batch = self.smoothed(self.batch_reward(previous, current))
        samples = sample_rewards(self.beta * previous.statistics["margin"], previous.statistics["chosen_log_prob"], self.delta)
        rows = chosen if self.arms == "selected" else np.arange(len(previous))
        new = rewarded(learner, context[rows], rewards(batch, samples[rows], self.gamma, self.reward))
        known = Arms.joined([new, *self.replay.sample(self.replay_batches, rng)])
        losses = learner.fit(known, int(rng.integers(2**63)), self.encoder_learns)
        self.replay.add(new, rng)
        means = {"reward": new.reward.mean(), "reward_sample": samples[rows].mean(), "estimate_error": new.missed.abs().mean()}
        self.told = {**losses, "reward_batch": batch, **{name: float(value) for name, value in means.items()}}

    def context(self, pool: Pool) -> np.ndarray:
        """What is seen of each arm: float32, (n, L, D), or (n, L, 2 D) when the two answers stand one after the other."""
        chosen, rejected = pool.statistics[self.wants[-1]].swapaxes(0, 1)
        return (chosen + rejected) / 2 if self.sides == "mean" else np.concatenate([chosen, rejected], axis=-1)

    def batch_reward(self, previous: Pool, current: Pool) -> float:
        """r_B, before it is smoothed."""
        if self.reward == "paper":
            return batch_reward(previous.statistics["loss"], current.statistics["loss"])
        before, now = (self.beta * pool.statistics["margin"] for pool in (previous, current))
        return repo_batch_reward(before, now, corrected=self.reward == "repo-fixed")

    def smoothed(self, batch: float) -> float:
        """The batch's reward mixed with the mean of those given before; the first as it is."""
        mixed = self.smoothing * self.average + (1 - self.smoothing) * batch if self.rounds else batch
        self.rounds += 1
        self.average += (mixed - self.average) / self.rounds
        return mixed

    @property
    def encoder_learns(self) -> bool:
        """During the rehearsals, or always where there are none."""
        return self.rehearsals == 0 or self.offered <= self.rehearsals

    def new_learner(self, features: int) -> Learner:
        """Networks for hidden states of so many features, initialised from the present seed."""
        training = Training(
            self.learning_rate, self.updates, self.optimiser == "re-created", self.targets == "repo-parity", self.stop_below
        )
        return Learner(PRESETS[self.preset], features, self.exploration > 0, training, self.seed)

    # ---------------------------------------------------------------- state and log

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, memory and counters: copies, on the CPU."""
        learner = None if self.learner is None else {"features": self.learner.features, **self.learner.state_dict()}
        counters = {name: getattr(self, name) for name in ("offered", "rounds", "average", "seed")}
        return {**counters, "told": dict(self.told), "learner": learner, "replay": self.replay.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        for name in ("offered", "rounds", "average", "seed", "told"):
            setattr(self, name, state[name])
        self.replay.load_state_dict(state["replay"])
        self.learner = None
        if state["learner"] is not None:
            self.learner = self.new_learner(state["learner"]["features"])
            self.learner.load_state_dict(state["learner"])

    def diagnostics(self) -> Mapping[str, float]:
        """The last observation, NaN before the first, and the memory in use."""
        memory = {"replay_batches": len(self.replay.batches), "replay_megabytes": self.replay.nbytes / MEGABYTE}
        return {**self.told, **{name: float(value) for name, value in memory.items()}}


def rewarded(learner: Learner, context: np.ndarray, reward: np.ndarray) -> Arms:
    """Arms (k, L, F) with their reward (k,), and what f_S missed of it when they were scored: it has not learnt since."""
    scores = learner.score(context)
    earned = torch.from_numpy(reward).float()
    return Arms(torch.from_numpy(context), scores.activations, earned, earned - scores.exploitation)
