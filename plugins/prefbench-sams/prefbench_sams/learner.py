"""The learning half of SamS: networks that score arms, their optimisers, and random draws that leave torch's own generators alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prefbench_sams.networks import Networks
from prefbench_sams.presets import Architecture
from prefbench_sams.replay import Arms

RECREATED_WEIGHT_DECAY = 1e-5  # of the authors' code, which makes its optimisers anew in every round


@dataclass(frozen=True)
class Training:
    """How the networks are trained in one round; see the scheduler's options of the same names."""

    learning_rate: float
    updates: int
    recreated: bool
    crossed: bool
    stop_below: float


@dataclass(frozen=True)
class Scores:
    """What the networks say of n arms, float32, on the CPU: f_S and f_S' (n,), and the block means of f_S's activations (n, H)."""

    exploitation: torch.Tensor
    exploration: torch.Tensor
    activations: torch.Tensor


class Learner:
    """SamS's networks, on the GPU where there is one, and their two optimisers."""

    def __init__(self, architecture: Architecture, features: int, explores: bool, training: Training, seed: int) -> None:
        self.features, self.training = features, training
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with forked(self.device, seed):
            self.networks = Networks(architecture, features, explores).to(self.device)
        self.optimisers = self.new_optimisers()

    @torch.no_grad()
    def score(self, context: np.ndarray) -> Scores:
        """Scores of arms with hidden states (n, L, F), without dropout."""
        self.networks.eval()
        exploitation, activations = self.networks.predict(torch.from_numpy(context).to(self.device))
        explore = self.networks.exploration
        exploration = torch.zeros_like(exploitation) if explore is None else explore(activations)
        return Scores(exploitation.cpu(), exploration.cpu(), activations.cpu())

    def fit(self, arms: Arms, seed: int, encoder_learns: bool) -> dict[str, float]:
        """A round of training on known rewards; the mean squared error of either network before its last update, NaN for one that is not there."""
        if self.training.recreated:
            self.optimisers = self.new_optimisers()
        self.networks.train()
        self.networks.encoder.layers.requires_grad_(encoder_learns).train(encoder_learns)
        told = {"exploitation_loss": float("nan"), "exploration_loss": float("nan")}
        with forked(self.device, seed):
            for name in self.optimisers:
                told[f"{name}_loss"] = self.descend(name, arms)
        return told

    def descend(self, name: str, arms: Arms) -> float:
        """The updates of one network; its loss before the last of them."""
        target = (arms.reward if name == "exploitation" else arms.missed).to(self.device)
        inputs = (arms.context if name == "exploitation" else arms.activations).to(self.device)
        error = float("nan")
        for step in range(self.training.updates):
            self.optimisers[name].zero_grad(set_to_none=True)
            prediction = self.predict(name, inputs)
            # The code's targets gain a dimension with every step, so that from the second on each prediction meets all targets.
            wanted = target[:, None] if self.training.crossed and step else target
            loss = ((prediction - wanted) ** 2).mean()
            loss.backward()
            self.optimisers[name].step()
            error = float(loss.detach())
            if error / len(arms) <= self.training.stop_below:
                break
        return error

    def predict(self, name: str, inputs: torch.Tensor) -> torch.Tensor:
        """What the named network makes of its inputs, (n,), with gradient."""
        if name == "exploitation":
            return self.networks.predict(inputs)[0]
        missed: torch.Tensor = getattr(self.networks, name)(inputs)
        return missed

    def new_optimisers(self) -> dict[str, torch.optim.Adam]:
        """Adam for f_S with connector and encoder, and another for f_S' where there is one."""
        networks = self.networks
        groups = {"exploitation": [*networks.encoder.parameters(), *networks.exploitation.parameters()]}
        if networks.exploration is not None:
            groups["exploration"] = list(networks.exploration.parameters())
        decay = RECREATED_WEIGHT_DECAY if self.training.recreated else 0.0
        return {name: torch.optim.Adam(group, lr=self.training.learning_rate, weight_decay=decay) for name, group in groups.items()}

    def state_dict(self) -> dict[str, Any]:
        """A copy, on the CPU, of the weights and of the optimisers' moments, whose keys become texts."""
        weights = {name: copied(weight) for name, weight in self.networks.state_dict().items()}
        return {"networks": weights, "moments": {name: moments(optimiser) for name, optimiser in self.optimisers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave; the state itself is not touched later on."""
        self.networks.load_state_dict(state["networks"])
        for name, optimiser in self.optimisers.items():
            found = {int(key): copy.deepcopy(value) for key, value in state["moments"][name].items()}
            optimiser.load_state_dict({"state": found, "param_groups": optimiser.state_dict()["param_groups"]})


def moments(optimiser: torch.optim.Adam) -> dict[str, dict[str, torch.Tensor]]:
    """A copy of Adam's moments and step counts by the number of the weight."""
    by_weight = optimiser.state_dict()["state"]
    return {str(number): {name: copied(value) for name, value in found.items()} for number, found in by_weight.items()}


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU that no later step changes."""
    return tensor.detach().to("cpu", copy=True)


@contextmanager
def forked(device: torch.device, seed: int) -> Iterator[None]:
    """Inside, torch draws from ``seed``; afterwards its generators stand where they stood. ``torch.manual_seed`` would move other devices' too."""
    cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield
