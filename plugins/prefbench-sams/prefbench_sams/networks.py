"""SamS's networks: the encoder of arms, f_S that predicts their reward, and f_S' that predicts what f_S misses."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from prefbench_sams.presets import Architecture

NORM_EPSILON = 1e-6  # of the MLPs' layer norm in the authors' code


class ArmEncoder(nn.Module):
    """An arm's hidden states, (n, L, F), as (n, width): connector, transformer encoder over the L blocks as tokens, mean over them.

    The tokens have no position embedding, as in the authors' code.
    """

    def __init__(self, architecture: Architecture, features: int) -> None:
        super().__init__()
        width = architecture.encoder
        last = nn.ReLU() if architecture.rectified_connector else nn.Identity()
        self.connector = nn.Sequential(
            nn.Linear(features, architecture.connector), nn.ReLU(), nn.Linear(architecture.connector, width), last
        )
        self.layers = nn.Sequential(*(encoder_layer(architecture) for _ in range(architecture.encoder_layers)))
        self.unit_context = architecture.unit_context

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.layers(self.connector(context)).mean(dim=1)
        return functional.normalize(encoded, dim=-1) if self.unit_context else encoded


def encoder_layer(architecture: Architecture) -> nn.TransformerEncoderLayer:
    """A layer as those of BERT are: norm after the residual, GELU, inner width four times the outer."""
    width = architecture.encoder
    return nn.TransformerEncoderLayer(width, architecture.heads, 4 * width, architecture.dropout, activation="gelu", batch_first=True)


class Exploitation(nn.Module):
    """f_S: encoded arms (n, E) as predicted rewards (n,), with the depth - 2 hidden activations of each, (n, (depth - 2) * width).

    h = relu(W x), x <- norm(x + h); the activations are the h. All blocks share one norm, as in the authors' code.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.first = nn.Linear(architecture.encoder, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(architecture.depth - 2))
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(architecture.dropout)
        self.last = nn.Linear(width, 1)

    def forward(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, activations = torch.relu(self.first(encoded)), []
        for block in self.blocks:
            activations.append(torch.relu(block(x)))
            x = self.dropout(self.norm(x + activations[-1]))
        return self.last(x).squeeze(-1), torch.cat(activations, dim=-1)


class Exploration(nn.Module):
    """f_S': block means of f_S's activations, (n, H), as what f_S misses of the reward, (n,). Every residual adds the input again."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.exploration_width
        self.first = nn.Linear(width, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(architecture.depth - 2))
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(architecture.dropout)
        self.last = nn.Linear(width, 1)

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        x = torch.relu(torch.relu(self.first(activations)) + activations)
        for block in self.blocks:
            x = self.dropout(self.norm(torch.relu(block(x)) + activations))
        missed: torch.Tensor = self.last(x).squeeze(-1)
        return missed


class Networks(nn.Module):
    """All of them. ``exploration`` is None where the scheduler does without it."""

    def __init__(self, architecture: Architecture, features: int, explores: bool) -> None:
        super().__init__()
        self.block = architecture.block
        self.encoder = ArmEncoder(architecture, features)
        self.exploitation = Exploitation(architecture)
        self.exploration = Exploration(architecture) if explores else None

    def predict(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (n, L, F) as f_S's prediction (n,) and the block means of its activations (n, H)."""
        prediction, activations = self.exploitation(self.encoder(context))
        return prediction, block_means(activations, self.block)


def block_means(activations: torch.Tensor, block: int) -> torch.Tensor:
    """The means of ``block`` neighbours at a time: (n, H * block) as (n, H)."""
    means: torch.Tensor = activations.unflatten(-1, (-1, block)).mean(dim=-1)
    return means
