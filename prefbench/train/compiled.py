"""Compiled layers: the regions of each layer before and behind its attention, fused by torch.compile where that pays within a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers.modeling_utils import AttentionInterface

from prefbench.errors import first_line
from prefbench.train.attention import NAME, attend
from prefbench.train.device import median_of_rounds, seconds_of
from prefbench.train.forward import Scorer
from prefbench.train.graphs import pull_at_log_probs
from prefbench.train.job import TrainJob
from prefbench.train.selection import selected_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COMPILATION = {"cpu": 40.0, "cuda": 90.0}
"""Seconds that a first compilation takes at least."""
HOPED_FOR = 0.15
"""Share of a step that compiled layers may save: where even that would not earn the compilation back, none is tried."""


@dataclass(frozen=True)
class Compilation:
    """Whether layers are compiled, why, and where it was tried the seconds of a step without and with, and of compiling."""

    used: bool
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    lasting: bool = True
    """Whether another run on this machine would find the same."""


def compile_layers(model: PreTrainedModel) -> None:
    """From now on the model's layers run compiled, for any number of tokens. Weights, names and folders stay as they are."""
    # The attention's calls differ from micro-batch to micro-batch: traced, each would be compiled anew.
    AttentionInterface.register(NAME, torch.compiler.disable(attend))
    for layer in layers_of(model):
        layer.compile(dynamic=True)


def layers_of(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The repeated blocks, which transformers names by their class; of some architectures none."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.base_model.modules() if type(module).__name__ in names]


def choose_compilation(job: TrainJob, fresh: Callable[[], Scorer]) -> Compilation:
    """Whether compiled layers pay within this job's steps on this machine, by trying where they might; ``fresh`` gives a policy to compile."""
    kind = job.scorer.model.device.type
    if job.rules.gradient_checkpointing or job.rules.gradient_accumulation:
        return Compilation(False, "the track saves memory")
    if not layers_of(job.scorer.model):
        return Compilation(False, f"{type(job.scorer.model).__name__} does not name its layers")
    job.scorer.model.train()
    first = seconds_of(lambda: _step(job))  # warms up, and so is rather too long
    if first * job.rules.steps * HOPED_FOR < COMPILATION[kind]:
        return Compilation(False, "the training is over before a compilation would pay", {"plain": first})
    plain = median_seconds(job)
    other = dataclasses.replace(job, scorer=fresh())
    other.scorer.model.train()
    compile_layers(other.scorer.model)
    try:
        compiling = seconds_of(lambda: _step(other))
        compiled = median_seconds(other)
    except Exception as error:  # no compiler, or a layer that it cannot take: there is more than one kind of error for either
        return Compilation(False, f"the layers do not compile: {first_line(error)}", {"plain": plain})
    pays = (plain - compiled) * job.rules.steps > compiling
    return Compilation(pays, "measured", {"plain": plain, "compiled": compiled, "compiling": compiling})


def _step(job: TrainJob) -> None:
    """As large as a step is that trains on the scheduler's share of a pool."""
    pull_at_log_probs(job, np.arange(selected_size(job.scheduler, job.pool)))
    job.scorer.model.zero_grad(set_to_none=True)


def median_seconds(job: TrainJob) -> float:
    """Of a forward and backward."""
    return median_of_rounds([lambda: _step(job)])[0]
