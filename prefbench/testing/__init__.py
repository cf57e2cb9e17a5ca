"""What a plugin's own tests are written with: contracts that every component of a kind keeps, and worked pairs."""

from prefbench.testing.batches import worked_pairs

__all__ = ["worked_pairs"]
