"""The harnesses that come with prefbench, through the same hook as a stranger's."""

from __future__ import annotations

from prefbench.api import Harness, hookimpl
from prefbench.evaluate.alpaca_eval import AlpacaEval, AlpacaEval1, Validation
from prefbench.evaluate.held_out import HeldOut
from prefbench.evaluate.mt_bench import MtBench


@hookimpl
def prefbench_harnesses() -> list[type[Harness]]:
    """The built-in harnesses."""
    return [AlpacaEval, AlpacaEval1, MtBench, HeldOut, Validation]
