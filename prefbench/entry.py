"""What the worker processes of a run carry its orders out with."""

from __future__ import annotations

ENTRY = "prefbench.cell:execute"
"""``module:name``, as the engine takes it: named without being imported, which takes seconds."""
