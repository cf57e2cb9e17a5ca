"""The contract that every scheduler keeps."""

from __future__ import annotations

from prefbench_sams import Sams

from prefbench.testing import SchedulerContract


class TestSams(SchedulerContract):
    """As it is by default, as the authors' code has it where that differs, and with a memory that is soon full."""

    component = Sams
    variants = (
        {},
        {"selection": "softmax", "masked": False, "arms": "all", "reward": "repo-parity", "divisor": "offered", "optimiser": "re-created"},
        {"rehearsals": 2, "sides": "concat", "replay_megabytes": 0.02},
    )
