"""A training step asks the device for nothing: on a GPU every answer would make the host wait for all that it was told to do before."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prefbench.api import Objective
from prefbench.objectives.dpo import Dpo
from prefbench.objectives.ipo import Ipo
from prefbench.objectives.simpo import SimPo
from prefbench.train.log import EVERY, StepLog
from prefbench.train.loop import train
from prefbench.train.meter import Clocks
from tests.train.test_loop import make_job

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "index.Tensor_mask")
"""Operations whose result, or its size, the host has to know."""


class Operations(TorchDispatchMode):
    """The names of all operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        masks = [index for index in arguments[1] if index is not None and index.dtype == torch.bool] if name == "index" else []
        self.names.append("index.Tensor_mask" if masks else name)
        return function(*arguments, **(options or {}))


def waits(objective: Objective, steps: int) -> list[str]:
    job = make_job(objective, steps=steps)
    with Operations() as seen:
        train(job, Clocks())
    return [name for name in seen.names if name in WAITS]


@pytest.mark.parametrize("objective", [Dpo(), Ipo(), SimPo()], ids=lambda one: one.name)
def test_steps_between_two_readings_of_the_log_wait_for_nothing(objective):
    assert waits(objective, EVERY - 1) == waits(objective, 2) == []


def test_a_step_that_asks_is_noticed():
    class Curious(Dpo):
        def update(self, batch):
            self.seen = float(batch.margin.mean())

    assert waits(Curious(), 2) == ["_local_scalar_dense"] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, which tells of every wait itself")
def test_a_gpu_tells_of_no_wait(monkeypatch):
    monkeypatch.setattr(StepLog, "due", lambda *_: False)  # reading the log is the one wait that is meant
    job = make_job(Dpo(), steps=EVERY - 1)
    job.scorer.model.to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        log = train(job, Clocks())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert log.pairs_backward == (EVERY - 1) * job.pool
