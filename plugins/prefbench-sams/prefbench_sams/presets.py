"""The sizes of SamS's networks: ours for small policies, the paper's, and those of the authors' code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Widths and depths. ``depth`` counts every linear layer of f_S, so that depth - 2 of them have a residual; f_S' is as deep."""

    connector: int
    """Width of the connector's hidden layer; its output is as wide as the encoder."""
    encoder: int
    encoder_layers: int
    heads: int
    depth: int
    width: int
    """Of the exploitation network."""
    block: int
    """Neighbouring activations of f_S that are averaged into one input of f_S'."""
    dropout: float
    rectified_connector: bool = False
    """A ReLU after the connector's second layer too."""
    unit_context: bool = False
    """Encoded arms scaled to length 1."""

    @property
    def exploration_width(self) -> int:
        """Inputs, and width, of the exploration network."""
        return (self.depth - 2) * self.width // self.block


PRESETS = {
    "small": Architecture(connector=256, encoder=128, encoder_layers=2, heads=4, depth=4, width=256, block=4, dropout=0.1),
    "paper": Architecture(connector=1024, encoder=384, encoder_layers=6, heads=12, depth=16, width=4096, block=4, dropout=0.3),
    "repo-parity": Architecture(
        connector=1024,
        encoder=384,
        encoder_layers=6,
        heads=12,
        depth=16,
        width=4096,
        block=16,
        dropout=0.3,
        rectified_connector=True,
        unit_context=True,
    ),
}
"""``small`` is ours. ``paper`` and ``repo-parity`` have the encoder of all-MiniLM-L6-v2, in shape; by their ``block``, f_S' has 3.1 billion
weights in the one and 0.2 in the other."""
